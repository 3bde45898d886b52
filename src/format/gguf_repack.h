#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "format/gguf.h"

namespace hadal::format {

/// A tensor of a ggml type we do not compute with, stored as the type that gguf_types.h presents it
/// as. No value changes: Q5_0 fits Q8_0, and Q3_K fits Q6_K.
/// Errors: unsupported for other types.
/// Source: ggml-common.h, block_q5_0, block_q3_K.
Result<std::vector<std::byte>> repack(const GgufTensor& tensor);

}  // namespace hadal::format
