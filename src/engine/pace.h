#pragma once

#include <cstdint>

namespace hadal::engine {

/// How many prompt tokens a step may take beside those who write: as many as make it about twice as
/// long as a step without. Learnt from the steps themselves. Threading: the engine's thread.
class Pace {
 public:
  explicit Pace(int64_t step_tokens_max) : step_tokens_max_(step_tokens_max) {}

  /// Prompt tokens for a step in which `decoding` sequences write.
  int64_t prefill_tokens(int64_t decoding) const;
  /// Learns from a step that took `ns`.
  void learn(int64_t decoding, int64_t prefill, int64_t ns);

 private:
  int64_t step_tokens_max_;
  double decode_ns_ = 0;             ///< of a step without prompts; 0: not known yet
  double prefill_ns_per_token_ = 0;  ///< that a prompt token adds; 0: not known yet
};

}  // namespace hadal::engine
