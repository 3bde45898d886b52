// The scalar table: obvious rather than fast. It is the definition that the other tables are held
// to.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/ref/ref.h"
#include "tensor/float_types.h"

namespace hadal::kernels::cpu {
namespace ref {

float dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return static_cast<float>(sum);
}

void axpy(float* y, float a, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void gemv(float* out, DType dtype, const std::byte* rows, int64_t row_bytes, int64_t count,
          const float* x, int64_t k) {
  std::vector<float> row(static_cast<size_t>(k));
  for (int64_t r = 0; r < count; ++r) {
    dequantize(row.data(), dtype, rows + r * row_bytes, k);
    out[r] = dot(row.data(), x, k);
  }
}

void gemv_q8_0(float* out, const std::byte* rows, int64_t row_bytes, int64_t count, const Q8Row& x,
               int64_t k) {
  for (int64_t r = 0; r < count; ++r) {
    double sum = 0;
    for (int64_t b = 0; b < k / 32; ++b) {
      const std::byte* block = rows + r * row_bytes + b * 34;
      uint16_t d = 0;
      std::memcpy(&d, block, 2);
      int32_t integer = 0;
      for (int i = 0; i < 32; ++i) {
        integer += static_cast<int8_t>(std::to_integer<uint8_t>(block[2 + i])) * x.q[b * 32 + i];
      }
      sum += static_cast<double>(f16_to_f32(d) * x.scale[b]) * integer;
    }
    out[r] = static_cast<float>(sum);
  }
}

void quantize_q8(int8_t* q, float* scale, int32_t* bias, const float* x, int64_t k) {
  for (int64_t b = 0; b < k / 32; ++b) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[b * 32 + i]));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    scale[b] = largest / 127.0f;
    int32_t sum = 0;
    for (int i = 0; i < 32; ++i) {
      const auto v = static_cast<int32_t>(std::nearbyint(x[b * 32 + i] * inverse));
      q[b * 32 + i] = static_cast<int8_t>(v);
      sum += v;
    }
    bias[b] = -128 * sum;
  }
}

void gemm(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens, const float* b,
          int64_t count, int64_t k) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < count; ++r) c[t * ldc + r] = dot(a + t * lda, b + r * k, k);
  }
}

void gemm_add(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens, const float* b,
              int64_t ldb, int64_t cols, int64_t k) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < cols; ++j) {
      double sum = c[t * ldc + j];
      for (int64_t i = 0; i < k; ++i) sum += static_cast<double>(a[t * lda + i]) * b[i * ldb + j];
      c[t * ldc + j] = static_cast<float>(sum);
    }
  }
}

float exp_sum(float* x, float max, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - max);
  return static_cast<float>(sum);
}

float max(const float* x, int64_t n) { return *std::max_element(x, x + n); }

void swiglu(float* out, const float* gate, const float* up, float limit, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float g = gate[i];
    float u = up[i];
    if (limit > 0) {
      g = std::min(g, limit);
      u = std::clamp(u, -limit, limit);
    }
    out[i] = g / (1 + std::exp(-g)) * u;
  }
}

// d = the largest of 32 / 127 as f16, q = x / d: as q8_0 weights.
void store_q8_0(std::byte* block, const float* x) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  const uint16_t half = f32_to_f16(largest / 127);
  const float d = f16_to_f32(half);
  const float inverse = d > 0 ? 1 / d : 0;
  std::memcpy(block, &half, 2);
  for (int i = 0; i < 32; ++i) {
    const float q =
        std::isnan(x[i]) ? 0 : std::nearbyint(std::clamp(x[i] * inverse, -127.0f, 127.0f));
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(q));
  }
}

void store_kv(std::byte* row, DType dtype, const float* x, int64_t n) {
  for (int64_t i = 0; i < n && dtype == DType::q8_0; i += 32) store_q8_0(row + i / 32 * 34, x + i);
  if (dtype == DType::q8_0) return;
  for (int64_t i = 0; i < n; ++i) {
    if (dtype == DType::f32) {
      std::memcpy(row + i * 4, x + i, 4);
    } else if (dtype == DType::f8_e4m3) {
      row[i] = static_cast<std::byte>(f32_to_e4m3(x[i]));
    } else {
      const uint16_t half = dtype == DType::f16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
      std::memcpy(row + i * 2, &half, 2);
    }
  }
}

}  // namespace ref

const Table& ref_table() {
  static constexpr Table kTable = {
      .name = "ref",
      .dot = ref::dot,
      .axpy = ref::axpy,
      .dequantize = ref::dequantize,
      .gemv = ref::gemv,
      .gemv_q8_0 = ref::gemv_q8_0,
      .quantize_q8 = ref::quantize_q8,
      .gemm = ref::gemm,
      .gemm_add = ref::gemm_add,
      .sum_squares = ref::sum_squares,
      .scale = ref::scale,
      .exp_sum = ref::exp_sum,
      .max = ref::max,
      .swiglu = ref::swiglu,
      .store_kv = ref::store_kv,
  };
  return kTable;
}

}  // namespace hadal::kernels::cpu
