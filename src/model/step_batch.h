#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/device.h"

namespace hadal::model {

/// One sequence's part of a step.
struct StepSequence {
  std::span<const int32_t> tokens;       ///< to compute now
  int64_t past = 0;                      ///< tokens already cached
  std::span<const int32_t> block_table;  ///< pages that cover past + tokens
  int32_t slot = 0;                      ///< ring slot
  int64_t logits = 1;                    ///< how many of the last tokens' logits are wanted
};

/// Builds the device arrays of a step from sequences, in one copy. Reused from step to step.
/// Threading: the engine's thread.
class StepBatch {
 public:
  /// Errors: resource_exhausted when the device has no room for the arrays.
  Status set(kernels::Device& device, std::span<const StepSequence> sequences);

  const kernels::StepView& view() const { return view_; }
  /// The step's tokens whose logits are wanted, on the device.
  const int32_t* logit_rows() const { return logit_rows_; }
  int64_t logit_count() const { return logit_count_; }

 private:
  std::vector<int32_t> host_;
  Buffer device_buffer_;
  kernels::StepView view_;
  const int32_t* logit_rows_ = nullptr;
  int64_t logit_count_ = 0;
};

}  // namespace hadal::model
