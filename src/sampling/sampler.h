#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "engine_api/backend.h"
#include "engine_api/sampling_params.h"

namespace hadal::sampling {

/// Changes logits before a token is chosen: grammar masks, watermarks.
/// Threading: the engine's thread.
class LogitProcessor {
 public:
  virtual ~LogitProcessor() = default;
  /// `logits` [V]; -infinity forbids a token. Errors: what ends the answer.
  virtual Status apply(std::span<float> logits) = 0;
  /// The chosen token.
  virtual void accept(int32_t token) = 0;
};

/// Chooses the tokens of one answer. The order is that of SamplingParams; processors come right
/// after the logit bias. The same seed, parameters and logits give the same tokens on every
/// machine. Tokens of equal logits rank by id, the lower first; top-p keeps the token that reaches
/// p. NaN counts as -infinity, +infinity as the largest number. Once made it allocates nothing, but
/// for the list of a position's log probabilities. Threading: one thread at a time.
class Sampler {
 public:
  /// `params.seed` absent counts as 0. Errors: invalid_argument, about the parameter that is out of
  /// range.
  static Result<Sampler> create(const engine_api::SamplingParams& params, int64_t vocab);
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  /// A processor to apply; it must outlive the sampler.
  void add_processor(LogitProcessor& processor);
  /// The prompt's tokens count for the repetition penalty.
  void add_prompt(std::span<const int32_t> tokens);

  /// The next token; `logits` [V] is used as scratch. With `logprobs` it also tells the chosen
  /// token's and the most likely tokens' log probabilities, of the model itself: before bias,
  /// penalties and temperature. Errors: those of processors; internal when no logit is a number
  /// above -infinity.
  Result<int32_t> sample(std::span<float> logits, engine_api::PositionLogprobs* logprobs = nullptr);
  /// What the model itself thought of `token`, which came from elsewhere, and the most likely ones;
  /// for a sampler that was asked for logprobs.
  void measure(std::span<const float> logits, int32_t token, engine_api::PositionLogprobs& out);
  /// Tells that `token` became part of the answer.
  void accept(int32_t token);

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::sampling
