#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace hadal::format {

/// Fills `out` (whole blocks of `dtype`) with random weights of about the standard deviation
/// `deviation` (within a factor of 1.5: scales are powers of two where the type has none). Made
/// directly in the type's layout, at the speed of memory. FP8 and FP4 come with deviation
/// kFp8Deviation and kFp4Deviation; their scale tensors say the rest.
/// `stream` names the piece: the bytes depend on it, the dtype and the deviation only.
void fill_random(DType dtype, float deviation, uint64_t stream, std::span<std::byte> out);

/// Root mean squares of the numbers that fill_random makes before scaling.
inline constexpr float kFp8Deviation = 7.04f;
inline constexpr float kFp4Deviation = 2.93f;
inline constexpr float kInt8Deviation = 73.9f;  ///< of uniform signed bytes

}  // namespace hadal::format
