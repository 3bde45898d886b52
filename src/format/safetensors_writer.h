#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// Builds the header of a safetensors file; the caller then writes the tensors' bytes in the order
/// they were added, without padding between them.
/// Source: safetensors format (header padded with spaces to a multiple of 8).
class SafetensorsWriter {
 public:
  /// Errors: unsupported for GGUF's block types; invalid_argument for odd rows of FP4.
  Status add_tensor(std::string_view name, DType dtype, const Shape& shape);
  /// An entry of __metadata__.
  void add_metadata(std::string_view key, std::string_view value);
  std::string header() const;
  uint64_t data_bytes() const { return data_bytes_; }

 private:
  std::string metadata_;  ///< JSON members, each with a comma before it
  std::string entries_;   ///< JSON members, each with a comma behind it
  uint64_t data_bytes_ = 0;
};

}  // namespace hadal::format
