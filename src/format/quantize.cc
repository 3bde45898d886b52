#include "format/quantize.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "format/internal/blocks.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"

namespace hadal::format {
namespace {

constexpr float kHalfMax = 65504.0f;

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

struct Fit {
  float d = 0;
  float error = 0;
};

/// The best scale for the rounding that `inverse` gives, and the error it leaves.
Fit fit_q4_0(const float* in, float inverse) {
  float xq = 0, qq = 0, xx = 0;
  for (int j = 0; j < 32; ++j) {
    const float q = round_within(in[j] * inverse, -8, 7);
    const float w = in[j] * in[j];
    xq += w * in[j] * q;
    qq += w * q * q;
    xx += w * in[j] * in[j];
  }
  if (qq <= 0) return {0, xx};
  return {xq / qq, xx - xq * xq / qq};
}

void q4_0(const float* in, std::byte* out) {
  float extreme = 0;
  for (int j = 0; j < 32; ++j) {
    if (std::fabs(in[j]) > std::fabs(extreme)) extreme = in[j];
  }
  Fit best;
  if (extreme != 0) {
    best = fit_q4_0(in, -8 / extreme);
    for (int step = -4; step <= 4; ++step) {
      const Fit fit = fit_q4_0(in, -(8 + 0.25f * static_cast<float>(step)) / extreme);
      if (fit.error < best.error) best = fit;
    }
  }
  const uint16_t stored = f16_of_f32(std::clamp(best.d, -kHalfMax, kHalfMax));
  const float d = f32_of_f16(stored);
  const float inverse = d != 0 ? 1 / d : 0;
  store(out, stored);
  for (int j = 0; j < 16; ++j) {
    const auto q = [&](int i) {
      return static_cast<unsigned>(round_within(in[i] * inverse, -8, 7) + 8);
    };
    out[2 + j] = static_cast<std::byte>(q(j) | q(j + 16) << 4);
  }
}

void block(DType dtype, const float* in, std::byte* out) {
  switch (dtype) {
    case DType::f32: return store(out, *in);
    case DType::f16: return store(out, f16_of_f32(*in));
    case DType::bf16: return store(out, bf16_of_f32(*in));
    case DType::q8_0: return q8_0(in, out);
    case DType::q4_0: return q4_0(in, out);
    case DType::q4_k: return quantize_q4_k(in, out);
    case DType::q5_k: return quantize_q5_k(in, out);
    case DType::q6_k: return quantize_q6_k(in, out);
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
    case DType::q6_k: return true;
    default: return false;
  }
}

}  // namespace

Status quantize(DType dtype, std::span<const float> values, std::span<std::byte> out) {
  if (!can_quantize_to(dtype)) {
    return unsupported("writing numbers as " + std::string(dtype_name(dtype)));
  }
  const DTypeInfo& info = dtype_info(dtype);
  const auto elems = static_cast<size_t>(info.block_elems);
  const auto size = static_cast<size_t>(info.block_bytes);
  CHECK(values.size() % elems == 0 && values.size() / elems * size == out.size());
  if (elems > 1 || dtype == DType::f16) {
    for (const float v : values) {
      if (!(std::fabs(v) <= kHalfMax)) {
        return invalid_argument(
            "a weight beyond the range of f16, or not a number; keep this tensor as bf16 or f32");
      }
    }
  }
  for (size_t b = 0; b < values.size() / elems; ++b) {
    block(dtype, values.data() + b * elems, out.data() + b * size);
  }
  return {};
}

}  // namespace hadal::format
