// Q4_K, Q5_K and Q6_K: 256 numbers in sub-blocks whose scales are quantised themselves.
// Source of the layouts: ggml-common.h. The search is a small grid of roundings, each followed by
// the least-squares scale (and minimum) for it.

#include <algorithm>
#include <cmath>

#include "format/internal/blocks.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"

namespace hadal::format {
namespace {

/// x ~ scale * q - min.
struct Affine {
  float scale = 0;
  float min = 0;
};

/// Weighted sums from which the least squares follow.
struct Sums {
  float w = 0, x = 0, q = 0, xq = 0, qq = 0, xx = 0;
};

float weighted_error(const Sums& s, const Affine& a) {
  return s.xx + a.scale * a.scale * s.qq + a.min * a.min * s.w - 2 * a.scale * s.xq +
         2 * a.min * s.x - 2 * a.scale * a.min * s.q;
}

Affine least_squares(const Sums& s) {
  const float determinant = s.w * s.qq - s.q * s.q;
  if (determinant > 0) {
    const float scale = (s.w * s.xq - s.x * s.q) / determinant;
    const float min = (s.q * s.xq - s.qq * s.x) / determinant;
    if (min >= 0 && scale > 0) return {scale, min};
  }
  return {s.qq > 0 ? std::max(0.0f, s.xq / s.qq) : 0.0f, 0};
}

/// The scale and minimum (>= 0) for 32 numbers with q in [0, levels].
Affine fit_affine(const float* x, const float* importance, int levels) {
  float low = 0, high = x[0];
  for (int i = 0; i < 32; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (high <= low) return {0, -low};
  const float* w = error_weights(importance);
  Affine best{(high - low) / static_cast<float>(levels), -low};
  float least = INFINITY;
  constexpr int kSteps = 8;
  for (int step = 0; step <= kSteps; ++step) {
    const float inverse =
        (static_cast<float>(levels) - 0.8f + 1.6f * static_cast<float>(step) / kSteps) /
        (high - low);
    Sums s;
    for (int i = 0; i < 32; ++i) {
      const float q =
          std::clamp(static_cast<float>(static_cast<int>(inverse * (x[i] - low) + 0.5f)), 0.0f,
                     static_cast<float>(levels));
      s.w += w[i];
      s.x += w[i] * x[i];
      s.q += w[i] * q;
      s.xq += w[i] * x[i] * q;
      s.qq += w[i] * q * q;
      s.xx += w[i] * x[i] * x[i];
    }
    const Affine fit = least_squares(s);
    const float error = weighted_error(s, fit);
    if (error < least) {
      least = error;
      best = fit;
    }
  }
  return best;
}

struct KBlock {
  uint16_t d = 0, dmin = 0;  ///< f16
  KScales scales;
  uint8_t q[256];
};

KBlock fit_block(const float* in, const float* importance, int levels) {
  Affine fits[8];
  float scale_max = 0, min_max = 0;
  for (int j = 0; j < 8; ++j) {
    fits[j] =
        fit_affine(in + 32 * j, importance == nullptr ? nullptr : importance + 32 * j, levels);
    scale_max = std::max(scale_max, fits[j].scale);
    min_max = std::max(min_max, fits[j].min);
  }
  KBlock out;
  out.d = f16_of_f32(std::min(scale_max / 63, kHalfMax));
  out.dmin = f16_of_f32(std::min(min_max / 63, kHalfMax));
  const float d = f32_of_f16(out.d), dmin = f32_of_f16(out.dmin);
  const auto six_bits = [](float v, float unit) {
    return static_cast<uint8_t>(unit > 0 ? std::clamp(v / unit + 0.5f, 0.0f, 63.0f) : 0.0f);
  };
  for (int j = 0; j < 8; ++j) {
    const auto sub = static_cast<size_t>(j);
    out.scales.scale[sub] = six_bits(fits[j].scale, d);
    out.scales.min[sub] = six_bits(fits[j].min, dmin);
    const float scale = d * static_cast<float>(out.scales.scale[sub]);
    const float min = dmin * static_cast<float>(out.scales.min[sub]);
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < 32; ++i) {
      const float q = round_within((in[32 * j + i] + min) * inverse, 0, static_cast<float>(levels));
      out.q[32 * j + i] = static_cast<uint8_t>(q);
    }
  }
  return out;
}

void write_head(const KBlock& b, std::byte* out) {
  store(out, b.d);
  store(out + 2, b.dmin);
  pack_k_scales(b.scales, out + 4);
}

void write_nibbles(const KBlock& b, std::byte* out) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int l = 0; l < 32; ++l) {
      const unsigned low = b.q[64 * pair + l] & 15u, high = b.q[64 * pair + 32 + l] & 15u;
      out[32 * pair + l] = static_cast<std::byte>(low | high << 4);
    }
  }
}

/// The scale for 16 numbers with q in [-32, 31].
float fit_symmetric(const float* x, const float* importance) {
  constexpr float kCodes[] = {-31, -31.25f, -31.5f, -31.75f, -32, -32.25f, -32.5f, -32.75f, -33};
  return fit_scale(x, error_weights(importance), 16, kCodes,
                   [](float v) { return round_within(v, -32, 31); });
}

}  // namespace

void quantize_q4_k(const float* in, const float* importance, std::byte* out) {
  const KBlock b = fit_block(in, importance, 15);
  write_head(b, out);
  write_nibbles(b, out + 16);
}

void quantize_q5_k(const float* in, const float* importance, std::byte* out) {
  const KBlock b = fit_block(in, importance, 31);
  write_head(b, out);
  std::fill(out + 16, out + 48, std::byte{0});
  for (int o = 0; o < 256; ++o) {
    out[16 + o % 32] |= static_cast<std::byte>((b.q[o] >> 4) << (o / 32));
  }
  write_nibbles(b, out + 48);
}

void quantize_q6_k(const float* in, const float* importance, std::byte* out) {
  float scales[16];
  float extreme = 0;
  for (int j = 0; j < 16; ++j) {
    scales[j] = fit_symmetric(in + 16 * j, importance == nullptr ? nullptr : importance + 16 * j);
    if (std::fabs(scales[j]) > std::fabs(extreme)) extreme = scales[j];
  }
  const uint16_t stored = f16_of_f32(std::clamp(extreme / -128, -kHalfMax, kHalfMax));
  const float d = f32_of_f16(stored);
  std::fill(out, out + 192, std::byte{0});
  for (int j = 0; j < 16; ++j) {
    const float s = d != 0 ? round_within(scales[j] / d, -128, 127) : 0.0f;
    store(out + 192 + j, static_cast<int8_t>(s));
    const float inverse = d * s != 0 ? 1 / (d * s) : 0;
    for (int i = 0; i < 16; ++i) {
      const int o = 16 * j + i, half = o / 128, row = o % 128 / 32, l = o % 32;
      const float rounded = round_within(in[o] * inverse, -32, 31);
      const unsigned q = static_cast<unsigned>(static_cast<int>(rounded) + 32);
      out[half * 64 + o % 64] |= static_cast<std::byte>((q & 15) << (row >= 2 ? 4 : 0));
      out[128 + half * 32 + l] |= static_cast<std::byte>(q >> 4 << (2 * row));
    }
  }
  store(out + 208, stored);
}

}  // namespace hadal::format
