#pragma once

// The scalar definitions behind ref_table(): see kernels/cpu/table.h for their contracts.

#include "kernels/cpu/table.h"

namespace hadal::kernels::cpu::ref {

float dot(const float* a, const float* b, int64_t n);
void axpy(float* y, float a, const float* x, int64_t n);
void dequantize(float* out, DType dtype, const std::byte* row, int64_t n);
void gemv(float* out, DType dtype, const std::byte* rows, int64_t row_bytes, int64_t count,
          const float* x, int64_t k);
void gemv_q8_0(float* out, const std::byte* rows, int64_t row_bytes, int64_t count, const Q8Row& x,
               int64_t k);
void quantize_q8(int8_t* q, float* scale, int32_t* bias, const float* x, int64_t k);
void gemm(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens, const float* b,
          int64_t count, int64_t k);
void gemm_add(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens, const float* b,
              int64_t ldb, int64_t cols, int64_t k);
float sum_squares(const float* x, int64_t n);
void scale(float* out, const float* x, float scale, const float* weight, int64_t n);
float exp_sum(float* x, float max, int64_t n);
float max(const float* x, int64_t n);
void swiglu(float* out, const float* gate, const float* up, float limit, int64_t n);
void store_kv(std::byte* row, DType dtype, const float* x, int64_t n);

}  // namespace hadal::kernels::cpu::ref
