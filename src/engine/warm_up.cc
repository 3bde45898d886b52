#include "engine/warm_up.h"

#include <algorithm>
#include <string>

#include "base/units.h"
#include "engine/sequence.h"
#include "format/fingerprint.h"
#include "format/mapped_file.h"
#include "kvcache/warm_image.h"
#include "model/step_batch.h"
#include "vault/signature.h"

namespace hadal::engine {
namespace {

Status check_shareable(const LoadedModel& model) {
  if (model.prefixes != nullptr) return {};
  return unsupported(
      "this model's cache cannot be shared between prompts, or --no-prefix-cache "
      "is set: there is nothing to warm");
}

// Takes a prompt into the caches, and into those of the draft layer, piece by piece.
class Prefill {
 public:
  explicit Prefill(LoadedModel& model) : model_(model) {}

  Status step(Sequence& sequence, std::span<const int32_t> ids, int64_t n) {
    TRY_VOID(sequence.reserve(n));
    model::StepSequence part{.tokens = part_of(ids, sequence.computed(), n),
                             .past = sequence.computed(),
                             .block_table = sequence.pages(),
                             .slot = sequence.slot(),
                             .logits = 0};
    TRY_VOID(arrays_.set(*model_.device, {&part, 1}));
    TRY(const kernels::Mat hidden, hidden_states(n));
    model_.model->forward(arrays_.view(), model_.kv->views(), arrays_.logit_rows(), {},
                          {.hidden = hidden});
    if (model_.speculation.mtp) {
      // The layer's pair of a token holds the token after it: the last one has none.
      part.tokens = part_of(ids, sequence.computed() + 1, n);
      if (!part.tokens.empty()) {
        TRY_VOID(arrays_.set(*model_.device, {&part, 1}));
        model_.model->draft(
            arrays_.view(), model_.kv->views(),
            {.hidden = hidden, .sources = arrays_.sources(), .rows = arrays_.logit_rows()});
      }
    }
    sequence.advance(n);
    return {};
  }

 private:
  static std::span<const int32_t> part_of(std::span<const int32_t> ids, int64_t at, int64_t n) {
    const auto begin = std::min(static_cast<size_t>(at), ids.size());
    return ids.subspan(begin, std::min(static_cast<size_t>(n), ids.size() - begin));
  }
  Result<kernels::Mat> hidden_states(int64_t n) {
    if (!model_.speculation.mtp) return kernels::Mat{};
    const int64_t width = model_.model->hidden_width();
    if (hidden_.data() == nullptr) {
      TRY(hidden_, model_.device->allocate(static_cast<size_t>(model_.model->step_tokens_max() *
                                                               width * sizeof(float))));
    }
    return kernels::Mat{hidden_.data(), model_.device->activation_dtype(), n, width, width};
  }

  LoadedModel& model_;
  model::StepBatch arrays_;
  Buffer hidden_;
};

}  // namespace

Status warm_prompt(LoadedModel& model, std::span<const int32_t> ids,
                   const std::function<bool(int64_t)>& progress) {
  TRY_VOID(check_shareable(model));
  const auto tokens = static_cast<int64_t>(ids.size());
  if (tokens > model.context_tokens_max) {
    return make_error(ErrorCode::context_length_exceeded,
                      "a prompt of " + std::to_string(tokens) + " tokens; the context holds " +
                          std::to_string(model.context_tokens_max));
  }
  TRY(auto sequence, Sequence::start(*model.kv, model.prefixes.get(), {ids.begin(), ids.end()}));
  Prefill prefill(model);
  while (sequence.computed() < tokens) {
    const int64_t n = std::min(model.model->step_tokens_max(), tokens - sequence.computed());
    TRY_VOID(prefill.step(sequence, ids, n));
    if (progress && !progress(n)) return make_error(ErrorCode::cancelled, "interrupted");
  }
  model.prefixes->insert_for_all(ids, sequence.pages());
  return {};
}

Status save_warm_image(const LoadedModel& model, const std::filesystem::path& path,
                       const std::filesystem::path& private_key) {
  TRY_VOID(check_shareable(model));
  TRY_VOID(kvcache::write_warm_image(path, *model.kv, *model.prefixes, *model.device,
                                     format::fingerprint(*model.checkpoint)));
  if (private_key.empty()) return {};
  return vault::sign_file(path, private_key);
}

Result<int64_t> load_warm_image(LoadedModel& model, const std::filesystem::path& path,
                                const std::filesystem::path& public_key) {
  TRY_VOID(check_shareable(model));
  TRY(const auto file, format::MappedFile::open(path));
  if (!public_key.empty()) TRY_VOID(vault::verify_file(path, file.bytes(), public_key));
  // The longest conversation must still find its pages.
  const int64_t context_pages = ceil_div(model.context_tokens_max, model.kv->page_tokens());
  auto pages = kvcache::read_warm_image(file.bytes(), *model.kv, *model.prefixes, *model.device,
                                        format::fingerprint(*model.checkpoint),
                                        model.kv->pages() - context_pages);
  if (!pages) return std::move(pages).error().in(path.string());
  return pages;
}

}  // namespace hadal::engine
