#include "engine/look_ahead.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hadal::engine {
namespace {

// The token with the largest logit; -1 when there are no numbers.
int32_t most_likely(std::span<const float> logits) {
  int32_t best = -1;
  float most = -INFINITY;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > most) {
      most = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  return best;
}

Buffer floats(kernels::Device& device, int64_t count) {
  auto buffer = device.allocate(static_cast<size_t>(count) * sizeof(float));
  CHECK(buffer.has_value(), "no memory for the hidden states of a step");
  return *std::move(buffer);
}

}  // namespace

LookAhead::LookAhead(LoadedModel& model, const Clock& clock, StepCost& cost)
    : loaded_(model), clock_(clock), cost_(cost), width_(model.model->hidden_width()) {
  const int64_t vocab = model.model->config().vocab;
  hidden_ = floats(*model.device, model.model->step_tokens_max() * width_);
  next_ = floats(*model.device, model.sequences_max * width_);
  logits_ = floats(*model.device, model.sequences_max * vocab);
  logits_host_.resize(static_cast<size_t>(model.sequences_max * vocab));
}

kernels::Mat LookAhead::rows(const Buffer& buffer, int64_t count, int64_t cols) const {
  return {buffer.data(), loaded_.device->activation_dtype(), count, cols, cols};
}

kernels::Mat LookAhead::hidden(int64_t tokens) const { return rows(hidden_, tokens, width_); }

Status LookAhead::follow(std::span<Follower> followers, bool only_decode) {
  step_.clear();
  guessing_.clear();
  const auto writing = std::ranges::count_if(followers, &Follower::writes);
  const bool always = loaded_.speculation.always;
  const double price = always ? 0 : cost_.price_of_ahead(writing);
  int64_t tokens = 0;
  for (Follower& f : followers) {
    Speculation& s = *f.speculation;
    s.clear_ahead();
    if (!always) s.judge_layer(cost_.price_of_ahead(1));
    if (!s.layer_follows()) continue;
    const int64_t count = f.sequence->computed() - f.past;
    const bool guesses = f.writes && s.wants_ahead(price);
    step_.push_back(
        {.tokens = std::span(f.sequence->tokens())
                       .subspan(static_cast<size_t>(f.past) + 1, static_cast<size_t>(count)),
         .past = f.past,
         .block_table = f.sequence->pages(),
         .slot = f.sequence->slot(),
         .logits = guesses ? 1 : 0,
         .source = f.first});
    if (guesses) guessing_.push_back(&f);
    tokens += count;
  }
  if (step_.empty()) return {};
  const int64_t begin_ns = clock_.now_ns();
  TRY_VOID(pass(hidden(loaded_.model->step_tokens_max())));
  if (only_decode) cost_.learn_ahead(clock_.now_ns() - begin_ns);
  while (!guessing_.empty()) {
    look_further(price);
    if (!step_.empty()) TRY_VOID(pass(rows(next_, loaded_.sequences_max, width_)));
  }
  return {};
}

// Runs the layer over step_ and gives the guesses to those who wait for them.
Status LookAhead::pass(kernels::Mat hidden) {
  kernels::Device& device = *loaded_.device;
  const int64_t vocab = loaded_.model->config().vocab;
  TRY_VOID(arrays_.set(device, step_));
  const int64_t count = arrays_.logit_count();
  loaded_.model->draft(arrays_.view(), loaded_.kv->views(),
                       {.hidden = hidden,
                        .sources = arrays_.sources(),
                        .rows = arrays_.logit_rows(),
                        .logits = rows(logits_, count, vocab),
                        .next = rows(next_, count, width_)});
  if (count == 0) return {};
  device.copy_to_host(logits_host_.data(), logits_.data(),
                      static_cast<size_t>(count * vocab) * sizeof(float));
  for (size_t i = 0; i < guessing_.size(); ++i) {
    const int32_t token =
        most_likely(std::span(logits_host_)
                        .subspan(i * static_cast<size_t>(vocab), static_cast<size_t>(vocab)));
    Speculation& s = *guessing_[i]->speculation;
    token >= 0 ? s.add_ahead(token) : s.stop_layer();
  }
  return {};
}

// The step of those for whom a guess after their last one pays.
void LookAhead::look_further(double price) {
  step_.clear();
  size_t kept = 0;
  for (size_t i = 0; i < guessing_.size(); ++i) {
    Follower& f = *guessing_[i];
    const auto ahead = f.speculation->ahead();
    if (!f.speculation->layer_follows() || !f.speculation->wants_ahead(price)) continue;
    const auto n = static_cast<int64_t>(ahead.size());
    const int64_t past = f.sequence->computed() + n - 1;
    if (past + 1 >= loaded_.context_tokens_max || !f.sequence->reserve(n)) continue;
    step_.push_back({.tokens = ahead.last(1),
                     .past = past,
                     .block_table = f.sequence->pages(),
                     .slot = f.sequence->slot(),
                     .logits = 1,
                     .source = static_cast<int64_t>(i)});
    guessing_[kept++] = &f;
  }
  guessing_.resize(kept);
}

}  // namespace hadal::engine
