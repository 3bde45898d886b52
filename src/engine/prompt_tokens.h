#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"
#include "engine_api/backend.h"

namespace hadal::engine {

/// A request's prompt as the model reads it.
struct PromptTokens {
  std::vector<int32_t> ids;
  std::optional<prompt::Rendered> rendered;  ///< of a chat: how to read the answer
  std::string echo;                          ///< text that the answer repeats first
  bool scored = false;                       ///< and the logprobs of its tokens
};

/// Renders and tokenizes the prompts of `request`, at least one.
/// Threading: any thread. Errors: invalid_argument, context_length_exceeded, unsupported (a
/// chat with a model that has no chat format, fill-in-the-middle with one that cannot).
Result<std::vector<PromptTokens>> make_prompts(const LoadedModel& model,
                                               const engine_api::Request& request);

/// The tokens of a prompt of any length, for who counts them.
/// Threading: any thread. Errors: invalid_argument, unsupported (as make_prompts), too_large.
Result<std::vector<engine_api::Token>> tokenize(const LoadedModel& model,
                                                const engine_api::TokenizeRequest& request);
/// The text of `ids`, special tokens included. Threading: any thread.
/// Errors: invalid_argument (an id outside the vocabulary), too_large.
Result<std::string> detokenize(const LoadedModel& model, std::span<const int32_t> ids);

}  // namespace hadal::engine
