#pragma once

#include <cstdint>

namespace hadal::engine {

/// What one row more costs a step in which sequences write: little while a step is bound by reading
/// weights, much once it is bound by arithmetic or a row brings experts of its own. Learnt from
/// the steps: a line through time over rows that forgets. Threading: the engine's thread.
class StepCost {
 public:
  /// A step of `rows` rows, without prompts, took `ns`.
  void learn(int64_t rows, int64_t ns);
  /// Which part of a step of `rows` rows one row more would add.
  double share_of_row(int64_t rows) const;

 private:
  double rows_ = 0;        ///< mean
  double ns_ = 0;          ///< mean; 0: nothing is known
  double variance_ = 0;    ///< of the rows
  double covariance_ = 0;  ///< of rows and time
};

/// The rows of a step that is being planned, and what they are worth in tokens. A guess gets a row
/// when that makes the step quicker per token than it was without.
class DraftBudget {
 public:
  /// `writing` sequences have a row each; at most `rows_max` more. With `always` every guess pays.
  DraftBudget(const StepCost& cost, int64_t writing, int64_t rows_max, bool always)
      : cost_(cost),
        tokens_(static_cast<double>(writing)),
        rows_(writing),
        left_(rows_max),
        always_(always) {}

  int64_t left() const { return left_; }
  /// Takes a row for a guess that comes true with `probability`, if that pays.
  bool take(double probability);

 private:
  const StepCost& cost_;
  double tokens_;  ///< expected of the step
  int64_t rows_;
  int64_t left_;
  bool always_;
};

}  // namespace hadal::engine
