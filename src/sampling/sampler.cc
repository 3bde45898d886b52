#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "sampling/internal/weights.h"

namespace hadal::sampling {

using engine_api::SamplingParams;

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
// Below this a temperature is 0 in effect; dividing by it would overflow.
constexpr double kGreedyBelow = 1e-5;
constexpr int kLogprobsMax = 20;  // Source: OpenAI API, top_logprobs

Status in_range(double value, double low, double high, bool low_open, const char* name) {
  const bool good =
      std::isfinite(value) && value <= high && (low_open ? value > low : value >= low);
  if (good) return {};
  char text[160];
  std::snprintf(text, sizeof text, "%s is %g, expected %s%g to %g", name, value,
                low_open ? "above " : "", low, high);
  return invalid_argument(text).about(name);
}

Status validate(const SamplingParams& p, int64_t vocab) {
  TRY_VOID(in_range(p.temperature, 0, 100, false, "temperature"));
  TRY_VOID(in_range(p.top_p, 0, 1, true, "top_p"));
  TRY_VOID(in_range(p.min_p, 0, 1, false, "min_p"));
  TRY_VOID(in_range(p.repetition_penalty, 0, 100, true, "repetition_penalty"));
  TRY_VOID(in_range(p.presence_penalty, -2, 2, false, "presence_penalty"));
  TRY_VOID(in_range(p.frequency_penalty, -2, 2, false, "frequency_penalty"));
  if (p.top_k < 0) return invalid_argument("top_k must not be negative").about("top_k");
  if (p.logprobs > kLogprobsMax) {
    return invalid_argument("at most " + std::to_string(kLogprobsMax) + " logprobs")
        .about("top_logprobs");
  }
  for (const auto& [id, bias] : p.logit_bias) {
    if (id < 0 || id >= vocab) {
      return invalid_argument("logit_bias names token " + std::to_string(id) +
                              ", the vocabulary has ids 0 to " + std::to_string(vocab - 1))
          .about("logit_bias");
    }
    TRY_VOID(in_range(bias, -100, 100, false, "logit_bias"));
  }
  return {};
}

// Counts of tokens, dense, with a list of those that were counted.
class TokenCounts {
 public:
  // Room for `vocab` tokens; 0: it counts nothing.
  explicit TokenCounts(size_t vocab) : counts_(vocab) { counted_.reserve(vocab); }

  void add(int32_t token) {
    if (counts_.empty()) return;
    CHECK(token >= 0 && static_cast<size_t>(token) < counts_.size(), "a token of another model");
    if (counts_[static_cast<size_t>(token)]++ == 0) counted_.push_back(token);
  }
  std::span<const int32_t> counted() const { return counted_; }
  int32_t count(int32_t token) const { return counts_[static_cast<size_t>(token)]; }

 private:
  std::vector<int32_t> counts_;
  std::vector<int32_t> counted_;
};

// A row with +infinity has no softmax: such a logit becomes a very large one.
void tame(std::span<float> logits) {
  for (float& v : logits) {
    if (v == std::numeric_limits<float>::infinity()) v = std::numeric_limits<float>::max();
  }
}

}  // namespace

struct Sampler::Impl {
  Impl(const SamplingParams& p, size_t vocab)
      : params(p),
        rng(p.seed.value_or(0)),
        greedy(p.temperature < kGreedyBelow),
        seen(p.repetition_penalty != 1.0 ? vocab : 0),
        answer(p.presence_penalty != 0 || p.frequency_penalty != 0 ? vocab : 0),
        weights(greedy ? 0 : vocab),
        block_sums((vocab + kBlock - 1) / kBlock),
        raw(p.logprobs >= 0 ? vocab : 0),
        vocab_size(vocab),
        ranking(p.logprobs > 0 || p.top_k > 0 || p.top_p < 1 ? vocab : 0) {}

  void penalise(std::span<float> logits) const;
  int32_t draw(std::span<const float> logits, float largest);
  void keep_until(std::span<const float> logits, const Ranked& last);
  void measure(int32_t chosen, engine_api::PositionLogprobs& out);

