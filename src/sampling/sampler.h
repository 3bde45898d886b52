#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine_api/backend.h"
#include "engine_api/sampling_params.h"

namespace hadal::sampling {

/// Changes logits before a token is chosen: a grammar's mask, a watermark. It runs after the
/// request's own bias and penalties and before the temperature.
/// Threading: the thread of its sampler.
class LogitProcessor {
 public:
  virtual ~LogitProcessor() = default;
  /// Changes one row in place; -infinity forbids a token. Shapes: logits [V].
  virtual void process(std::span<float> logits) = 0;
  /// The token that was chosen.
  virtual void accept(int32_t token) = 0;
};

/// Chooses the tokens of one answer. The same parameters, seed and logits give the same tokens on
/// every machine. After construction a step allocates nothing, except for the alternatives of
/// log-probabilities. Threading: one thread at a time.
class Sampler {
 public:
  /// Errors: invalid_argument naming the parameter that is out of its range. A request without a
  /// seed gets seed 0: the caller gives one.
  static Result<Sampler> create(const engine_api::SamplingParams& params, int64_t vocab);
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  /// Tokens of the prompt: the repetition penalty counts them.
  void add_prompt(std::span<const int32_t> tokens);

  /// Adds a processor, which must outlive the sampler; they run in the order they were added.
  void add_processor(LogitProcessor* processor);

  /// The next token. `logprobs`, where wanted, gets the chosen token's and the most likely tokens'
  /// log-probabilities under the model itself: the log-softmax of `logits` as they came, before
  /// bias, penalties, temperature and cuts; `bytes` stay empty. Shapes: logits [V].
  /// Errors: corrupt when there are NaN or +infinity among the logits, or when every token is
  /// forbidden.
  Result<int32_t> sample(std::span<const float> logits,
                         engine_api::PositionLogprobs* logprobs = nullptr);

  /// Takes a token into the answer: penalties count it from now on.
  void accept(int32_t token);

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::sampling
