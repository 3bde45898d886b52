#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device.h"

namespace hadal::model {

/// Scratch memory of one step on the device: a stack of blocks that only grows. The same sequence
/// of requests gets the same addresses, so a captured graph stays valid. Errors: running out of
/// memory aborts: the engine reserves before it serves.
class Workspace {
 public:
  explicit Workspace(kernels::Device& device) : device_(device) {}

  kernels::Mat mat(int64_t rows, int64_t cols) {
    const DType dtype = device_.activation_dtype();
    return {take(rows * cols * dtype_info(dtype).block_bytes), dtype, rows, cols, cols};
  }
  float* floats(int64_t n) { return reinterpret_cast<float*>(take(n * 4)); }
  int32_t* ints(int64_t n) { return reinterpret_cast<int32_t*>(take(n * 4)); }

  /// Everything taken while a Frame lives is given back when it goes.
  class Frame {
   public:
    explicit Frame(Workspace& workspace)
        : workspace_(workspace), block_(workspace.block_), used_(workspace.used_) {}
    ~Frame() {
      workspace_.block_ = block_;
      workspace_.used_ = used_;
    }
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

   private:
    Workspace& workspace_;
    size_t block_;
    size_t used_;
  };

 private:
  std::byte* take(int64_t bytes);

  kernels::Device& device_;
  std::vector<Buffer> blocks_;
  size_t block_ = 0;  ///< the block that is being used
  size_t used_ = 0;   ///< bytes of it
};

}  // namespace hadal::model
