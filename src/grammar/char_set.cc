#include "grammar/char_set.h"

#include <algorithm>

namespace hadal::grammar {
namespace {

constexpr CharSet::Range kSurrogates{0xD800, 0xDFFF};

}  // namespace

CharSet::CharSet(std::initializer_list<Range> ranges) {
  for (const Range& r : ranges) add(r.low, r.high);
}

void CharSet::add(uint32_t low, uint32_t high) {
  high = std::min(high, kLast);
  if (low <= kSurrogates.high && high >= kSurrogates.low) {
    if (low < kSurrogates.low) add(low, kSurrogates.low - 1);
    low = kSurrogates.high + 1;
  }
  if (low > high) return;
  // The ranges that touch the new one become part of it.
  const auto first =
      std::ranges::lower_bound(ranges_, low, {}, [](const Range& r) { return r.high + 1; });
  auto last = first;
  for (; last != ranges_.end() && last->low <= high + 1; ++last) {
    low = std::min(low, last->low);
    high = std::max(high, last->high);
  }
  const auto at = ranges_.erase(first, last);
  ranges_.insert(at, {low, high});
}

void CharSet::add(const CharSet& other) {
  for (const Range& r : other.ranges_) add(r.low, r.high);
}

CharSet CharSet::complement() const {
  CharSet out;
  uint32_t next = 0;
  for (const Range& r : ranges_) {
    if (r.low > next) out.add(next, r.low - 1);
    next = r.high + 1;
  }
  out.add(next, kLast);
  return out;
}

CharSet CharSet::intersect(const CharSet& other) const {
  CharSet out;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    out.add(std::max(a->low, b->low), std::min(a->high, b->high));
    (a->high < b->high ? a : b)++;
  }
  return out;
}

bool CharSet::contains(uint32_t code_point) const {
  const auto at = std::ranges::lower_bound(ranges_, code_point, {}, &Range::high);
  return at != ranges_.end() && at->low <= code_point;
}

}  // namespace hadal::grammar
