#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/gguf_types.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// Builds the header of a GGUF version 3 file; the caller then writes the tensors' bytes in the
/// order they were added, each followed by zeros up to kAlignment.
/// Source: ggml's docs/gguf.md.
class GgufWriter {
 public:
  static constexpr uint64_t kAlignment = 32;

  void put_u32(std::string_view key, uint32_t value);
  void put_f32(std::string_view key, float value);
  void put_bool(std::string_view key, bool value);
  void put_string(std::string_view key, std::string_view value);
  void put_strings(std::string_view key, std::span<const std::string> values);
  void put_i32s(std::string_view key, std::span<const int32_t> values);
  void put_u32s(std::string_view key, std::span<const uint32_t> values);
  void put_f32s(std::string_view key, std::span<const float> values);

  /// Adds a tensor of a dtype that GGUF has; `shape` outermost first.
  /// Errors: unsupported for FP8 and FP4, rank 0 or over 4; invalid_argument for names over 64
  /// bytes and rows that are not whole blocks.
  Status add_tensor(std::string_view name, DType dtype, const Shape& shape);

  /// The header with its padding: the tensors' bytes follow.
  std::string header() const;
  /// Bytes of the whole file.
  uint64_t file_bytes() const { return header().size() + data_bytes_; }

 private:
  void key(std::string_view key, GgufType type);
  void array(std::string_view key, GgufType element, uint64_t count);

  std::string pairs_, entries_;
  uint64_t pair_count_ = 0, tensor_count_ = 0;
  uint64_t data_bytes_ = 0;
};

}  // namespace hadal::format
