#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace hadal::format {

/// Types of metadata values. Source: ggml's docs/gguf.md, gguf_metadata_value_type.
enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
inline constexpr uint32_t kGgufTypeCount = 13;

/// Bytes of a scalar; 0 for strings and arrays.
constexpr uint64_t gguf_scalar_bytes(GgufType type) {
  constexpr uint64_t kBytes[kGgufTypeCount] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<uint32_t>(type)];
}

/// A tensor type of ggml. Types we do not compute with are stored anew at load, as `presented`.
/// Source: ggml.h, enum ggml_type; block sizes of ggml-common.h.
struct GgufTensorType {
  uint32_t id;
  std::string_view name;
  int block_elems;
  int block_bytes;
  std::optional<DType> dtype;      ///< the same layout, when we compute with it
  std::optional<DType> presented;  ///< what it is stored anew as; nothing: not supported
};

/// The row of `id`, or nullptr when ggml has no such type.
const GgufTensorType* gguf_tensor_type(uint32_t id);
/// The row whose layout is `dtype`, or nullptr (FP8, FP4).
const GgufTensorType* gguf_tensor_type(DType dtype);

}  // namespace hadal::format
