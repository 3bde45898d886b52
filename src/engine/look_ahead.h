#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/loaded_model.h"
#include "engine/sequence.h"
#include "engine/speculation.h"
#include "engine/step_cost.h"
#include "model/step_batch.h"

namespace hadal::engine {

/// Runs the model's draft layer (multi-token prediction) after each step: it keeps the layer's
/// caches level with the model's, and guesses the tokens that come next.
///
///   model's step   x0 x1 x2      leaves hidden states h0 h1 h2; chosen: x3
///   draft layer    (h0 x1) (h1 x2) (h2 x3) -> x4 ?       its state for the last: h3 ?
///                                          (h3 ? x4 ?) -> x5 ?      and so on, while that pays
///
/// Pair i lies at position i, in the pages of the sequence. A page that is shared holds, at its
/// last position, a pair with the token that followed for its first owner: a guess may be worse for
/// it, an answer cannot.
/// Threading: the engine's thread.
class LookAhead {
 public:
  /// `model`, which must be able to draft, `clock` and `cost` must outlive it.
  LookAhead(LoadedModel& model, const Clock& clock, StepCost& cost);

  /// Where a step of `tokens` tokens leaves its hidden states.
  kernels::Mat hidden(int64_t tokens) const;

  /// A sequence of the step that was computed.
  struct Follower {
    Sequence* sequence;
    Speculation* speculation;
    int64_t past;   ///< tokens that were computed before the step
    int64_t first;  ///< its first token among the step's
    bool writes;    ///< its next token was chosen
  };
  /// Follows the step; guesses go to the speculations of those who write. `only_decode`: no prompts
  /// were in the step. Errors: resource_exhausted when the device has no room.
  Status follow(std::span<Follower> followers, bool only_decode);

 private:
  Status pass(kernels::Mat hidden);
  void look_further(double price);
  kernels::Mat rows(const Buffer& buffer, int64_t count, int64_t cols) const;

  LoadedModel& loaded_;
  const Clock& clock_;
  StepCost& cost_;
  int64_t width_;
  Buffer hidden_, next_, logits_;
  std::vector<float> logits_host_;
  model::StepBatch arrays_;
  std::vector<model::StepSequence> step_;
  std::vector<Follower*> guessing_;  ///< whose guesses a pass makes, in the order of their rows
};

}  // namespace hadal::engine
