// HTTP heads and bodies as a server reads them: first all at once, then in pieces whose sizes the
// input chooses. Both must agree on what was said.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/internal/message_reader.h"

namespace {

using hadal::http::internal::MessageReader;

struct Outcome {
  MessageReader::State state;
  int status;
  std::string target;
  std::string body;
  size_t fields;
};

Outcome read(std::string_view text, MessageReader::Kind kind, size_t step) {
  MessageReader reader(kind, {.head_bytes_max = 2048, .body_bytes_max = 4096});
  std::string input;
  size_t at = 0;
  const auto open = [&] {
    return reader.state() == MessageReader::State::head ||
           reader.state() == MessageReader::State::body;
  };
  while (at < text.size() && open()) {
    input += text.substr(at, step);
    at += step;
    input.erase(0, reader.feed(input));
    if (reader.state() == MessageReader::State::body) input.erase(0, reader.feed(input));
  }
  CHECK(reader.body().size() <= 4096, "a body beyond its limit");
  if (open()) reader.feed_eof();
  return {reader.state(), reader.error_status(), reader.head().target, reader.body(),
          reader.head().headers.size()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto kind = data[0] % 2 == 0 ? MessageReader::Kind::request : MessageReader::Kind::response;
  const size_t step = data[1] + 1;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Outcome whole = read(text, kind, text.size() + 1);
  const Outcome pieces = read(text, kind, step);
  if (whole.state == MessageReader::State::complete &&
      pieces.state == MessageReader::State::complete) {
    CHECK(
        whole.target == pieces.target && whole.body == pieces.body && whole.fields == pieces.fields,
        "the pieces changed the message");
  }
  CHECK((whole.state == MessageReader::State::failed) ==
            (pieces.state == MessageReader::State::failed),
        "the pieces changed the verdict");
  return 0;
}
