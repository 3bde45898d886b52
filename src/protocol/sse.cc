#include "protocol/sse.h"

#include <utility>

namespace hadal::protocol {

std::string sse_event(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  while (true) {
    const size_t end = text.find('\n');
    out.append("data: ").append(text.substr(0, end)).append("\n");
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out += '\n';
}

Status SseParser::feed(std::string_view bytes,
                       const std::function<void(SseEvent&& event)>& on_event) {
  for (const char c : bytes) {
    const bool second_half = std::exchange(after_cr_, c == '\r') && c == '\n';
    if (second_half) continue;
    if (c == '\r' || c == '\n') {
      take_line(on_event);
      continue;
    }
    if (line_.size() + event_.data.size() >= event_bytes_max_) {
      return too_large("a server-sent event is longer than " + std::to_string(event_bytes_max_) +
                       " bytes");
    }
    line_ += c;
  }
  return {};
}

void SseParser::take_line(const std::function<void(SseEvent&& event)>& on_event) {
  const std::string whole = std::exchange(line_, {});
  std::string_view line = whole;
  if (std::exchange(first_line_, false) && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  if (line.empty()) {
    SseEvent event = std::exchange(event_, {.event = {}, .data = {}, .id = event_.id});
    if (std::exchange(has_data_, false)) on_event(std::move(event));
    return;
  }
  const size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    event_.event = value;
  } else if (field == "id" && value.find('\0') == std::string_view::npos) {
    event_.id = value;
  }
}

}  // namespace hadal::protocol
