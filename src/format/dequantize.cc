// Source of the block layouts: ggml-common.h, block_q8_0 .. block_q6_K, block_iq4_nl,
// block_mxfp4.

#include "base/check.h"
#include "format/internal/blocks.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"
#include "format/quantize.h"
#include "tensor/float_types.h"

namespace hadal::format {
namespace {

int nibble(std::byte b, bool high) { return static_cast<int>(b) >> (high ? 4 : 0) & 15; }

void q8_0(const std::byte* in, float* out) {
  const float d = f32_of_f16(load<uint16_t>(in));
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(load<int8_t>(in + 2 + j));
}

void q4_0(const std::byte* in, float* out) {
  const float d = f32_of_f16(load<uint16_t>(in));
  for (int j = 0; j < 32; ++j) {
    out[j] = d * static_cast<float>(nibble(in[2 + j % 16], j >= 16) - 8);
  }
}

/// Q4_K and Q5_K: f16 d, f16 dmin, 12 bytes of scales, for Q5_K 32 bytes of high bits, 128 of
/// nibbles.
void q45_k(const std::byte* in, float* out, bool five) {
  const float d = f32_of_f16(load<uint16_t>(in)), dmin = f32_of_f16(load<uint16_t>(in + 2));
  const KScales s = unpack_k_scales(in + 4);
  const std::byte* high = in + 16;
  const std::byte* low = five ? in + 48 : in + 16;
  for (int o = 0; o < 256; ++o) {
    const auto sub = static_cast<size_t>(o / 32);
    const int l = o % 32;
    int q = nibble(low[o / 64 * 32 + l], sub % 2 == 1);
    if (five && (static_cast<int>(high[l]) >> sub & 1) != 0) q += 16;
    out[o] = d * static_cast<float>(s.scale[sub]) * static_cast<float>(q) -
             dmin * static_cast<float>(s.min[sub]);
  }
}

/// Q6_K: 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, f16 d.
void q6_k(const std::byte* in, float* out) {
  const float d = f32_of_f16(load<uint16_t>(in + 208));
  for (int o = 0; o < 256; ++o) {
    const int half = o / 128, row = o % 128 / 32, l = o % 32;
    const int low = nibble(in[half * 64 + o % 64], row >= 2);
    const int high = static_cast<int>(in[128 + half * 32 + l]) >> (2 * row) & 3;
    const auto scale = static_cast<float>(load<int8_t>(in + 192 + o / 16));
    out[o] = d * scale * static_cast<float>((low | high << 4) - 32);
  }
}

void iq4_nl(const std::byte* in, float* out) {
  const float d = f32_of_f16(load<uint16_t>(in));
  for (int j = 0; j < 32; ++j) {
    out[j] = d * static_cast<float>(kIq4NlValues[nibble(in[2 + j % 16], j >= 16)]);
  }
}

void mxfp4(const std::byte* in, float* out) {
  const float d = f32_of_e8m0(load<uint8_t>(in));
  for (int j = 0; j < 32; ++j) {
    out[j] = d * f32_of_e2m1(static_cast<unsigned>(nibble(in[1 + j % 16], j >= 16)));
  }
}

void block(DType dtype, const std::byte* in, float* out) {
  switch (dtype) {
    case DType::q8_0: return q8_0(in, out);
    case DType::q4_0: return q4_0(in, out);
    case DType::q4_k: return q45_k(in, out, false);
    case DType::q5_k: return q45_k(in, out, true);
    case DType::q6_k: return q6_k(in, out);
    case DType::iq4_nl: return iq4_nl(in, out);
    case DType::mxfp4: return mxfp4(in, out);
    case DType::f32: *out = load<float>(in); return;
    case DType::f16: *out = f32_of_f16(load<uint16_t>(in)); return;
    case DType::bf16: *out = f32_of_bf16(load<uint16_t>(in)); return;
    case DType::i8: *out = static_cast<float>(load<int8_t>(in)); return;
    case DType::f8_e4m3: *out = f32_of_e4m3(load<uint8_t>(in)); return;
    case DType::f8_e8m0: *out = f32_of_e8m0(load<uint8_t>(in)); return;
    case DType::f4_e2m1:
      out[0] = f32_of_e2m1(static_cast<unsigned>(in[0]) & 15);
      out[1] = f32_of_e2m1(static_cast<unsigned>(in[0]) >> 4);
      return;
    default: CHECK(false, "not a floating-point type");
  }
}

}  // namespace

KScales unpack_k_scales(const std::byte* packed) {
  KScales out;
  for (size_t j = 0; j < 8; ++j) {
    const auto at = [&](size_t i) { return static_cast<unsigned>(packed[i]); };
    if (j < 4) {
      out.scale[j] = static_cast<uint8_t>(at(j) & 63);
      out.min[j] = static_cast<uint8_t>(at(j + 4) & 63);
    } else {
      out.scale[j] = static_cast<uint8_t>((at(j + 4) & 15) | (at(j - 4) >> 6) << 4);
      out.min[j] = static_cast<uint8_t>(at(j + 4) >> 4 | (at(j) >> 6) << 4);
    }
  }
  return out;
}

void pack_k_scales(const KScales& scales, std::byte* packed) {
  for (size_t i = 0; i < 12; ++i) packed[i] = std::byte{0};
  for (size_t j = 0; j < 8; ++j) {
    const unsigned s = scales.scale[j], m = scales.min[j];
    if (j < 4) {
      packed[j] |= static_cast<std::byte>(s);
      packed[j + 4] |= static_cast<std::byte>(m);
    } else {
      packed[j + 4] |= static_cast<std::byte>((s & 15) | (m & 15) << 4);
      packed[j - 4] |= static_cast<std::byte>(s >> 4 << 6);
      packed[j] |= static_cast<std::byte>(m >> 4 << 6);
    }
  }
}

Status dequantize(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  switch (dtype) {
    case DType::u8:
    case DType::i16:
    case DType::i32:
    case DType::i64: return unsupported("numbers of " + std::string(dtype_name(dtype)));
    default: break;
  }
  const DTypeInfo& info = dtype_info(dtype);
  const auto elems = static_cast<size_t>(info.block_elems);
  const auto size = static_cast<size_t>(info.block_bytes);
  CHECK(bytes.size() % size == 0 && bytes.size() / size * elems == out.size());
  for (size_t b = 0; b < bytes.size() / size; ++b) {
    block(dtype, bytes.data() + b * size, out.data() + b * elems);
  }
  return {};
}

}  // namespace hadal::format
