#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "grammar/char_set.h"

namespace hadal::grammar::internal {

/// A range of bytes for each place of an encoded character.
struct ByteRanges {
  size_t bytes = 0;
  std::array<uint8_t, 4> low{};
  std::array<uint8_t, 4> high{};
};

/// The UTF-8 forms of a set's characters: every combination of one byte from each place of one of
/// the results is the form of one character. Source: RFC 3629, section 3.
std::vector<ByteRanges> utf8_ranges(const CharSet& set);

}  // namespace hadal::grammar::internal
