#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "engine_api/backend.h"

namespace hadal::protocol {

/// A request of the OpenAI API, and how its answer is to be written.
struct ParsedRequest {
  engine_api::Request request;
  bool stream = false;
  bool include_usage = false;  ///< stream_options.include_usage
  bool logprobs = false;       ///< the client wants to see them
  int prompts = 1;
  /// Answers to each prompt that the client wants; request.choices may be more (`best_of`), of
  /// which those with the highest mean logprob are given.
  int n = 1;
};

/// What a request may contain at most.
struct RequestLimits {
  size_t body_bytes_max = 32 << 20;
  size_t depth_max = 64;
  size_t messages_max = 16384;
  size_t tools_max = 128;
  size_t stops_max = 16;
  size_t stop_bytes_max = 1024;
  size_t logit_bias_max = 4096;
  size_t token_ids_max = 4 << 20;
  size_t prompts_max = 2048;  ///< of a completion, inputs of embeddings
  int choices_max = 128;
};

/// The body of POST /v1/chat/completions.
///
/// Understood beyond OpenAI's fields: DeepSeek's `thinking` {type}, message `prefix` and
/// `reasoning_content`; `chat_template_kwargs` {thinking | enable_thinking}; `top_k`, `min_p`,
/// `repetition_penalty`, `min_tokens`, `ignore_eos`, `stop_token_ids`, `timeout_ms`; llama.cpp's
/// `grammar`. Unknown fields are ignored, because real clients send their own. A field that is
/// known but cannot be honoured (images) is refused rather than ignored.
///
/// Errors: invalid_argument with param = the place ("messages[1].content"); too_large.
/// Source: OpenAI API reference (chat completions); DeepSeek API docs (thinking mode, prefix).
Result<ParsedRequest> parse_chat_request(std::string_view body, const RequestLimits& limits = {});

/// The body of POST /v1/completions: `prompt` is a string, token ids, or an array of strings or of
/// arrays of token ids; with `suffix` it is a fill-in-the-middle. Otherwise as parse_chat_request.
Result<ParsedRequest> parse_completion_request(std::string_view body,
                                               const RequestLimits& limits = {});

}  // namespace hadal::protocol
