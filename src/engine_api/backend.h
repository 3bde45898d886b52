#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
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
  bool echo = false;
};
/// A prompt as token ids, taken as they are.
struct TokenPrompt {
  std::vector<int32_t> ids;
};

/// What a client asks of a model.
struct Request {
  std::string model;  ///< empty: the backend's default
  std::variant<Chat, TextPrompt, TokenPrompt> prompt;
  SamplingParams sampling;
  StopParams stop;
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
  float logprob = 0;
};
/// The chosen token and the most likely ones, best first.
struct PositionLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;
};

/// The prompt is tokenized and admitted; comes once, first.
struct Started {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
};
/// New text. At most one of the texts is set; whole characters only, in order.
struct Delta {
  std::string content;
  std::string reasoning;
  std::vector<ToolCall> tool_calls;  ///< complete calls
  std::vector<PositionLogprobs> logprobs;
};
/// The answer is complete; comes once, last.
struct Finished {
  FinishReason reason = FinishReason::stop;
  Usage usage;
  std::string stop_string;  ///< the stop string that ended it, if one did
};
/// The request failed; comes once, last, instead of Finished.
struct Failed {
  Error error;
};
using Event = std::variant<Started, Delta, Finished, Failed>;

/// Receives the events of one request.
/// Threading: called on the backend's thread, one call at a time; it must return quickly and never
/// block on the network: it hands the event over.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(Event&& event) = 0;
};

/// A model that a backend offers.
struct ModelInfo {
  std::string id;
  int64_t created_unix_s = 0;
  int64_t context_tokens_max = 0;
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

  /// Queues a request. After success the sink gets Started, Deltas, and exactly one Finished or
  /// Failed (that one alone when the request ends while it waits); after an error it gets nothing.
  /// Errors: invalid_argument (a prompt or a parameter), context_length_exceeded, not_found (the
  /// model), unavailable (the queue is full, or the backend is stopping).
  virtual Result<RequestId> submit(Request request, std::shared_ptr<EventSink> sink) = 0;

  /// Stops a request at its next step; its sink still gets Finished{cancelled}. Unknown and
  /// finished ids are ignored.
  virtual void cancel(RequestId id) = 0;
};

}  // namespace hadal::engine_api
