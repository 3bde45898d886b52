// A build without CUDA: the same symbols, and an error that says so.

#include "kernels/device.h"

namespace hadal::kernels {

Result<std::unique_ptr<Device>> open_cuda() {
  return unsupported("this build of hadal has no CUDA")
      .with_hint("use the CPU, or a build with CUDA");
}

}  // namespace hadal::kernels
