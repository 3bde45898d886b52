// Whatever an importance file says, reading it ends, and an accepted one is whole: every entry has
// a positive weight for every channel.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "format/importance.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const auto parsed = format::ImportanceMatrix::parse(std::as_bytes(std::span(data, size)));
  if (!parsed) return 0;
  CHECK(!parsed->entries().empty());
  for (const auto& [name, entry] : parsed->entries()) {
    CHECK(static_cast<int64_t>(entry.counts.size()) == entry.blocks);
    CHECK(static_cast<int64_t>(entry.sums.size()) == entry.blocks * entry.channels);
    for (const float v : entry.means()) CHECK(v > 0 && std::isfinite(v));
  }
  return 0;
}
