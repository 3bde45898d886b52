#pragma once

#include "base/result.h"
#include "tensor/buffer.h"

namespace hadal::kernels::cpu {

/// Zero-filled memory, aligned to a cache line; large pieces to 2 MiB, in pages of that size where
/// the system has them. It is backed once it is touched. Errors: resource_exhausted.
Result<Buffer> map_memory(size_t bytes);

/// Takes the whole pages of a mapped file out of this process; they come back when they are read.
/// Never for other memory: it would be lost.
void give_back_pages(const std::byte* data, size_t bytes);

}  // namespace hadal::kernels::cpu
