#pragma once

#include <compare>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace hadal::grammar {

/// A set of Unicode characters as sorted ranges of code points that neither touch nor overlap.
/// Surrogates are no characters and never part of it. Threading: a value.
class CharSet {
 public:
  static constexpr uint32_t kLast = 0x10FFFF;

  struct Range {
    uint32_t low;
    uint32_t high;  ///< inclusive

    auto operator<=>(const Range&) const = default;
  };

  CharSet() = default;
  CharSet(std::initializer_list<Range> ranges);

  static CharSet any() { return {{0, kLast}}; }
  static CharSet one(uint32_t code_point) { return {{code_point, code_point}}; }

  /// Adds the characters from `low` to `high`; nothing when low > high.
  void add(uint32_t low, uint32_t high);
  void add(const CharSet& other);
  /// Every other character.
  CharSet complement() const;
  CharSet intersect(const CharSet& other) const;
  CharSet without(const CharSet& other) const { return intersect(other.complement()); }

  bool empty() const { return ranges_.empty(); }
  bool contains(uint32_t code_point) const;
  std::span<const Range> ranges() const { return ranges_; }

  bool operator==(const CharSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace hadal::grammar
