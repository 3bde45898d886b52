#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ngram_drafter.h"
#include "engine/step_cost.h"

namespace hadal::engine {

/// Whether and how tokens are guessed ahead.
struct SpeculationOptions {
  bool ngram = false;      ///< from the sequence itself
  int64_t tokens_max = 7;  ///< guesses of a sequence in a step; kernels take rows in eights
  bool always = false;     ///< also where it does not pay; for tests

  bool on() const { return ngram && tokens_max > 0; }
};

/// How often guesses came true, by what spoke for them. Starts from what is usual.
class Acceptance {
 public:
  /// `evidence`: of the guess; the more, the surer it is.
  double rate(int64_t evidence) const { return rates_[at(evidence)]; }
  void learn(int64_t evidence, bool came_true);

 private:
  size_t at(int64_t evidence) const;
  std::array<double, 6> rates_{0.5, 0.6, 0.7, 0.8, 0.85, 0.9};
};

/// The guesses of one sequence. A step computes them as if they were chosen; each next token is
/// then chosen as always, and as long as it is the guessed one its row is already there. So the
/// tokens are those that would have been chosen without guesses.
/// Threading: the engine's thread.
class Speculation {
 public:
  /// `tokens_max`: how long the sequence can become.
  Speculation(const SpeculationOptions& options, int64_t tokens_max);

  /// Guesses at most `room` tokens that come after `tokens`, as many as `budget` pays for.
  void draft(std::span<const int32_t> tokens, int64_t room, DraftBudget& budget);
  /// What the step computes: the last token and the guesses.
  std::span<const int32_t> step_tokens() const { return step_; }
  /// Forgets the guesses.
  void clear() { step_.clear(); }
  /// Guesses of this step that are still to be confirmed.
  int64_t drafted() const {
    return step_.empty() ? 0 : static_cast<int64_t>(step_.size()) - 1 - confirmed_;
  }
  /// The next token was chosen: whether it was the next guess. Otherwise no guess is left.
  bool confirm(int32_t token);

 private:
  SpeculationOptions options_;
  NgramDrafter ngram_;
  Acceptance acceptance_;
  std::vector<int32_t> step_;
  int64_t confirmed_ = 0;
  int64_t match_ = 0;     ///< of the first guess
  int64_t refusals_ = 0;  ///< in a row: times that a guess did not pay
};

}  // namespace hadal::engine
