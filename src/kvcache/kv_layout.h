#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "tensor/dtype.h"

namespace hadal::kvcache {

/// One kind of row that one layer caches.
/// Growing streams hold a row for every `tokens_per_row` tokens of a sequence; ring streams the
/// last `ring_rows` rows.
struct KvStream {
  int64_t width = 0;           ///< elements of a row
  int64_t tokens_per_row = 1;  ///< growing: 1, or a pooling rate
  int64_t ring_rows = 0;       ///< 0: growing
  bool exact = false;  ///< f32 whatever the cache's dtype: running state rather than history
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
      const int64_t row = s.width * dtype_info(s.exact ? DType::f32 : dtype).block_bytes;
      bytes += (row + s.tokens_per_row - 1) / s.tokens_per_row;
    }
    return bytes;
  }
  /// Bytes of one sequence's rings.
  int64_t bytes_per_slot(DType dtype) const {
    int64_t bytes = 0;
    for (const KvStream& s : streams) {
      bytes += s.ring_rows * s.width * dtype_info(s.exact ? DType::f32 : dtype).block_bytes;
    }
    return bytes;
  }
};

}  // namespace hadal::kvcache
