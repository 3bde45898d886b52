#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace hadal::format {

/// The nearest whole number in [low, high], ties to even; |low| and |high| below 2^22. Adding 1.5 *
/// 2^23 leaves no fraction bits, which is what rounds; no call, so loops become vector code.
inline float round_within(float x, float low, float high) {
  constexpr float kShift = 12582912.0f;
  return std::clamp(x, low, high) + kShift - kShift;
}

/// The eight 6-bit scales and minima of a Q4_K or Q5_K block.
struct KScales {
  std::array<uint8_t, 8> scale{};
  std::array<uint8_t, 8> min{};
};

/// To and from their 12 bytes. Source: ggml-quants.c, get_scale_min_k4.
KScales unpack_k_scales(const std::byte* packed);
void pack_k_scales(const KScales& scales, std::byte* packed);

/// One block each; `in` are its 256 numbers.
void quantize_q4_k(const float* in, std::byte* out);
void quantize_q5_k(const float* in, std::byte* out);
void quantize_q6_k(const float* in, std::byte* out);

}  // namespace hadal::format
