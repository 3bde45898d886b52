#include "apps/serving_flags.h"

#include <charconv>

#include "apps/open_model.h"
#include "base/log.h"

namespace hadal::apps {
namespace {

LogLevel level_of(const std::string& name) {
  if (name == "debug") return LogLevel::debug;
  if (name == "info") return LogLevel::info;
  if (name == "error") return LogLevel::error;
  return name == "off" ? LogLevel::off : LogLevel::warn;
}

}  // namespace

Result<std::unique_ptr<engine::LoadedModel>> load_for_answers(const std::string& path,
                                                              const config::Flags& flags,
                                                              int64_t sequences_max) {
  set_log(level_of(flags.text("log-level")),
          flags.text("log-format") == "ecs" ? LogFormat::ecs : LogFormat::logfmt);
  TRY(auto checkpoint, open_checkpoint(path));
  TRY(auto device,
      open_device(flags.text("isa"), {.threads = static_cast<int>(flags.integer("threads")),
                                      .pack_weights = flags.boolean("pack-weights"),
                                      .batch_invariant = flags.boolean("deterministic")}));
  engine::LoadOptions options;
  options.prompt_format = flags.text("prompt-format");
  options.context_tokens_max = flags.integer("context-tokens-max");
  options.kv_cache_bytes_max = static_cast<uint64_t>(flags.integer("kv-cache-bytes-max"));
  options.kv_dtype = *kvcache::kv_dtype_from_name(flags.text("kv-dtype"));
  options.step_tokens_max = flags.integer("step-tokens-max");
  options.sequences_max = sequences_max;
  options.prefix_cache = flags.boolean("prefix-cache");
  options.packed_cache = flags.boolean("packed-cache");
  options.packed_cache_directory = user_cache_directory();
  const std::string& speculate = flags.text("speculate");
  options.speculation.ngram = speculate == "auto" || speculate == "ngram";
  options.speculation.mtp = speculate == "auto" || speculate == "mtp";
  options.speculation.tokens_max = flags.integer("speculate-tokens-max");
  TRY(auto model, engine::LoadedModel::load(std::move(checkpoint), std::move(device), options));
  if (speculate == "mtp" && !model->speculation.mtp) {
    return unsupported("this checkpoint has no draft layer (multi-token prediction)")
        .about("speculate")
        .with_hint("--speculate auto takes what there is");
  }
  return model;
}

Result<Address> parse_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  Address out;
  unsigned port = 0;
  const char* end = text.data() + text.size();
  const char* from = colon == std::string::npos ? end : text.data() + colon + 1;
  const auto [at, error] = std::from_chars(from, end, port);
  if (error != std::errc() || at != end || port > 65535) {
    return invalid_argument("'" + text + "' is not an address such as 127.0.0.1:8080 or [::1]:8080")
        .about("listen");
  }
  out.port = static_cast<uint16_t>(port);
  out.host = text.substr(0, colon);
  if (out.host.starts_with('[') && out.host.ends_with(']'))
    out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty()) out.host = "0.0.0.0";
  if (out.host == "localhost") out.host = "127.0.0.1";
  return out;
}

}  // namespace hadal::apps
