// From a checkpoint's rows to tiles; packed.h draws them. Source of the row layouts: ggml block
// formats, see ref/dequantize.cc.

#include "kernels/cpu/pack.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/units.h"
#include "tensor/float_types.h"

namespace hadal::kernels::cpu {
namespace {

constexpr int64_t kVector = 64;

// The rows of a tile: `count` of them, `bytes` apart.
struct Rows {
  const std::byte* first;
  int64_t bytes;
  int64_t count;

  const std::byte* at(int64_t r) const { return first + r * bytes; }
};

// Units of k in a row and bytes of a unit; zero for types that are not packed.
struct Unit {
  int64_t k;
  int64_t bytes;
};

Unit unit_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return {1, kVector};
    case DType::bf16: return {2, kVector};
    case DType::f16: return {1, kVector / 2};
    case DType::i8:
    case DType::f8_e4m3: return {4, kVector};
    case DType::q8_0: return {64, 17 * kVector};
    case DType::q4_0:
    case DType::iq4_nl: return {64, 9 * kVector};
    case DType::mxfp4:
    case DType::f4_e2m1: return {128, 17 * kVector};
    case DType::q4_k: return {256, 37 * kVector};
    case DType::q5_k: return {256, 45 * kVector};
    case DType::q6_k: return {256, 53 * kVector};
    default: return {0, 0};
  }
}

// `count` words from `offset` on of every row, one vector each.
void words(std::byte* out, const Rows& rows, int64_t offset, int64_t count) {
  for (int64_t w = 0; w < count; ++w) {
    for (int64_t r = 0; r < rows.count; ++r)
      std::memcpy(out + w * kVector + r * 4, rows.at(r) + offset + w * 4, 4);
  }
}

// The half at `offset` of every row.
void halves(std::byte* out, const Rows& rows, int64_t offset) {
  for (int64_t r = 0; r < rows.count; ++r) std::memcpy(out + r * 2, rows.at(r) + offset, 2);
}

void pack_q8_0(std::byte* out, const Rows& rows, int64_t k) {
  for (int64_t b = 0; b < k / 32; ++b) {
    std::byte* unit = out + b / 2 * 17 * kVector;
    halves(unit + b % 2 * 32, rows, b * 34);
    words(unit + kVector + b % 2 * 8 * kVector, rows, b * 34 + 2, 8);
  }
}

void pack_q4_0(std::byte* out, const Rows& rows, int64_t k) {
  for (int64_t b = 0; b < k / 32; ++b) {
    std::byte* unit = out + b / 2 * 9 * kVector;
    halves(unit + b % 2 * 32, rows, b * 18);
    words(unit + kVector + b % 2 * 4 * kVector, rows, b * 18 + 2, 4);
  }
}

void pack_mxfp4(std::byte* out, const Rows& rows, int64_t k) {
  for (int64_t b = 0; b < k / 32; ++b) {
    std::byte* unit = out + b / 4 * 17 * kVector;
    for (int64_t r = 0; r < rows.count; ++r) unit[b % 4 * 16 + r] = rows.at(r)[b * 17];
    words(unit + kVector + b % 4 * 4 * kVector, rows, b * 17 + 1, 4);
  }
}

// Neighbouring nibbles become those 16 weights apart, as in q4_0.
void pack_f4(std::byte* out, const Rows& rows, const WeightView& w, int64_t first, int64_t k) {
  for (int64_t b = 0; b < k / 32; ++b) {
    std::byte* unit = out + b / 4 * 17 * kVector;
    for (int64_t r = 0; r < rows.count; ++r) {
      unit[b % 4 * 16 + r] = w.scale.data[(first + r) * w.scale.shape.cols() + b];
      const std::byte* in = rows.at(r) + b * 16;
      const auto nibble = [&](int64_t i) {
        return std::to_integer<int>(in[i / 2]) >> (i % 2 * 4) & 15;
      };
      for (int64_t i = 0; i < 16; ++i) {
        unit[kVector + (b % 4 * 4 + i / 4) * kVector + r * 4 + i % 4] =
            static_cast<std::byte>(nibble(i) | nibble(16 + i) << 4);
      }
    }
  }
}

// q4_k and q5_k: the 6-bit scales and minima of the eight blocks grow to bytes.
void pack_q45_k(std::byte* out, const Rows& rows, int64_t k, bool five) {
  const int64_t block_bytes = five ? 176 : 144;
  const int64_t unit_vectors = five ? 45 : 37;
  for (int64_t u = 0; u < k / 256; ++u) {
    std::byte* unit = out + u * unit_vectors * kVector;
    const int64_t at = u * block_bytes;
    halves(unit, rows, at);
    halves(unit + 32, rows, at + 2);
    for (int64_t r = 0; r < rows.count; ++r) {
      const auto* p = reinterpret_cast<const uint8_t*>(rows.at(r) + at + 4);
      for (int j = 0; j < 8; ++j) {
        const int s = j < 4 ? p[j] & 63 : (p[j + 4] & 15) | (p[j - 4] >> 6) << 4;
        const int m = j < 4 ? p[j + 4] & 63 : p[j + 4] >> 4 | (p[j] >> 6) << 4;
        unit[kVector + j * 32 + r] = static_cast<std::byte>(s);
        unit[kVector + j * 32 + 16 + r] = static_cast<std::byte>(m);
      }
    }
    std::byte* vectors = unit + 5 * kVector;
    if (five) words(vectors, rows, at + 16, 8);
    words(vectors + (five ? 8 * kVector : 0), rows, at + (five ? 48 : 16), 32);
  }
}

