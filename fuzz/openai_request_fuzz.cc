// Bodies of the public API: whatever comes, a request or an error that names a place.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "protocol/openai_request.h"
#include "protocol/openai_response.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto parse :
       {hadal::protocol::parse_chat_request, hadal::protocol::parse_completion_request}) {
    const auto parsed = parse(text, {});
    if (parsed) {
      const auto& s = parsed->request.sampling;
      CHECK(s.temperature >= 0 && s.top_p > 0 && s.top_p <= 1 && s.top_k >= 0 && s.logprobs <= 20);
      CHECK(parsed->request.stop.max_tokens.value_or(0) >= 0);
    } else {
      CHECK(!parsed.error().message.empty());
      CHECK(hadal::is_utf8(hadal::protocol::error_body(parsed.error())));
    }
  }
  return 0;
}
