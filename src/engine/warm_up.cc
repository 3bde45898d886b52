#include "engine/warm_up.h"

#include <algorithm>
#include <string>

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
  model::StepBatch arrays;
  while (sequence.computed() < tokens) {
    const int64_t n = std::min(model.model->step_tokens_max(), tokens - sequence.computed());
    TRY_VOID(sequence.reserve(n));
    const model::StepSequence part{
        .tokens = ids.subspan(static_cast<size_t>(sequence.computed()), static_cast<size_t>(n)),
        .past = sequence.computed(),
        .block_table = sequence.pages(),
        .slot = sequence.slot(),
        .logits = 0};
    TRY_VOID(arrays.set(*model.device, {&part, 1}));
    model.model->forward(arrays.view(), model.kv->views(), arrays.logit_rows(), {});
    sequence.advance(n);
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
  auto pages = kvcache::read_warm_image(file.bytes(), *model.kv, *model.prefixes, *model.device,
                                        format::fingerprint(*model.checkpoint));
  if (!pages) return std::move(pages).error().in(path.string());
  return pages;
}

}  // namespace hadal::engine
