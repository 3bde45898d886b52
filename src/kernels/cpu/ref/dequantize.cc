// Rows of every weight dtype as numbers. Source: ggml block layouts; see
// docs/formats/gguf_blocks.md for the drawings.

#include <cstring>

#include "base/check.h"
#include "kernels/cpu/ref/ref.h"
#include "tensor/dtype.h"
#include "tensor/float_types.h"

namespace hadal::kernels::cpu::ref {
namespace {

uint8_t byte_at(const std::byte* p, int64_t i) { return std::to_integer<uint8_t>(p[i]); }
int8_t signed_at(const std::byte* p, int64_t i) { return static_cast<int8_t>(byte_at(p, i)); }

uint16_t half_at(const std::byte* p, int64_t offset) {
  uint16_t v = 0;
  std::memcpy(&v, p + offset, 2);
  return v;
}

// d (f16), 32 x int8: w = d * q.
void q8_0(float* out, const std::byte* block) {
  const float d = f16_to_f32(half_at(block, 0));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(signed_at(block, 2 + i));
}

// d (f16), 16 bytes: low nibbles are the first 16 weights, high nibbles the last: w = d * (q - 8).
void q4_0(float* out, const std::byte* block) {
  const float d = f16_to_f32(half_at(block, 0));
  for (int i = 0; i < 16; ++i) {
    const uint8_t b = byte_at(block, 2 + i);
    out[i] = d * static_cast<float>((b & 15) - 8);
    out[i + 16] = d * static_cast<float>((b >> 4) - 8);
  }
}

// As q4_0, with a table: w = d * values[q].
void iq4_nl(float* out, const std::byte* block) {
  const float d = f16_to_f32(half_at(block, 0));
  for (int i = 0; i < 16; ++i) {
    const uint8_t b = byte_at(block, 2 + i);
    out[i] = d * static_cast<float>(kIq4NlValues[b & 15]);
    out[i + 16] = d * static_cast<float>(kIq4NlValues[b >> 4]);
  }
}

// A power of two (e8m0), 16 bytes of FP4 in the order of q4_0.
void mxfp4(float* out, const std::byte* block) {
  const float d = e8m0_to_f32(byte_at(block, 0));
  for (int i = 0; i < 16; ++i) {
    const uint8_t b = byte_at(block, 1 + i);
    out[i] = d * e2m1_to_f32(b & 15);
    out[i + 16] = d * e2m1_to_f32(b >> 4);
  }
}

// The 6-bit scale and minimum of sub-block j, packed in 12 bytes: j < 4 plainly, j >= 4 from
// nibbles and spare top bits.
void k_scale_min(const std::byte* packed, int j, float* scale, float* min) {
  int s = 0;
  int m = 0;
  if (j < 4) {
    s = byte_at(packed, j) & 63;
    m = byte_at(packed, j + 4) & 63;
  } else {
    s = (byte_at(packed, j + 4) & 15) | (byte_at(packed, j - 4) >> 6) << 4;
    m = (byte_at(packed, j + 4) >> 4) | (byte_at(packed, j) >> 6) << 4;
  }
  *scale = static_cast<float>(s);
  *min = static_cast<float>(m);
}

// d, dmin (f16), 12 bytes of scales, 128 bytes of nibbles: eight sub-blocks of 32: w = d * s_j * q
// - dmin * m_j. Sub-blocks 2p and 2p + 1 share 32 bytes: low and high nibbles. Q5_K has 32 bytes of
// fifth bits before the nibbles.
void q45_k(float* out, const std::byte* block, bool five) {
  const float d = f16_to_f32(half_at(block, 0));
  const float dmin = f16_to_f32(half_at(block, 2));
  const std::byte* high = block + 16;
  const std::byte* low = block + (five ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    float s = 0;
    float m = 0;
    k_scale_min(block + 4, j, &s, &m);
    const float ds = d * s;
    const float dm = dmin * m;
    for (int i = 0; i < 32; ++i) {
      int q = byte_at(low, (j / 2) * 32 + i) >> (j % 2 * 4) & 15;
      if (five) q |= (byte_at(high, i) >> j & 1) << 4;
      out[j * 32 + i] = ds * static_cast<float>(q) - dm;
    }
  }
}

// 128 bytes of low nibbles, 64 of high bit pairs, 16 int8 scales, d (f16): w = d * s * (q - 32),
// scales per 16 weights.
void q6_k(float* out, const std::byte* block) {
  const float d = f16_to_f32(half_at(block, 208));
  for (int half = 0; half < 2; ++half) {
    const std::byte* low = block + half * 64;
    const std::byte* high = block + 128 + half * 32;
    const std::byte* scales = block + 192 + half * 8;
    for (int part = 0; part < 4; ++part) {
      for (int i = 0; i < 32; ++i) {
        const int nibble = byte_at(low, (part % 2) * 32 + i) >> (part / 2 * 4) & 15;
        const int q = (nibble | (byte_at(high, i) >> (part * 2) & 3) << 4) - 32;
        const auto s = static_cast<float>(signed_at(scales, part * 2 + i / 16));
        out[half * 128 + part * 32 + i] = d * s * static_cast<float>(q);
      }
    }
  }
}

void plain(float* out, DType dtype, const std::byte* row, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    switch (dtype) {
      case DType::f32: std::memcpy(out + i, row + i * 4, 4); break;
      case DType::f16: out[i] = f16_to_f32(half_at(row, i * 2)); break;
      case DType::bf16: out[i] = bf16_to_f32(half_at(row, i * 2)); break;
      case DType::i8: out[i] = static_cast<float>(signed_at(row, i)); break;
      case DType::f8_e4m3: out[i] = e4m3_to_f32(byte_at(row, i)); break;
      case DType::f8_e8m0: out[i] = e8m0_to_f32(byte_at(row, i)); break;
      case DType::f4_e2m1: out[i] = e2m1_to_f32(byte_at(row, i / 2) >> (i % 2 * 4) & 15); break;
      default: CHECK(false, "not a dtype of weights");
    }
  }
}

}  // namespace

void dequantize(float* out, DType dtype, const std::byte* row, int64_t n) {
  const DTypeInfo& info = dtype_info(dtype);
  if (info.block_elems <= 2) {
    plain(out, dtype, row, n);
    return;
  }
  for (int64_t i = 0; i < n / info.block_elems; ++i) {
    const std::byte* block = row + i * info.block_bytes;
    float* to = out + i * info.block_elems;
    switch (dtype) {
      case DType::q8_0: q8_0(to, block); break;
      case DType::q4_0: q4_0(to, block); break;
      case DType::iq4_nl: iq4_nl(to, block); break;
      case DType::mxfp4: mxfp4(to, block); break;
      case DType::q4_k: q45_k(to, block, false); break;
      case DType::q5_k: q45_k(to, block, true); break;
      case DType::q6_k: q6_k(to, block); break;
      default: CHECK(false, "not a block type");
    }
  }
}

}  // namespace hadal::kernels::cpu::ref
