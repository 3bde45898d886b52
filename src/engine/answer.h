#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "engine/prompt_tokens.h"
#include "engine_api/backend.h"
#include "sampling/sampler.h"
#include "sampling/stop_matcher.h"
#include "tokenizer/detokenizer.h"

namespace hadal::engine {

/// One answer while it is written: chooses tokens from logits and turns them into text, reasoning
/// and tool calls, until something ends it. Threading: the engine's thread.
class Answer {
 public:
  /// `seed` is used when the request gives none. Errors: invalid_argument for sampling parameters.
  static Result<std::unique_ptr<Answer>> create(const LoadedModel& model,
                                                const engine_api::Request& request,
                                                const PromptTokens& prompt, uint64_t seed);

  /// Chooses the next token. Errors: internal when the logits are not numbers.
  Result<int32_t> choose(std::span<float> logits);
  /// Takes a chosen token; what became text goes to `delta`. Afterwards finished() says whether the
  /// answer ended.
  void accept(int32_t token, engine_api::Delta& delta);
  /// Ends the answer: text that was held back goes to `delta`.
  void finish(engine_api::FinishReason reason, engine_api::Delta& delta);

  const std::optional<engine_api::FinishReason>& finished() const { return finished_; }
  int64_t tokens() const { return tokens_; }
  /// How many more it may have.
  int64_t tokens_left() const { return tokens_max_ - tokens_; }
  int64_t reasoning_tokens() const { return reasoning_tokens_; }
  const std::string& stop_string() const { return stop_string_; }

 private:
  Answer(const LoadedModel& model, const engine_api::Request& request, sampling::Sampler sampler,
         int64_t tokens_max);
  void take_text(std::string_view text, engine_api::Delta& delta);
  bool ends(int32_t token) const;

  const LoadedModel& model_;
  engine_api::StopParams stop_;
  sampling::Sampler sampler_;
  sampling::StopMatcher stop_matcher_;
  tokenizer::Detokenizer detokenizer_;
  std::unique_ptr<prompt::AnswerParser> parser_;  ///< null: plain text
  std::vector<int32_t> end_ids_;
  engine_api::PositionLogprobs logprobs_;
  bool want_logprobs_ = false;
  int64_t tokens_max_;
  int64_t tokens_ = 0;
  int64_t reasoning_tokens_ = 0;
  bool called_tools_ = false;
  std::optional<engine_api::FinishReason> finished_;
  std::string stop_string_;
};

}  // namespace hadal::engine
