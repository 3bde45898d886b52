#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine_api/backend.h"

namespace hadal::protocol {

/// What every body and chunk of one answer repeats.
struct AnswerHead {
  std::string id;  ///< "chatcmpl-..." or "cmpl-..."
  int64_t created_unix_s = 0;
  std::string model;
};

/// Where the next token's text begins, in characters: the older form of logprobs tells it. Tokens
/// whose bytes are no whole characters make it approximate.
class TextOffset {
 public:
  /// The offset of `delta`'s first token; moves past the delta.
  int64_t take(const engine_api::Delta& delta);

 private:
  int64_t at_ = 0;
  bool has_tokens_ = false;
};

/// An answer, collected from its events.
struct Answer {
  std::string content;
  std::string reasoning;
  std::vector<engine_api::ToolCall> tool_calls;
  std::vector<engine_api::PositionLogprobs> logprobs;
  engine_api::FinishReason reason = engine_api::FinishReason::stop;
  int64_t first_offset = 0;  ///< where the first token of `logprobs` begins

  void add(engine_api::Delta&& delta);
  /// Of the tokens, for comparing answers; 0 without any.
  double mean_logprob() const;

 private:
  TextOffset offset_;
};

/// "stop", "length" or "tool_calls"; a cancelled answer says "stop".
std::string_view finish_reason_text(engine_api::FinishReason reason);

/// The body of complete chat answers. With DeepSeek's `reasoning_content` and its counts of cached
/// and reasoning tokens in `usage`. Source: OpenAI API reference; DeepSeek API docs.
std::string chat_completion(const AnswerHead& head, std::span<const Answer> answers,
                            const engine_api::Usage& usage, bool logprobs);
/// The body of complete text answers.
std::string text_completion(const AnswerHead& head, std::span<const Answer> answers,
                            const engine_api::Usage& usage, bool logprobs);

/// Writes answers as the JSON texts of a stream: begin, any number of deltas and end for each, and
/// at last usage if it was asked for. Each text goes into one server-sent event (protocol/sse.h).
class ChunkWriter {
 public:
  /// With `include_usage`, every chunk but the last says `"usage":null`.
  ChunkWriter(AnswerHead head, bool chat, bool include_usage, int answers = 1);

  /// The chunk that gives the role; empty for text completions, which have none.
  std::string begin(int index) const;
  /// Chunks of new text: none when the delta holds nothing that shows.
  std::vector<std::string> delta(const engine_api::Delta& delta);
  /// The chunk that says why the answer ended.
  std::string end(int index, engine_api::FinishReason reason) const;
  /// The last chunk, without choices.
  std::string usage(const engine_api::Usage& usage) const;

 private:
  struct State {
    int64_t tool_calls = 0;
    TextOffset offset;
  };
  std::string chunk(json::Value choice) const;

  AnswerHead head_;
  bool chat_;
  bool include_usage_;
  std::vector<State> states_;  ///< of the answers
};

/// {"error":{message, type, param, code, hint}}; param and hint are null when empty.
std::string error_body(const Error& error);
/// As error_body, with `code` instead of the error's own name: for errors of HTTP itself.
std::string error_body(const Error& error, std::string_view code);

/// {"object":"list","data":[...]}.
std::string model_list(std::span<const engine_api::ModelInfo> models);
std::string model_object(const engine_api::ModelInfo& model);

}  // namespace hadal::protocol
