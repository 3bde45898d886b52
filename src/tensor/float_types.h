#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace hadal {

// Scalar conversions, exact where the target holds the value and rounding to nearest even where
// not. Source: IEEE 754; OCP 8-bit Floating Point Specification 1.0 (e4m3); OCP Microscaling
// Formats 1.0 (e8m0, e2m1).

inline float bf16_to_f32(uint16_t v) {
  return std::bit_cast<float>(static_cast<uint32_t>(v) << 16);
}

inline uint16_t f32_to_bf16(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
    return static_cast<uint16_t>(bits >> 16 | 0x40);  // a quiet NaN
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

inline float f16_to_f32(uint16_t v) {
  const uint32_t sign = (v & 0x8000u) << 16;
  const uint32_t exponent = v >> 10 & 0x1F;
  const uint32_t mantissa = v & 0x3FF;
  if (exponent == 0) {
    const float tiny = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -tiny : tiny;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline uint16_t f32_to_f16(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return sign | 0x7E00;
  if (magnitude >= 0x477FF000u) return sign | 0x7C00;  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                       // below 2^-14: a multiple of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

inline float e4m3_to_f32(uint8_t v) {
  const int exponent = v >> 3 & 15;
  const int mantissa = v & 7;
  float out = 0;
  if (exponent == 15 && mantissa == 7) {
    out = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    out = static_cast<float>(mantissa) * 0x1p-9f;
  } else {
    out = std::bit_cast<float>(static_cast<uint32_t>(exponent + 120) << 23 |
                               static_cast<uint32_t>(mantissa) << 20);
  }
  return (v & 0x80) != 0 ? -out : out;
}

/// The nearest e4m3, ties to even; beyond 448 it stays at 448.
inline uint8_t f32_to_e4m3(float v) {
  const auto sign = static_cast<uint8_t>(std::bit_cast<uint32_t>(v) >> 24 & 0x80);
  if (std::isnan(v)) return sign | 0x7F;
  const float magnitude = std::fmin(std::fabs(v), 448.0f);
  // Below 2^-6 codes count steps of 2^-9, which is what a float near 2^14 does.
  if (magnitude < 0x1p-6f)
    return sign | static_cast<uint8_t>(std::bit_cast<uint32_t>(magnitude + 0x1p14f));
  // Above, the exponent and the upper three bits of the mantissa are e4m3's, but for the bias.
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  return sign | static_cast<uint8_t>(((bits + 0x7FFFF + (bits >> 20 & 1)) >> 20) - (120 << 3));
}

/// 2^(v - 127); 255 is NaN.
inline float e8m0_to_f32(uint8_t v) {
  if (v == 255) return std::numeric_limits<float>::quiet_NaN();
  return v == 0 ? 0x1p-127f : std::bit_cast<float>(static_cast<uint32_t>(v) << 23);
}

/// The low four bits of `v`.
inline float e2m1_to_f32(uint8_t v) {
  constexpr float kValues[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const float out = kValues[v & 7];
  return (v & 8) != 0 ? -out : out;
}

/// The values of an IQ4_NL code: denser near zero, as weights are. Source: ggml-common.h,
/// kvalues_iq4nl.
inline constexpr int8_t kIq4NlValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace hadal
