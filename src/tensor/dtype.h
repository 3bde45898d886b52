#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace hadal {

/// How elements are stored. Blocked types pack `block_elems` neighbours of a row into
/// `block_bytes`.
enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  f8_e4m3,  ///< OCP FP8, finite, max 448; its scales are a second tensor
  f8_e8m0,  ///< a power of two, 2^(x-127); the scales of FP8/FP4 blocks
  f4_e2m1,  ///< two per byte, low nibble first; its scales are a second tensor
  i8,
  u8,
  i16,
  i32,
  i64,
  q8_0,  ///< GGUF blocks from here on
  q4_0,
  q4_k,
  q5_k,
  q6_k,
};
inline constexpr int kDTypeCount = static_cast<int>(DType::q6_k) + 1;

/// The fixed facts of a DType.
/// Source: safetensors dtype names; ggml block layouts (QK8_0 = QK4_0 = 32, QK_K = 256).
struct DTypeInfo {
  std::string_view name;  ///< equal to the enumerator
  int block_elems;        ///< 1 for plain types, 2 for f4_e2m1
  int block_bytes;
};

const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) { return dtype_info(dtype).name; }
/// The DType named `name` ("bf16", "q8_0"), lower case.
std::optional<DType> dtype_from_name(std::string_view name);

/// Bytes of `rows` rows of `cols` elements.
/// Errors: invalid_argument when a row is not whole blocks; too_large when the size overflows.
Result<uint64_t> storage_bytes(DType dtype, uint64_t rows, uint64_t cols);

}  // namespace hadal
