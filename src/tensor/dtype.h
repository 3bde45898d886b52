#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "tensor/dtype_enum.h"

namespace hadal {

inline constexpr int kDTypeCount = static_cast<int>(DType::mxfp4) + 1;

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
