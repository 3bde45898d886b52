#include "tensor/dtype.h"

#include <string>

#include "base/units.h"

namespace hadal {
namespace {

constexpr DTypeInfo kInfo[kDTypeCount] = {
    {"f32", 1, 4},      {"f16", 1, 2},      {"bf16", 1, 2},     {"f8_e4m3", 1, 1},
    {"f8_e8m0", 1, 1},  {"f4_e2m1", 2, 1},  {"i8", 1, 1},       {"u8", 1, 1},
    {"i16", 1, 2},      {"i32", 1, 4},      {"i64", 1, 8},      {"q8_0", 32, 34},
    {"q4_0", 32, 18},   {"q4_k", 256, 144}, {"q5_k", 256, 176}, {"q6_k", 256, 210},
    {"iq4_nl", 32, 18}, {"mxfp4", 32, 17},
};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) { return kInfo[static_cast<int>(dtype)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < kDTypeCount; ++i) {
    if (kInfo[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

Result<uint64_t> storage_bytes(DType dtype, uint64_t rows, uint64_t cols) {
  const DTypeInfo& info = dtype_info(dtype);
  const auto block = static_cast<uint64_t>(info.block_elems);
  if (cols % block != 0) {
    return invalid_argument("a row of " + std::to_string(cols) +
                            " elements is not whole blocks of " + std::to_string(block) + " (" +
                            std::string(info.name) + ")");
  }
  const auto blocks = checked_mul(rows, cols / block);
  const auto bytes =
      blocks ? checked_mul(*blocks, static_cast<uint64_t>(info.block_bytes)) : blocks;
  if (!bytes) return too_large("a tensor's size in bytes does not fit in 64 bits");
  return *bytes;
}

}  // namespace hadal
