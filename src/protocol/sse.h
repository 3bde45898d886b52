#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hadal::protocol {

/// `text` as the data of one server-sent event. `text` has no line breaks other than \n.
std::string sse_event(std::string_view text);
/// What ends a stream of the OpenAI API.
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
/// A comment: keeps proxies from closing a quiet stream. DeepSeek's API sends the same.
inline constexpr std::string_view kSseKeepAlive = ": keep-alive\n\n";

/// One event as a client sees it.
struct SseEvent {
  std::string event;  ///< empty: "message"
  std::string data;   ///< its lines joined by \n
  std::string id;
};

/// Reads server-sent events from bytes that come in pieces, cut anywhere.
/// Source: HTML standard, 9.2.6 (interpreting an event stream).
class SseParser {
 public:
  /// An event longer than `event_bytes_max` is an error.
  explicit SseParser(size_t event_bytes_max = 16 << 20) : event_bytes_max_(event_bytes_max) {}

  /// Calls `on_event` for each event that `bytes` completes. Errors: too_large; the parser must not
  /// be used afterwards.
  Status feed(std::string_view bytes, const std::function<void(SseEvent&& event)>& on_event);

 private:
  void take_line(const std::function<void(SseEvent&& event)>& on_event);

  size_t event_bytes_max_;
  std::string line_;
  SseEvent event_;
  bool has_data_ = false;
  bool after_cr_ = false;
  bool first_line_ = true;
};

}  // namespace hadal::protocol