  SamplingParams params;
  Rng rng;
  bool greedy;
  std::vector<LogitProcessor*> processors;
  TokenCounts seen;                ///< prompt and answer, for the repetition penalty
  TokenCounts answer;              ///< for the other penalties
  std::vector<float> weights;      ///< of the tokens, those that were cut are 0
  std::vector<double> block_sums;  ///< of `weights`
  std::vector<float> raw;          ///< the logits as they came, when logprobs are wanted
  size_t vocab_size;
  Ranking ranking;
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

Result<Sampler> Sampler::create(const SamplingParams& params, int64_t vocab) {
  CHECK(vocab > 0);
  TRY_VOID(validate(params, vocab));
  return Sampler(std::make_unique<Impl>(params, static_cast<size_t>(vocab)));
}

void Sampler::add_processor(LogitProcessor& processor) { impl_->processors.push_back(&processor); }

void Sampler::add_prompt(std::span<const int32_t> tokens) {
  for (const int32_t t : tokens) impl_->seen.add(t);
}

void Sampler::accept(int32_t token) {
  impl_->seen.add(token);
  impl_->answer.add(token);
  for (LogitProcessor* p : impl_->processors) p->accept(token);
}

void Sampler::Impl::penalise(std::span<float> logits) const {
  const auto r = static_cast<float>(params.repetition_penalty);
  for (const int32_t id : seen.counted()) {
    float& v = logits[static_cast<size_t>(id)];
    v = v > 0 ? v / r : v * r;
  }
  for (const int32_t id : answer.counted()) {
    logits[static_cast<size_t>(id)] -=
        static_cast<float>(params.presence_penalty + params.frequency_penalty * answer.count(id));
  }
}

Result<int32_t> Sampler::sample(std::span<float> logits, engine_api::PositionLogprobs* logprobs) {
  Impl& m = *impl_;
  CHECK(logits.size() == m.vocab_size);
  const bool measured = logprobs != nullptr && !m.raw.empty();
  if (measured) std::ranges::copy(logits, m.raw.begin());
  for (const auto& [id, bias] : m.params.logit_bias) logits[static_cast<size_t>(id)] += bias;
  for (LogitProcessor* p : m.processors) TRY_VOID(p->apply(logits));
  m.penalise(logits);
  Largest largest = find_largest(logits);
  if (largest.id < 0) {
    return internal_error(
        "the model produced no usable logits (all NaN or -infinity): is the checkpoint damaged?");
  }
  if (largest.logit == std::numeric_limits<float>::infinity()) {
    tame(logits);
    largest = find_largest(logits);
  }
  const int32_t token = m.greedy ? largest.id : m.draw(logits, largest.logit);
  if (measured) m.measure(token, *logprobs);
  return token;
}

void Sampler::measure(std::span<const float> logits, int32_t token,
                      engine_api::PositionLogprobs& out) {
  CHECK(logits.size() == impl_->raw.size(), "a sampler without logprobs");
  std::ranges::copy(logits, impl_->raw.begin());
  impl_->measure(token, out);
}

int32_t Sampler::Impl::draw(std::span<const float> logits, float largest) {
  weigh(logits, largest, static_cast<float>(params.temperature), weights);
  if (params.top_k > 0) {
    keep_until(logits, ranking.last_of_top_k(logits, static_cast<size_t>(params.top_k)));
  }
  if (params.top_p < 1) {
    const double wanted = params.top_p * add_up(weights, block_sums);
    keep_until(logits, ranking.last_of_top_p(logits, weights, wanted));
  }
  if (params.min_p > 0) {
    // The most likely token weighs 1.
    const auto least = static_cast<float>(params.min_p);
    for (float& w : weights) w = w >= least ? w : 0.0f;
  }
  const double total = add_up(weights, block_sums);
  return token_at(weights, block_sums, rng.next_double() * total);
}

// Cuts the tokens that rank after `last`.
void Sampler::Impl::keep_until(std::span<const float> logits, const Ranked& last) {
  const auto ties = static_cast<size_t>(last.id) + 1;
  for (size_t i = 0; i < ties; ++i) weights[i] = logits[i] >= last.logit ? weights[i] : 0.0f;
  for (size_t i = ties; i < logits.size(); ++i) {
    weights[i] = logits[i] > last.logit ? weights[i] : 0.0f;
  }
}

// Log probabilities of the model itself, before anything of the request's.
void Sampler::Impl::measure(int32_t chosen, engine_api::PositionLogprobs& out) {
  const float largest = find_largest(raw).logit;
  if (largest == std::numeric_limits<float>::infinity()) {
    tame(raw);
    return measure(chosen, out);
  }
  // Nothing in the row: the request's own bias made it usable, the model had no opinion.
  double total = largest == kForbidden ? 1 : 0;
  for (const float v : raw) total += exp_or_zero(v - largest);
  const double log_total = std::log(total) + largest;
  const auto logprob = [&](int32_t id) {
    const float v = raw[static_cast<size_t>(id)];
    return std::isnan(v) || v == kForbidden ? kForbidden : static_cast<float>(v - log_total);
  };
  out.chosen = {.id = chosen, .bytes = {}, .logprob = logprob(chosen)};
  out.top.clear();
  if (params.logprobs <= 0) return;
  for (const Ranked& r : ranking.best(raw, static_cast<size_t>(params.logprobs))) {
    out.top.push_back({.id = r.id, .bytes = {}, .logprob = logprob(r.id)});
  }
}

}  // namespace hadal::sampling
