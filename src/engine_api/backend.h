#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine_api/answer_format.h"
#include "engine_api/chat.h"
#include "engine_api/sampling_params.h"

namespace hadal::engine_api {

/// Names one request for as long as it lives; chosen by the backend, never reused by it.
enum class RequestId : uint64_t {};

/// A prompt that is not a chat: text to continue, with the text after the gap for
/// fill-in-the-middle.
struct TextPrompt {
  std::string text;
  std::string suffix;  ///< empty: plain continuation
  bool echo = false;   ///< the answer begins with the prompt
};
/// A prompt as token ids, taken as they are.
struct TokenPrompt {
  std::vector<int32_t> ids;
  bool echo = false;
};

/// Several prompts of one request, each answered on its own.
struct PromptList {
  std::vector<std::variant<TextPrompt, TokenPrompt>> prompts;
};
using Prompt = std::variant<Chat, TextPrompt, TokenPrompt, PromptList>;

/// How the final states of a text's tokens become its embedding.
enum class Pooling { none, mean, last };

/// What a client asks of a model.
struct Request {
  std::string model;  ///< empty: the backend's default
  Prompt prompt;
  Pooling pooling = Pooling::none;  ///< otherwise each prompt's embedding is wanted, no answer
  int choices = 1;  ///< answers to each prompt, which is computed once; each has its own seed
  SamplingParams sampling;
  StopParams stop;
  AnswerFormat format;     ///< enforced, whether or not the prompt tells the model
  int64_t timeout_ms = 0;  ///< 0: the backend's limit
  int priority = 0;        ///< lower is served earlier
  std::string user;        ///< whose request it is: tokens are shared fairly between users
  std::string cache_salt;  ///< requests share computed prefixes only with those of the same salt
};

/// Tokens counted for a request.
struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  ///< of the prompt, found in the prefix cache
  int64_t completion_tokens = 0;
  int64_t reasoning_tokens = 0;  ///< of the completion
};

enum class FinishReason { stop, length, tool_calls, cancelled };

/// One alternative at one position.
struct TokenLogprob {
  int32_t id = 0;
  std::string bytes;  ///< the token's bytes; need not be whole characters
  float logprob = 0;  ///< NaN: none, of the first token of a prompt
};
/// The chosen token and the most likely ones, best first.
struct PositionLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;
  bool in_text = true;  ///< false: a special token, which the text leaves out
};

/// The prompt is tokenized and admitted; comes once, first.
struct Started {
  int64_t prompt_tokens = 0;  ///< of all prompts
  int64_t cached_tokens = 0;  ///< of the first prompt
};
/// New text. At most one of the texts is set; whole characters only, in order.
struct Delta {
  int index = 0;  ///< of the answer: prompt * choices + choice
  std::string content;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;  ///< complete calls
  std::vector<PositionLogprobs> logprobs;
};
/// The embedding of a prompt, of length 1; comes before its Finished.
struct Embedding {
  int index = 0;  ///< of the prompt
  std::vector<float> values;
};
/// An answer is complete; comes once for each, as its last event. `cancelled` ends the request as a
/// whole: it comes once, last.
struct Finished {
  int index = 0;  ///< of the answer
  FinishReason reason = FinishReason::stop;
  Usage usage;              ///< of the request so far: each prompt, and the answers that ended
  std::string stop_string;  ///< the stop string that ended it, if one did
};
/// The request failed, with all its answers that are not finished; comes once, last.
struct Failed {
  Error error;
};
using Event = std::variant<Started, Delta, Embedding, Finished, Failed>;

/// Receives the events of one request.
/// Threading: called on the backend's thread, one call at a time; it must return quickly and never
/// block on the network: it hands the event over.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(Event&& event) = 0;
};

/// A prompt to split into tokens instead of answering it.
struct TokenizeRequest {
  std::string model;        ///< empty: the backend's default
  Prompt prompt;            ///< a chat or a text
  bool add_special = true;  ///< begin a text as a completion begins it, where the model has a bos
  bool parse_special = false;  ///< special tokens spelled out in a text count: for trusted text
};
/// A token and what it stands for.
struct Token {
  int32_t id = 0;
  std::string bytes;  ///< need not be whole characters
};

/// A model that a backend offers.
struct ModelInfo {
  std::string id;
  int64_t created_unix_s = 0;
  int64_t context_tokens_max = 0;
  int64_t embedding_dimensions = 0;
  bool supports_chat = true;
};

/// Runs requests: a local engine, or an upstream elsewhere. The gateway knows nothing else.
/// Threading: all members may be called from any thread.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::vector<ModelInfo> models() const = 0;
  /// True once requests would be served without waiting for a model to load.
  virtual bool ready() const = 0;

  /// Queues a request. After success the sink gets Started, Deltas, and one Finished for each
  /// answer, or at last one Failed or Finished{cancelled} (that one alone when the request ends
  /// while it waits); after an error it gets nothing.
  /// Errors: invalid_argument (a prompt or a parameter), context_length_exceeded, unsupported (what
  /// the model cannot do), not_found (the model), unavailable (the queue is full, or the backend is
  /// stopping).
  virtual Result<RequestId> submit(Request request, std::shared_ptr<EventSink> sink) = 0;

  /// The tokens of a prompt, which may be longer than the context.
  /// Errors: invalid_argument, unsupported (as submit), not_found, too_large.
  virtual Result<std::vector<Token>> tokenize(const TokenizeRequest& request) const = 0;
  /// The text of tokens, special ones included; an ill-formed part of UTF-8 becomes U+FFFD.
  /// Errors: invalid_argument (an id outside the vocabulary), not_found, too_large.
  virtual Result<std::string> detokenize(const std::string& model,
                                         std::span<const int32_t> ids) const = 0;

  /// Stops a request at its next step; its sink still gets Finished{cancelled}. Unknown and
  /// finished ids are ignored.
  virtual void cancel(RequestId id) = 0;
};

}  // namespace hadal::engine_api