void pack_q6_k(std::byte* out, const Rows& rows, int64_t k) {
  for (int64_t u = 0; u < k / 256; ++u) {
    std::byte* unit = out + u * 53 * kVector;
    const int64_t at = u * 210;
    halves(unit, rows, at + 208);
    for (int64_t r = 0; r < rows.count; ++r) {
      for (int j = 0; j < 16; ++j) unit[kVector + j * 16 + r] = rows.at(r)[at + 192 + j];
    }
    for (int64_t h = 0; h < 2; ++h) {
      std::byte* vectors = unit + 5 * kVector + h * 24 * kVector;
      words(vectors, rows, at + 128 + h * 32, 8);
      words(vectors + 8 * kVector, rows, at + h * 64, 16);
    }
  }
}

// Eight-bit numbers whose scales stand behind them. An i8 tile has one per row.
void pack_f8(std::byte* out, const Rows& rows, const WeightView& w, int64_t first, int64_t k) {
  words(out, rows, 0, k / 4);
  std::byte* scales = out + k / 4 * kVector;
  for (int64_t b = 0; b < ceil_div(k, w.scale_cols); ++b) {
    for (int64_t r = 0; r < rows.count; ++r) {
      const float s = weight_scale(w, first + r, b);
      std::memcpy(scales + (b * kTileRows + r) * 4, &s, 4);
    }
  }
}

}  // namespace

float weight_scale(const WeightView& w, int64_t n, int64_t block) {
  const int64_t at = n / w.scale_rows * w.scale.shape.cols() + block;
  if (w.scale.dtype == DType::f8_e8m0)
    return e8m0_to_f32(std::to_integer<uint8_t>(w.scale.data[at]));
  if (w.scale.dtype == DType::bf16 || w.scale.dtype == DType::f16) {
    uint16_t half = 0;
    std::memcpy(&half, w.scale.data + at * 2, 2);
    return w.scale.dtype == DType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
  float v = 0;
  std::memcpy(&v, w.scale.data + at * 4, 4);
  return v;
}

PackedWeight packed_layout(const WeightView& w) {
  PackedWeight p{.dtype = w.data.dtype, .n = w.n(), .k = w.k()};
  const Unit unit = unit_of(p.dtype);
  const bool f4 = p.dtype == DType::f4_e2m1;
  const bool f8 = p.dtype == DType::f8_e4m3;
  const bool i8 = p.dtype == DType::i8;
  if (unit.k == 0 || p.n == 0 || p.k == 0) return p;
  if (unit.k <= 4 && !i8 ? p.k % unit.k != 0 : p.k % 32 != 0) return p;
  if (w.scale.empty() ? f4 || f8 || i8 : !(f4 || f8 || i8)) return p;
  if (f4 && (w.scale.dtype != DType::f8_e8m0 || w.scale_rows != 1 || w.scale_cols != 32)) return p;
  if (f8 && w.scale_cols % 4 != 0) return p;
  // A row's sum is one integer: its scale must be one, and the sum must fit.
  if (i8 && (w.scale_cols < p.k || p.k > kInt8RowMax)) return p;
  p.scale_cols = f8 || i8 ? w.scale_cols : 0;
  p.tile_bytes = ceil_div(p.k, unit.k) * unit.bytes;
  if (f8 || i8) p.tile_bytes += ceil_div(p.k, w.scale_cols) * kVector;
  p.tile_bytes = round_up(p.tile_bytes, kVector);
  return p;
}

void pack_tile(std::byte* out, const PackedWeight& p, const WeightView& w, int64_t i) {
  const int64_t first = i * kTileRows;
  const Rows rows{w.data.data + first * w.data.row_bytes(), w.data.row_bytes(),
                  std::min<int64_t>(kTileRows, p.n - first)};
  // Rows and blocks that are not there must count as zeros.
  if (rows.count < kTileRows || p.k % unit_of(p.dtype).k != 0)
    std::memset(out, 0, static_cast<size_t>(p.tile_bytes));
  switch (p.dtype) {
    case DType::f32: words(out, rows, 0, p.k); break;
    case DType::bf16: words(out, rows, 0, p.k / 2); break;
    case DType::f16:
      for (int64_t c = 0; c < p.k; ++c) halves(out + c * 32, rows, c * 2);
      break;
    case DType::i8:
    case DType::f8_e4m3: pack_f8(out, rows, w, first, p.k); break;
    case DType::q8_0: pack_q8_0(out, rows, p.k); break;
    case DType::q4_0:
    case DType::iq4_nl: pack_q4_0(out, rows, p.k); break;
    case DType::mxfp4: pack_mxfp4(out, rows, p.k); break;
    case DType::f4_e2m1: pack_f4(out, rows, w, first, p.k); break;
    case DType::q4_k: pack_q45_k(out, rows, p.k, false); break;
    case DType::q5_k: pack_q45_k(out, rows, p.k, true); break;
    case DType::q6_k: pack_q6_k(out, rows, p.k); break;
    default: CHECK(false, "not a packed dtype");
  }
}

}  // namespace hadal::kernels::cpu
