#include "engine/loaded_model.h"

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "base/machine.h"
#include "base/units.h"
#include "json/json.h"
#include "model/packed_cache.h"

namespace hadal::engine {
namespace {

std::string model_id_of(const format::Checkpoint& checkpoint) {
  // "." and "model/.." have names too.
  std::filesystem::path path = std::filesystem::absolute(checkpoint.name()).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
}

Status choose_prompt_format(LoadedModel& m, const LoadOptions& options,
                            const format::TokenizerSource& source) {
  std::string name = options.prompt_format;
  if (name.empty()) {
    const auto type = m.checkpoint->config().string_or("model_type", "");
    name = prompt::detect_format(
        {.architecture = m.model->config().architecture,
         .model_type = type ? *type : "",
         .chat_template = source.chat_template,
         .name = m.checkpoint->name(),
         .has_token = [&](std::string_view t) { return m.tokenizer->token_id(t).has_value(); }});
    if (name.empty()) return {};
  }
  m.prompt_format = prompt::find_format(name);
  if (m.prompt_format == nullptr) {
    return invalid_argument("no prompt format is called '" + name + "'").about("prompt-format");
  }
  return {};
}

void collect_end_ids(LoadedModel& m) {
  m.end_ids = m.model->config().eos_ids;
  const auto add = [&](const json::Value& v) {
    if (v.is_int() && v.as_int() >= 0 && v.as_int() < m.model->config().vocab) {
      m.end_ids.push_back(static_cast<int32_t>(v.as_int()));
    }
  };
  if (const json::Value* eos = m.checkpoint->generation_config().find("eos_token_id");
      eos != nullptr) {
    if (eos->is_array()) {
      for (const json::Value& v : eos->as_array()) add(v);
    } else {
      add(*eos);
    }
  }
  if (const auto eos = m.tokenizer->eos_id()) m.end_ids.push_back(*eos);
  std::ranges::sort(m.end_ids);
  m.end_ids.erase(std::unique(m.end_ids.begin(), m.end_ids.end()), m.end_ids.end());
}

Status make_cache(LoadedModel& m, const LoadOptions& options) {
  const kvcache::KvLayout& layout = m.model->kv_layout();
  const int64_t page_tokens = layout.page_tokens();
  int64_t context = m.model->config().context_max;
  if (options.context_tokens_max > 0) context = std::min(context, options.context_tokens_max);
  const auto page_bytes =
      static_cast<uint64_t>(layout.bytes_per_token(options.kv_dtype) * page_tokens);
  const uint64_t budget =
      options.kv_cache_bytes_max > 0 ? options.kv_cache_bytes_max : memory_limit_bytes() / 4;
  const auto rings =
      static_cast<uint64_t>(layout.bytes_per_slot(options.kv_dtype) * options.sequences_max);
  const auto fits =
      static_cast<int64_t>((budget - std::min(rings, budget)) / std::max<uint64_t>(page_bytes, 1));
  int64_t pages = ceil_div(context, page_tokens) * options.sequences_max;
  // A stated budget is used whole: what one context leaves over keeps prefixes.
  if (options.kv_cache_bytes_max > 0) pages = fits;
  pages = std::min(pages, fits);
  if (pages < 1) {
    return invalid_argument("a KV cache of " + format_bytes(budget) +
                            " holds not even one page of " + std::to_string(page_tokens) +
                            " tokens (" + format_bytes(page_bytes) + ")")
        .about("kv-cache-bytes-max");
  }
  m.context_tokens_max = std::min(context, pages * page_tokens);
  m.sequences_max = options.sequences_max;
  if (m.context_tokens_max < context) {
    LOG(warn, "context_cut", {"context_tokens_max", m.context_tokens_max}, {"wanted", context},
        {"why", "a KV cache of " + format_bytes(budget) + " holds no more"});
  }
  TRY(m.kv,
      kvcache::KvCache::create(layout, *m.device, options.kv_dtype, pages, options.sequences_max));
  if (options.prefix_cache && layout.shareable())
    m.prefixes = std::make_unique<kvcache::PrefixCache>(*m.kv);
  return {};
}

// A model without the file is slower to start and no worse.
void map_packed(LoadedModel& m, const LoadOptions& options) {
  const auto paths = model::packed_cache_paths(*m.checkpoint, options.packed_cache_directory);
  auto map = model::map_packed_weights(*m.checkpoint, *m.device, paths);
  if (map) {
    m.packed_weights = *std::move(map);
  } else {
    LOG(warn, "packed_cache_failed", {"why", map.error().message});
  }
}

}  // namespace

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(
    std::unique_ptr<const format::Checkpoint> checkpoint, std::unique_ptr<kernels::Device> device,
    const LoadOptions& options) {
  auto m = std::make_unique<LoadedModel>();
  m->checkpoint = std::move(checkpoint);
  m->device = std::move(device);
  m->id = options.model_id.empty() ? model_id_of(*m->checkpoint) : options.model_id;
  TRY(m->model, model::Model::load(
                    *m->checkpoint, *m->device,
                    {.step_tokens_max = std::max(options.step_tokens_max, options.sequences_max),
                     .draft_layer = options.speculation.mtp}));
  m->speculation = options.speculation;
  m->speculation.mtp &= m->model->can_draft();
  if (options.packed_cache) map_packed(*m, options);
  TRY(const format::TokenizerSource source, m->checkpoint->tokenizer_source());
  TRY(m->tokenizer, tokenizer::Tokenizer::open(source));
  TRY_VOID(choose_prompt_format(*m, options, source));
  collect_end_ids(*m);
  m->constraints = std::make_unique<Constraints>(*m->tokenizer, m->prompt_format,
                                                 static_cast<size_t>(m->model->config().vocab));
  for (size_t id = 0; id < m->tokenizer->vocab_size(); ++id) {
    const auto bytes = m->tokenizer->token_bytes(static_cast<int32_t>(id));
    m->token_bytes_max = std::max(m->token_bytes_max, bytes.size());
  }
  TRY_VOID(make_cache(*m, options));
  return m;
}

}  // namespace hadal::engine
