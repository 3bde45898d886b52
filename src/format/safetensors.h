#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// One entry of a safetensors header; `view.data` points into the file's bytes.
struct SafetensorsTensor {
  std::string name;
  ConstTensorView view;
};

/// What a safetensors file holds.
struct SafetensorsFile {
  std::vector<SafetensorsTensor> tensors;                     ///< sorted by name
  std::vector<std::pair<std::string, std::string>> metadata;  ///< __metadata__
};

/// Reads the header of a safetensors file and checks every entry: known dtype, at most 5 extents
/// whose product and dtype give the bytes of its range, ranges that cover the data section without
/// overlap or hole, unique names. F4 becomes f4_e2m1 and BOOL u8.
/// Errors: corrupt with the tensor's name; unsupported for dtypes we do not compute with (F64).
/// Source: safetensors format 0.4 and later (8-byte little-endian header length, JSON, data).
Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> file);

/// The header's length limit. Source: MAX_HEADER_SIZE of the format's own reader.
inline constexpr uint64_t kSafetensorsHeaderMax = 100'000'000;

}  // namespace hadal::format
