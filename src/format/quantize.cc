#include "format/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "format/internal/blocks.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"
#include "tensor/float_types.h"

namespace hadal::format {
namespace {

void q8_0(const float* in, std::byte* out) {
  float largest = 0;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(in[j]));
  const uint16_t stored = f16_of_f32(std::min(largest / 127, kHalfMax));
  const float d = f32_of_f16(stored);
  const float inverse = d > 0 ? 1 / d : 0;
  store(out, stored);
  for (int j = 0; j < 32; ++j) {
    const float q = round_within(in[j] * inverse, -127, 127);
    store(out + 2 + j, static_cast<int8_t>(q));
  }
}

/// 32 codes of four bits: number j low, j + 16 high.
template <class CodeOf>
void write_nibbles(CodeOf code_of, std::byte* out) {
  for (int j = 0; j < 16; ++j) out[j] = static_cast<std::byte>(code_of(j) | code_of(j + 16) << 4);
}

void q4_0(const float* in, const float* importance, std::byte* out) {
  constexpr float kCodes[] = {-7, -7.25f, -7.5f, -7.75f, -8, -8.25f, -8.5f, -8.75f, -9};
  const auto nearest = [](float v) { return round_within(v, -8, 7); };
  const float best = fit_scale(in, error_weights(importance), 32, kCodes, nearest);
  const uint16_t stored = f16_of_f32(std::clamp(best, -kHalfMax, kHalfMax));
  const float d = f32_of_f16(stored);
  const float inverse = d != 0 ? 1 / d : 0;
  store(out, stored);
  write_nibbles([&](int j) { return static_cast<unsigned>(nearest(in[j] * inverse) + 8); },
                out + 2);
}

/// The code whose value is nearest to v / 2, by v + 256.
constexpr auto kIq4Codes = [] {
  std::array<uint8_t, 512> out{};
  for (int i = 0; i < 512; ++i) {
    // How many of the midpoints between values lie below it; all are multiples of a half.
    uint8_t code = 0;
    for (size_t j = 0; j < 15; ++j)
      code = static_cast<uint8_t>(code + (i - 256 > kIq4NlValues[j] + kIq4NlValues[j + 1] ? 1 : 0));
    out[static_cast<size_t>(i)] = code;
  }
  return out;
}();
unsigned iq4_code(float v) {
  return kIq4Codes[static_cast<size_t>(static_cast<int>(round_within(2 * v, -256, 255)) + 256)];
}

void iq4_nl(const float* in, const float* importance, std::byte* out) {
  // The extreme number on the largest value, of either sign, and around it.
  constexpr float kCodes[] = {-105, -110, -115, -119, -123, -127, -131, -135,
                              -140, 98,   103,  108,  113,  118,  124};
  const float* w = error_weights(importance);
  const float best = fit_scale(
      in, w, 32, kCodes, [](float v) { return static_cast<float>(kIq4NlValues[iq4_code(v)]); });
  const uint16_t stored = f16_of_f32(std::clamp(best, -kHalfMax, kHalfMax));
  const float d = f32_of_f16(stored);
  const float inverse = d != 0 ? 1 / d : 0;
  store(out, stored);
  write_nibbles([&](int j) { return iq4_code(in[j] * inverse); }, out + 2);
}

/// The code of the FP4 value nearest to v, ties to the even one.
unsigned fp4_code(float v) {
  const float a = std::fabs(v);
  const unsigned code = (a > 0.25f ? 1u : 0u) + (a >= 0.75f ? 1u : 0u) + (a > 1.25f ? 1u : 0u) +
                        (a >= 1.75f ? 1u : 0u) + (a > 2.5f ? 1u : 0u) + (a >= 3.5f ? 1u : 0u) +
                        (a > 5 ? 1u : 0u);
  return v < 0 ? code | 8u : code;
}

/// The scale is a power of two: the smallest that clips nothing, or one of its neighbours.
void mxfp4(const float* in, const float* importance, std::byte* out) {
  const float extreme = std::fabs(extreme_of(in, 32));
  const int whole =
      extreme > 0 ? std::clamp(static_cast<int>(std::ceil(std::log2(extreme / 6))), -127, 127) : 0;
  const float unit = std::ldexp(1.0f, -whole);
  float x[32];  // in units of that scale, so that squares stay in range
  for (int j = 0; j < 32; ++j) x[j] = in[j] * unit;
  const float* w = error_weights(importance);
  int best = 0;
  float least = INFINITY;
  for (int e = -1; e <= 1; ++e) {
    const float inverse = std::ldexp(1.0f, -e), d = std::ldexp(1.0f, e);
    float error = 0;
    for (int j = 0; j < 32; ++j) {
      const float miss = x[j] - d * f32_of_e2m1(fp4_code(x[j] * inverse));
      error += w[j] * miss * miss;
    }
    if (error < least && std::abs(whole + e) <= 127) {
      least = error;
      best = e;
    }
  }
  out[0] = static_cast<std::byte>(whole + best + 127);
  const float inverse = std::ldexp(1.0f, -best);
  write_nibbles([&](int j) { return fp4_code(x[j] * inverse); }, out + 1);
}

void block(DType dtype, const float* in, const float* importance, std::byte* out) {
  switch (dtype) {
    case DType::f32: return store(out, *in);
    case DType::f16: return store(out, f16_of_f32(*in));
    case DType::bf16: return store(out, bf16_of_f32(*in));
    case DType::q8_0: return q8_0(in, out);
    case DType::q4_0: return q4_0(in, importance, out);
    case DType::q4_k: return quantize_q4_k(in, importance, out);
    case DType::q5_k: return quantize_q5_k(in, importance, out);
    case DType::q6_k: return quantize_q6_k(in, importance, out);
    case DType::iq4_nl: return iq4_nl(in, importance, out);
    case DType::mxfp4: return mxfp4(in, importance, out);
    default: CHECK(false, "checked by quantize");
  }
}

bool can_quantize_to(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::q8_0:
    case DType::q4_0:
    case DType::q4_k:
    case DType::q5_k:
    case DType::q6_k:
    case DType::iq4_nl:
    case DType::mxfp4: return true;
    default: return false;
  }
}

}  // namespace

Status quantize(DType dtype, std::span<const float> values, std::span<std::byte> out,
                std::span<const float> importance) {
  if (!can_quantize_to(dtype)) {
    return unsupported("writing numbers as " + std::string(dtype_name(dtype)));
  }
  const DTypeInfo& info = dtype_info(dtype);
  const auto elems = static_cast<size_t>(info.block_elems);
  const auto size = static_cast<size_t>(info.block_bytes);
  CHECK(values.size() % elems == 0 && values.size() / elems * size == out.size());
  CHECK(importance.empty() || importance.size() == values.size());
  if (elems > 1 || dtype == DType::f16) {
    // FP4's scales reach as far as f32.
    const float largest = dtype == DType::mxfp4 ? std::numeric_limits<float>::max() : kHalfMax;
    for (const float v : values) {
      if (!(std::fabs(v) <= largest)) {
        return invalid_argument(
            "a weight beyond the range of f16, or not a number; keep this tensor as bf16 or f32");
      }
    }
  }
  for (size_t b = 0; b < values.size() / elems; ++b) {
    const float* counts = importance.empty() ? nullptr : importance.data() + b * elems;
    block(dtype, values.data() + b * elems, counts, out.data() + b * size);
  }
  return {};
}

}  // namespace hadal::format
