// Any text parses or gives an error; what was parsed reads back from its own dump.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "json/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = json::parse(text, {.depth_max = 32, .values_max = 10000});
  if (!value) {
    CHECK(!value.error().message.empty());
    return 0;
  }
  for (const json::Style style : {json::Style::compact, json::Style::spaced, json::Style::pretty}) {
    const auto again = json::parse(json::dump(*value, style), {.bytes_max = size_t{1} << 30});
    CHECK(again.has_value() && *again == *value);
  }
  return 0;
}
