#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hadal::format {

inline constexpr float kHalfMax = 65504.0f;

/// The nearest whole number in [low, high], ties to even; |low| and |high| below 2^22. Adding 1.5 *
/// 2^23 leaves no fraction bits, which is what rounds; no call, so loops become vector code.
inline float round_within(float x, float low, float high) {
  constexpr float kShift = 12582912.0f;
  return std::clamp(x, low, high) + kShift - kShift;
}

/// How much a squared error of each of up to 256 numbers counts: by the mean square of the
/// activation that it will meet, or all alike when that is not known (null). To first order that is
/// the error of the product. A further weight by the size of the number itself, as other programs
/// give, made the demo model's answers worse.
inline const float* error_weights(const float* importance) {
  static constexpr auto kAlike = [] {
    std::array<float, 256> out{};
    for (float& v : out) v = 1;
    return out;
  }();
  return importance == nullptr ? kAlike.data() : importance;
}

/// The number of the largest magnitude.
inline float extreme_of(const float* x, int n) {
  float extreme = 0;
  for (int i = 0; i < n; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

/// The scale d that makes sum w (x - d q)^2 least, over roundings q = nearest(x / d') where d' puts
/// the extreme number on each of `codes`; for a given q, d is the least squares' answer.
template <class Nearest>
float fit_scale(const float* x, const float* w, int n, std::span<const float> codes,
                Nearest nearest) {
  const float extreme = extreme_of(x, n);
  if (std::fabs(extreme) < 1e-30f) return 0;
  float best = 0, most = 0;
  for (const float code : codes) {
    const float inverse = code / extreme;
    float xq = 0, qq = 0;
    for (int i = 0; i < n; ++i) {
      const float q = nearest(x[i] * inverse);
      xq += w[i] * x[i] * q;
      qq += w[i] * q * q;
    }
    // The error is sum(w x^2) - xq^2 / qq.
    if (qq > 0 && xq * xq > most * qq) {
      most = xq * xq / qq;
      best = xq / qq;
    }
  }
  return best;
}

/// The eight 6-bit scales and minima of a Q4_K or Q5_K block.
struct KScales {
  std::array<uint8_t, 8> scale{};
  std::array<uint8_t, 8> min{};
};

/// To and from their 12 bytes. Source: ggml-quants.c, get_scale_min_k4.
KScales unpack_k_scales(const std::byte* packed);
void pack_k_scales(const KScales& scales, std::byte* packed);

/// One block each; `in` are its 256 numbers, `importance` as many, or null.
void quantize_q4_k(const float* in, const float* importance, std::byte* out);
void quantize_q5_k(const float* in, const float* importance, std::byte* out);
void quantize_q6_k(const float* in, const float* importance, std::byte* out);

}  // namespace hadal::format
