#pragma once

#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace hadal::kvcache {

/// The types of a cache by the names that users write: int8 is q8_0, with an f16 scale per 32
/// columns of a row; fp8 is f8_e4m3, whose numbers end at 448.
inline constexpr std::string_view kKvDTypeNames = "f16|bf16|f32|int8|fp8";
inline std::optional<DType> kv_dtype_from_name(std::string_view name) {
  if (name == "int8") return DType::q8_0;
  if (name == "fp8") return DType::f8_e4m3;
  const auto dtype = dtype_from_name(name);
  const bool plain = dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32;
  return plain ? dtype : std::nullopt;
}

/// One kind of row that one layer caches.
/// Growing streams hold a row for every `tokens_per_row` tokens of a sequence; ring streams the
/// last `ring_rows` rows.
struct KvStream {
  int64_t width = 0;           ///< elements of a row
  int64_t tokens_per_row = 1;  ///< growing: 1, or a pooling rate
  int64_t ring_rows = 0;       ///< 0: growing
  bool exact = false;  ///< f32 whatever the cache's dtype: running state rather than history
  int64_t part = 0;    ///< columns that are read without the rest, a head's; 0: all

  /// What the rows are stored as in a cache of `dtype`: f16 where they are not whole blocks.
  DType stored_as(DType dtype) const {
    if (exact) return DType::f32;
    return (part > 0 ? part : width) % dtype_info(dtype).block_elems == 0 ? dtype : DType::f16;
  }
  int64_t row_bytes(DType dtype) const {
    const DTypeInfo& info = dtype_info(stored_as(dtype));
    return width / info.block_elems * info.block_bytes;
  }
};

/// What a model caches, in the order of its stream ids.
struct KvLayout {
  std::vector<KvStream> streams;

  /// Adds a stream; its id.
  int add(const KvStream& stream) {
    streams.push_back(stream);
    return static_cast<int>(streams.size()) - 1;
  }
  /// P: tokens of a page, the smallest multiple of `unit` that all pooling rates divide.
  int64_t page_tokens(int64_t unit = 64) const {
    int64_t p = unit;
    for (const KvStream& s : streams) {
      if (s.ring_rows == 0) p = std::lcm(p, s.tokens_per_row);
    }
    return p;
  }
  /// Whether a prefix can be shared between sequences: rings hold no history to share.
  bool shareable() const {
    for (const KvStream& s : streams) {
      if (s.ring_rows > 0) return false;
    }
    return true;
  }
  /// Bytes that one token adds to the cache, rounded up over pooled rows.
  int64_t bytes_per_token(DType dtype) const {
    int64_t bytes = 0;
    for (const KvStream& s : streams) {
      if (s.ring_rows > 0) continue;
      bytes += (s.row_bytes(dtype) + s.tokens_per_row - 1) / s.tokens_per_row;
    }
    return bytes;
  }
  /// Bytes of one sequence's rings.
  int64_t bytes_per_slot(DType dtype) const {
    int64_t bytes = 0;
    for (const KvStream& s : streams) {
      bytes += s.ring_rows * s.row_bytes(dtype);
    }
    return bytes;
  }
};

}  // namespace hadal::kvcache
