#pragma once

#include "base/result.h"
#include "tensor/buffer.h"

namespace hadal::kernels::cpu {

/// Zero-filled memory, aligned to a cache line; large pieces to 2 MiB, in pages of that size where
/// the system has them. It is backed once it is touched. Errors: resource_exhausted.
Result<Buffer> map_memory(size_t bytes);

}  // namespace hadal::kernels::cpu
