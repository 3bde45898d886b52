// Server-sent events: the same events however the bytes are cut, and what we write reads back.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "protocol/sse.h"

namespace {

std::vector<std::string> read(std::string_view text, size_t step) {
  std::vector<std::string> out;
  hadal::protocol::SseParser parser(1 << 16);
  for (size_t at = 0; at < text.size(); at += step) {
    const auto status = parser.feed(text.substr(at, step), [&](hadal::protocol::SseEvent&& e) {
      out.push_back(e.event + "|" + e.id + "|" + e.data);
    });
    if (!status) break;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  CHECK(read(text, text.size() + 1) == read(text, data[0] % 16 + 1), "the pieces changed events");
  if (text.find('\r') == std::string_view::npos && size < 1000) {
    const auto back = read(hadal::protocol::sse_event(text), 7);
    CHECK(back.size() == 1 && back[0] == "||" + std::string(text), "what was written reads back");
  }
  return 0;
}
