#include "model/score.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/units.h"
#include "kvcache/kv_cache.h"
#include "model/step_batch.h"

namespace hadal::model {
namespace {

// Logits of one step are T * V floats; this many rows keep them small for any vocabulary.
constexpr int64_t kLogitBytesMax = 64 << 20;

Status check_ids(const ModelConfig& config, std::span<const int32_t> ids) {
  if (ids.empty()) return invalid_argument("no token ids given");
  if (static_cast<int64_t>(ids.size()) > config.context_max) {
    return too_large(std::to_string(ids.size()) + " tokens, the model's context holds " +
                     std::to_string(config.context_max));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config.vocab) {
      return invalid_argument("token " + std::to_string(i) + " is " + std::to_string(ids[i]) +
                              ", the vocabulary has ids 0 to " + std::to_string(config.vocab - 1));
    }
  }
  return {};
}

}  // namespace

Status score_tokens(Model& model, kernels::Device& device, std::span<const int32_t> ids,
                    const ScoreOptions& options,
                    FunctionRef<Status(int64_t, std::span<const float>)> sink) {
  const ModelConfig& config = model.config();
  TRY_VOID(check_ids(config, ids));
  const auto total = static_cast<int64_t>(ids.size());
  const int64_t fits = std::max<int64_t>(1, kLogitBytesMax / (config.vocab * 4));
  int64_t chunk = std::min({model.step_tokens_max(), fits, total});
  if (options.chunk > 0) chunk = std::min(chunk, options.chunk);

  const int64_t page_tokens = model.kv_layout().page_tokens();
  TRY(auto kv, kvcache::KvCache::create(model.kv_layout(), device, options.kv_dtype,
                                        ceil_div(total, page_tokens), 1));
  std::vector<int32_t> pages(static_cast<size_t>(kv.pages()));
  std::iota(pages.begin(), pages.end(), 0);

  TRY(const Buffer buffer, device.allocate(static_cast<size_t>(chunk * config.vocab * 4)));
  std::vector<float> host(static_cast<size_t>(chunk * config.vocab));
  StepBatch batch;
  for (int64_t first = 0; first < total; first += chunk) {
    const int64_t n = std::min(chunk, total - first);
    const StepSequence sequence{
        .tokens = ids.subspan(static_cast<size_t>(first), static_cast<size_t>(n)),
        .past = first,
        .block_table = pages,
        .slot = 0,
        .logits = n};
    TRY_VOID(batch.set(device, {&sequence, 1}));
    const kernels::Mat logits{buffer.data(), device.activation_dtype(), n, config.vocab,
                              config.vocab};
    model.forward(batch.view(), kv.views(), batch.logit_rows(), logits);
    device.copy_to_host(host.data(), buffer.data(), static_cast<size_t>(n * config.vocab * 4));
    TRY_VOID(sink(first, {host.data(), static_cast<size_t>(n * config.vocab)}));
  }
  return {};
}

}  // namespace hadal::model
