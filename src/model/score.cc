#include "model/score.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/units.h"

namespace hadal::model {
namespace {

// Logits of one step are T * V floats; this many rows keep them small for any vocabulary.
constexpr int64_t kLogitBytesMax = 64 << 20;

Status check_ids(const ModelConfig& config, std::span<const int32_t> ids, int64_t tokens_max) {
  if (ids.empty()) return invalid_argument("no token ids given");
  const int64_t most = std::min(config.context_max, tokens_max);
  if (static_cast<int64_t>(ids.size()) > most) {
    return too_large(std::to_string(ids.size()) + " tokens, the model's context holds " +
                     std::to_string(most));
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

Result<Scorer> Scorer::create(Model& model, kernels::Device& device, int64_t tokens_max,
                              const ScoreOptions& options) {
  const int64_t vocab = model.config().vocab;
  const int64_t page_tokens = model.kv_layout().page_tokens();
  TRY(auto kv, kvcache::KvCache::create(model.kv_layout(), device, options.kv_dtype,
                                        ceil_div(tokens_max, page_tokens), 1));
  Scorer out(model, device, std::move(kv));
  const int64_t fits = std::max<int64_t>(1, kLogitBytesMax / (vocab * 4));
  out.chunk_ = std::min({model.step_tokens_max(), fits, tokens_max});
  if (options.chunk > 0) out.chunk_ = std::min(out.chunk_, options.chunk);
  out.tokens_max_ = tokens_max;
  out.pages_.resize(static_cast<size_t>(out.kv_.pages()));
  std::iota(out.pages_.begin(), out.pages_.end(), 0);
  TRY(out.buffer_, device.allocate(static_cast<size_t>(out.chunk_ * vocab * 4)));
  out.host_.resize(static_cast<size_t>(out.chunk_ * vocab));
  return out;
}

Status Scorer::begin(std::span<const int32_t> ids) {
  TRY_VOID(check_ids(model_->config(), ids, tokens_max_));
  ids_ = ids;
  position_ = 0;
  return {};
}

Result<std::span<const float>> Scorer::next() {
  const int64_t vocab = model_->config().vocab;
  const int64_t n = std::min(chunk_, static_cast<int64_t>(ids_.size()) - position_);
  if (n == 0) return std::span<const float>();
  const StepSequence sequence{
      .tokens = ids_.subspan(static_cast<size_t>(position_), static_cast<size_t>(n)),
      .past = position_,
      .block_table = pages_,
      .slot = 0,
      .logits = n};
  TRY_VOID(batch_.set(*device_, {&sequence, 1}));
  const kernels::Mat logits{buffer_.data(), device_->activation_dtype(), n, vocab, vocab};
  model_->forward(batch_.view(), kv_.views(), batch_.logit_rows(), logits);
  device_->copy_to_host(host_.data(), buffer_.data(), static_cast<size_t>(n * vocab * 4));
  position_ += n;
  return std::span<const float>(host_).first(static_cast<size_t>(n * vocab));
}

Status score_tokens(Model& model, kernels::Device& device, std::span<const int32_t> ids,
                    const ScoreOptions& options,
                    FunctionRef<Status(int64_t, std::span<const float>)> sink) {
  const int64_t tokens = std::max<int64_t>(1, static_cast<int64_t>(ids.size()));
  TRY_VOID(check_ids(model.config(), ids, tokens));
  TRY(Scorer scorer, Scorer::create(model, device, tokens, options));
  TRY_VOID(scorer.begin(ids));
  while (true) {
    const int64_t first = scorer.position();
    TRY(const std::span<const float> logits, scorer.next());
    if (logits.empty()) return {};
    TRY_VOID(sink(first, logits));
  }
}

}  // namespace hadal::model
