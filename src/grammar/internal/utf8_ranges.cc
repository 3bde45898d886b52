#include "grammar/internal/utf8_ranges.h"

#include <algorithm>
#include <string>

#include "base/utf8.h"

namespace hadal::grammar::internal {
namespace {

// The last code point of each length.
constexpr uint32_t kLastOfLength[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};

std::string encoded(uint32_t code_point) {
  std::string out;
  append_utf8(out, code_point);
  return out;
}

// A range of characters of one length. Where the ends differ in more than their last bytes, and
// those do not span everything, it is cut at a multiple of 64, 4096, ...
void split(uint32_t low, uint32_t high, std::vector<ByteRanges>& out) {
  const size_t length = encoded(low).size();
  for (size_t i = 1; i < length; ++i) {
    const uint32_t block = (1u << (6 * i)) - 1;
    if ((low & ~block) == (high & ~block)) continue;
    if ((low & block) != 0) {
      split(low, low | block, out);
      split((low | block) + 1, high, out);
      return;
    }
    if ((high & block) != block) {
      split(low, (high & ~block) - 1, out);
      split(high & ~block, high, out);
      return;
    }
  }
  ByteRanges ranges;
  ranges.bytes = length;
  std::ranges::copy(encoded(low), ranges.low.begin());
  std::ranges::copy(encoded(high), ranges.high.begin());
  out.push_back(ranges);
}

}  // namespace

std::vector<ByteRanges> utf8_ranges(const CharSet& set) {
  std::vector<ByteRanges> out;
  for (CharSet::Range r : set.ranges()) {
    for (const uint32_t last : kLastOfLength) {
      if (r.low > last || r.low > r.high) continue;
      split(r.low, std::min(r.high, last), out);
      r.low = last + 1;
    }
  }
  return out;
}

}  // namespace hadal::grammar::internal
