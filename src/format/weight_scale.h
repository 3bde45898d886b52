#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "format/checkpoint.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// A weight of FP8, FP4 or INT8 with the tensor that scales it.
struct ScaledWeight {
  WeightView view;
  std::string scale_name;  ///< empty: it needs none
};

/// Whether tensor `name` holds scales, by its name.
bool is_scale_name(std::string_view name);
/// Whether a matrix of integers stands for numbers: it is i8 and has scales.
bool is_int8_weight(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

/// `tensor` with its scales: `weight_scale_inv`, `weight_scale` or `scale` beside `weight`. FP4 has
/// one per 32 numbers of a row; FP8 and INT8 one per block of `block_rows` x `block_cols`, one per
/// row [N, 1], or one for all. Other types come back as they are.
/// Errors: corrupt for missing scales and shapes that do not fit; unsupported for their types, and
/// for zero points.
/// Source: DeepSeek-V3's FP8 files (weight_scale_inv); compressed-tensors (weight_scale, int-
/// quantized and float-quantized); DeepSeek-V4's files (scale).
Result<ScaledWeight> with_scale(const Checkpoint& checkpoint, const CheckpointTensor& tensor,
                                int64_t block_rows, int64_t block_cols);

}  // namespace hadal::format
