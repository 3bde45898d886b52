#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hadal::engine {

/// Where a guess comes from.
enum class DraftSource : uint8_t { ngram, mtp };

/// How often guesses came true, by what spoke for them: the length of a match, or how far ahead the
/// draft layer looked. Starts from what is usual. Threading: the engine's thread.
class Acceptance {
 public:
  /// The rate of guess `i` of a step (from 0), given that those before it came true. `match` is
  /// that of the first guess; each that comes true makes the match longer.
  double rate(DraftSource source, int64_t match, int64_t i) const {
    return rates_[at(source, match, i)];
  }
  /// How many of `count` guesses are expected to come true.
  double expected(DraftSource source, int64_t match, int64_t count) const;
  /// `weight` of this guess in its rate.
  void learn(DraftSource source, int64_t match, int64_t i, bool came_true, double weight);

 private:
  static size_t at(DraftSource source, int64_t match, int64_t i);

  // Matches of 2, 4, 8, 16, 32, 64 tokens and more; then the draft layer, 1 to 4 tokens ahead.
  std::array<double, 10> rates_{0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.8, 0.65, 0.55, 0.5};
};

}  // namespace hadal::engine
