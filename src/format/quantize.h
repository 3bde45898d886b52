#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "tensor/dtype.h"

namespace hadal::format {

/// Stores f32 numbers as another type: f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k,
/// iq4_nl, mxfp4.
///
/// The result depends on the numbers only, not on threads or machine. Block types choose the scales
/// that minimise the squared error, weighted by `importance`: the mean square of the activation
/// that each number will meet (q8_0 has no use for it). Shapes: `values` whole blocks; `out`
/// exactly the bytes they take; `importance` empty or as many numbers as `values`, positive.
/// Errors: unsupported for other types; invalid_argument for a number that f16 and the block types
/// with f16 scales cannot hold.
Status quantize(DType dtype, std::span<const float> values, std::span<std::byte> out,
                std::span<const float> importance = {});

/// The f32 numbers that `bytes` of a type stand for, exactly. FP8, FP4 and i8 without their scales.
/// Shapes: `bytes` whole blocks; `out` as many numbers as they hold.
/// Errors: unsupported for other integer types.
Status dequantize(DType dtype, std::span<const std::byte> bytes, std::span<float> out);

}  // namespace hadal::format
