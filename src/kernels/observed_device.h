#pragma once

#include <memory>
#include <span>

#include "kernels/device.h"

namespace hadal::kernels {

/// Told what enters the linear layers.
class LinearObserver {
 public:
  virtual ~LinearObserver() = default;
  /// One row of the input of a product with `weight` (as it was imported), on the host. The weight
  /// is seen as `blocks` equal blocks of rows; the input is that of block `block`.
  virtual void observe(const WeightView& weight, int64_t block, int64_t blocks,
                       std::span<const float> input) = 0;
};

/// A device that computes as another one does and shows the inputs of every linear layer to an
/// observer: those of `linear` and `linear_grouped`; of a mixture's experts, for each only the
/// tokens that chose it; of the matrix that expands MLA's latents, the cached latents. The hot path
/// of the other device is as it was; the observed one is several times slower.
/// `device` and `observer` must outlive the result. Threading: as `device`; the observer is called
/// on the caller's thread.
std::unique_ptr<Device> observe_linears(Device& device, LinearObserver& observer);

}  // namespace hadal::kernels
