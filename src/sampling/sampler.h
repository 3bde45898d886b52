#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "engine_api/backend.h"
#include "engine_api/sampling_params.h"

namespace hadal::sampling {

/// Changes logits before a token is chosen: grammar masks, watermarks.
/// Threading: the engine's thread.
class LogitProcessor {
 public:
  virtual ~LogitProcessor() = default;
  /// `logits` [V]; -infinity forbids a token.
  virtual void apply(std::span<float> logits) = 0;
  /// The chosen token.
  virtual void accept(int32_t token) = 0;
};

/// Chooses the tokens of one answer. The order is that of SamplingParams; processors come right
/// after the logit bias. The same seed, parameters and logits give the same tokens. Threading: one
/// thread at a time. After the first call nothing is allocated.
class Sampler {
 public:
  /// `params.seed` absent counts as 0. Errors: invalid_argument, about the parameter that is out of
  /// range.
  static Result<Sampler> create(const engine_api::SamplingParams& params, int64_t vocab);

  /// A processor to apply; it must outlive the sampler.
  void add_processor(LogitProcessor& processor) { processors_.push_back(&processor); }
  /// The prompt's tokens count for the repetition penalty.
  void add_prompt(std::span<const int32_t> tokens);

  /// The next token; `logits` [V] is used as scratch. With `logprobs` it also tells the chosen
  /// token's and the most likely tokens' log probabilities, of the model itself: before bias,
  /// penalties and temperature. Errors: internal when no logit is a number above -infinity.
  Result<int32_t> sample(std::span<float> logits, engine_api::PositionLogprobs* logprobs = nullptr);
  /// Tells that `token` became part of the answer.
  void accept(int32_t token);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  Sampler(const engine_api::SamplingParams& params, int64_t vocab);
  void penalise(std::span<float> logits) const;
  int32_t draw(std::span<const float> logits);
  void collect(std::span<const float> logits);
  size_t keep_top_p(double total);
  void measure(std::span<const float> logits, engine_api::PositionLogprobs& out);

  engine_api::SamplingParams params_;
  int64_t vocab_;
  Rng rng_;
  std::vector<LogitProcessor*> processors_;
  std::unordered_map<int32_t, int32_t> answer_counts_;  ///< occurrences in the answer
  std::unordered_map<int32_t, int32_t> seen_;  ///< in prompt or answer; for the repetition penalty
  std::vector<Candidate> candidates_;
  std::vector<float> raw_;  ///< the logits as they came, when logprobs are wanted
};

}  // namespace hadal::sampling
