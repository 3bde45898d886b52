#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/acceptance.h"
#include "engine/ngram_drafter.h"
#include "engine/step_cost.h"

namespace hadal::engine {

/// Whether and how tokens are guessed ahead.
struct SpeculationOptions {
  bool ngram = false;      ///< from the sequence itself
  bool mtp = false;        ///< with the model's draft layer, if it has one
  int64_t tokens_max = 7;  ///< guesses of a sequence in a step; kernels take rows in eights
  bool always = false;     ///< also where it does not pay; for tests

  bool on() const { return (ngram || mtp) && tokens_max > 0; }
};

/// The guesses of one sequence. A step computes them as if they were chosen; each next token is
/// then chosen as always, and as long as it is the guessed one its row is already there. So the
/// tokens are those that would have been chosen without guesses.
/// Threading: the engine's thread.
class Speculation {
 public:
  /// `tokens_max`: how long the sequence can become. `usual`, which must outlive it: what other
  /// sequences saw; this one begins with it and adds to it.
  Speculation(const SpeculationOptions& options, int64_t tokens_max, Acceptance& usual);

  /// Guesses at most `room` tokens that come after `tokens`, as many as `budget` pays for.
  void draft(std::span<const int32_t> tokens, int64_t room, DraftBudget& budget);
  /// What the step computes: the last token and the guesses.
  std::span<const int32_t> step_tokens() const { return step_; }
  /// Guesses of this step that are still to be confirmed.
  int64_t drafted() const {
    return step_.empty() ? 0 : static_cast<int64_t>(step_.size()) - 1 - confirmed_;
  }
  DraftSource source() const { return source_; }
  /// The next token was chosen: whether it was the next guess. Otherwise no guess is left.
  bool confirm(int32_t token);
  /// Forgets the guesses.
  void clear() { step_.clear(); }

  /// Whether the draft layer follows this sequence. Once it has stopped it cannot go on: its caches
  /// have a gap.
  bool layer_follows() const { return layer_follows_; }
  /// Stops it, where it would not pay at `price` tokens for a guess.
  void judge_layer(double price);
  void stop_layer() {
    layer_follows_ = false;
    ahead_.clear();
  }
  /// What the draft layer guessed for the next step.
  std::span<const int32_t> ahead() const { return ahead_; }
  void clear_ahead() { ahead_.clear(); }
  void add_ahead(int32_t token) { ahead_.push_back(token); }
  /// Whether one more guess of the draft layer is worth `price` tokens.
  bool wants_ahead(double price) const;

 private:
  SpeculationOptions options_;
  NgramDrafter ngram_;
  Acceptance acceptance_;
  Acceptance& usual_;
  std::vector<int32_t> step_;
  std::vector<int32_t> ahead_;
  int64_t confirmed_ = 0;
  DraftSource source_ = DraftSource::ngram;
  int64_t match_ = 0;     ///< of the first guess
  int64_t refusals_ = 0;  ///< in a row: times that a guess did not pay
  bool layer_follows_;
};

}  // namespace hadal::engine
