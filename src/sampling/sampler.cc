#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

#include "base/check.h"

namespace hadal::sampling {

using engine_api::SamplingParams;

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
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

int32_t argmax(std::span<const float> logits) {
  int32_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[static_cast<size_t>(best)]) best = static_cast<int32_t>(i);
  }
  return best;
}

// A NaN never wins: it counts as forbidden. Returns whether any token is allowed.
bool clean(std::span<float> logits) {
  bool any = false;
  for (float& v : logits) {
    if (std::isnan(v)) v = kForbidden;
    if (v == std::numeric_limits<float>::infinity()) v = std::numeric_limits<float>::max();
    any |= v != kForbidden;
  }
  return any;
}

}  // namespace

Result<Sampler> Sampler::create(const SamplingParams& params, int64_t vocab) {
  CHECK(vocab > 0);
  TRY_VOID(validate(params, vocab));
  return Sampler(params, vocab);
}

Sampler::Sampler(const SamplingParams& params, int64_t vocab)
    : params_(params), vocab_(vocab), rng_(params.seed.value_or(0)) {}

void Sampler::add_prompt(std::span<const int32_t> tokens) {
  if (params_.repetition_penalty == 1.0) return;
  for (const int32_t t : tokens) seen_[t] = 1;
}

void Sampler::accept(int32_t token) {
  if (params_.repetition_penalty != 1.0) seen_[token] = 1;
  if (params_.presence_penalty != 0 || params_.frequency_penalty != 0) ++answer_counts_[token];
  for (LogitProcessor* p : processors_) p->accept(token);
}

void Sampler::penalise(std::span<float> logits) const {
  for (const auto& [id, unused] : seen_) {
    float& v = logits[static_cast<size_t>(id)];
    const auto r = static_cast<float>(params_.repetition_penalty);
    v = v > 0 ? v / r : v * r;
  }
  for (const auto& [id, count] : answer_counts_) {
    logits[static_cast<size_t>(id)] -=
        static_cast<float>(params_.presence_penalty + params_.frequency_penalty * count);
  }
}

Result<int32_t> Sampler::sample(std::span<float> logits, engine_api::PositionLogprobs* logprobs) {
  CHECK(static_cast<int64_t>(logits.size()) == vocab_);
  if (!clean(logits)) {
    return internal_error(
        "the model produced no usable logits (all NaN or -infinity): is the checkpoint damaged?");
  }
  if (logprobs != nullptr) raw_.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : params_.logit_bias) logits[static_cast<size_t>(id)] += bias;
  for (LogitProcessor* p : processors_) p->apply(logits);
  penalise(logits);
  const int32_t token = params_.temperature == 0 ? argmax(logits) : draw(logits);
  if (logprobs != nullptr) {
    logprobs->chosen.id = token;
    measure(raw_, *logprobs);
  }
  return token;
}

// Fills candidates_ with the tokens that top-k and min-p leave, and a margin below which a token's
// share is nothing.
void Sampler::collect(std::span<const float> logits) {
  const float best = *std::max_element(logits.begin(), logits.end());
  const auto temperature = static_cast<float>(params_.temperature);
  // exp(-30) of the best one's weight: even 2^17 such tokens together weigh less than 1e-7 of it.
  double margin = 30.0 * temperature;
  if (params_.min_p > 0) margin = std::min(margin, -std::log(params_.min_p) * temperature);
  const auto floor = static_cast<float>(best - margin);
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= floor) candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  const auto k = static_cast<size_t>(params_.top_k);
  if (k > 0 && candidates_.size() > k) {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k),
                     candidates_.end(), [](const Candidate& a, const Candidate& b) {
                       return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
                     });
    candidates_.resize(k);
  }
  for (Candidate& c : candidates_) c.logit = std::exp((c.logit - best) / temperature);
}

// Orders the candidates as far as needed and returns how many of the heaviest make up top_p of
// `total`.
size_t Sampler::keep_top_p(double total) {
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  const double wanted = params_.top_p * total;
  double sum = 0;
  // Usually a few dozen tokens suffice: sort a growing front instead of everything.
  for (size_t sorted = 0; sorted < candidates_.size();) {
    const size_t next = std::min(candidates_.size(), std::max<size_t>(64, sorted * 4));
    std::partial_sort(candidates_.begin() + static_cast<ptrdiff_t>(sorted),
                      candidates_.begin() + static_cast<ptrdiff_t>(next), candidates_.end(),
                      heavier);
    for (; sorted < next; ++sorted) {
      sum += candidates_[sorted].logit;
      if (sum >= wanted) return sorted + 1;
    }
  }
  return candidates_.size();
}

int32_t Sampler::draw(std::span<const float> logits) {
  collect(logits);
  double total = 0;
  for (const Candidate& c : candidates_) total += c.logit;
  size_t kept = candidates_.size();
  if (params_.top_p < 1) {
    kept = keep_top_p(total);
    total = 0;
    for (size_t i = 0; i < kept; ++i) total += candidates_[i].logit;
  }
  double left = rng_.next_double() * total;
  for (size_t i = 0; i < kept; ++i) {
    left -= candidates_[i].logit;
    if (left < 0) return candidates_[i].id;
  }
  return candidates_[kept - 1].id;
}

void Sampler::measure(std::span<const float> logits, engine_api::PositionLogprobs& out) {
  const float best = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float v : logits) total += std::exp(static_cast<double>(v - best));
  const double log_total = std::log(total) + best;
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[static_cast<size_t>(id)] - log_total);
  };
  out.chosen.logprob = logprob(out.chosen.id);
  out.top.clear();
  const auto n =
      static_cast<size_t>(std::max(0, std::min<int>(params_.logprobs, static_cast<int>(vocab_))));
  if (n == 0) return;
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(n),
                    candidates_.end(), [](const Candidate& a, const Candidate& b) {
                      return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
                    });
  for (size_t i = 0; i < n; ++i)
    out.top.push_back({candidates_[i].id, {}, logprob(candidates_[i].id)});
}

}  // namespace hadal::sampling
