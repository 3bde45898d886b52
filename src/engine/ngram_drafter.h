#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace hadal::engine {

/// Guesses how a sequence goes on: as it did after the last place where the same tokens stood.
/// Answers that quote their prompt (edits of code, summaries) or themselves are guessed well.
///
///   ... return the sum of | all rows ...        print the sum of ▮
///              └─ match ──┘ └─ the guess             └─ match ──┘
///
/// As long as the guess holds, the place moves along; otherwise tables of the last 8, 4 and 2
/// tokens name a new one. Reading a token costs three entries of tables whose size never changes.
/// Threading: the engine's thread.
/// Source: prompt lookup (A. Saxena, 2023); the match model of PAQ (M. Mahoney) for the tables.
class NgramDrafter {
 public:
  /// `tokens_max`: how long the sequence can become.
  explicit NgramDrafter(int64_t tokens_max);

  /// Reads what `tokens`, the sequence from its beginning, has beyond what was read before.
  void read(std::span<const int32_t> tokens);
  /// How many of the last tokens stand at the earlier place too; 0: there is none.
  int64_t match() const { return match_; }
  /// Writes the guess. `tokens` as in the last read; there must be a match.
  void draft(std::span<const int32_t> tokens, std::span<int32_t> out) const;

 private:
  void look_up(std::span<const int32_t> tokens);

  static constexpr std::array<size_t, 3> kLengths{8, 4, 2};   ///< of the n-grams, longest first
  std::array<std::vector<int32_t>, kLengths.size()> tables_;  ///< hash -> where it went on; 0: none
  size_t read_ = 0;
  size_t place_ = 0;  ///< the token that follows the match
  int64_t match_ = 0;
};

}  // namespace hadal::engine
