#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/packed.h"
#include "tensor/dtype_enum.h"

namespace hadal::kernels::cpu {

/// Activations rounded to 8-bit blocks of 32 for integer dot products: x[i] ~ scale[i / 32] * q[i].
/// The error of a product is at most 1/254 of the block's largest activation times the weights' sum
/// of magnitudes.
struct Q8Row {
  const int8_t* q;     ///< [k]
  const float* scale;  ///< [k / 32]
  const int32_t*
      bias;  ///< [k / 32], -128 * sum of the block's q: what weights stored as w + 128 add too much
};

/// The inner loops of the CPU device. An instruction set is a folder with one such table; all agree
/// with `ref` within the bounds of the parity test. Rows are dense, addresses need no alignment,
/// lengths may be odd unless a block type says otherwise. Threading: any thread; no state.
struct Table {
  const char* name;

  /// sum a[i] * b[i].
  float (*dot)(const float* a, const float* b, int64_t n);
  /// y += a * x.
  void (*axpy)(float* y, float a, const float* x, int64_t n);
  /// The numbers of a row of `dtype`, without companion scales. n whole blocks.
  void (*dequantize)(float* out, DType dtype, const std::byte* row, int64_t n);
  /// out[r] = row r of a matrix . x, for f32, f16, bf16. `row_bytes` apart.
  void (*gemv)(float* out, DType dtype, const std::byte* rows, int64_t row_bytes, int64_t count,
               const float* x, int64_t k);
  /// out[r] = row r of a q8_0 matrix . x. k a multiple of 32.
  void (*gemv_q8_0)(float* out, const std::byte* rows, int64_t row_bytes, int64_t count,
                    const Q8Row& x, int64_t k);
  /// Rounds x to 8-bit blocks; fills what Q8Row points to. k a multiple of 32.
  void (*quantize_q8)(int8_t* q, float* scale, int32_t* bias, const float* x, int64_t k);
  /// c[t * ldc + r] = a[t * lda ...] . b[r * k ...] for t < tokens, r < count.
  void (*gemm)(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens, const float* b,
               int64_t count, int64_t k);
  /// c[t * ldc + j] += a[t * lda ...] . column j of b [k][cols], its rows ldb apart; t < tokens.
  void (*gemm_add)(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens,
                   const float* b, int64_t ldb, int64_t cols, int64_t k);

  /// sum x[i]^2, and out = x * scale * weight (weight may be null).
  float (*sum_squares)(const float* x, int64_t n);
  void (*scale)(float* out, const float* x, float scale, const float* weight, int64_t n);
  /// x = exp(x - max) in place; the sum.
  float (*exp_sum)(float* x, float max, int64_t n);
  /// The largest element; n > 0.
  float (*max)(const float* x, int64_t n);
  /// out = silu(min(gate, limit)) * clamp(up, -limit, limit); limit 0: no clamps.
  void (*swiglu)(float* out, const float* gate, const float* up, float limit, int64_t n);

  /// Stores a row of the cache as f32, f16, bf16, f8_e4m3 (numbers beyond 448 as 448), or q8_0 (n
  /// whole blocks).
  void (*store_kv)(std::byte* row, DType dtype, const float* x, int64_t n);

  // Products with packed weights (packed.h); null in a table that reads weights only as they are
  // stored. x holds a group of g <= 16 tokens, out[t * ldo + r] = row r of the tile . token t for
  // all 16 rows.

  /// For blocked types. x: the group in 8-bit blocks, made by quantize_token, for i8 by
  /// quantize_whole_token; w.k whole blocks.
  void (*packed_q8)(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                    const std::byte* x, int64_t g);
  /// For f32, f16, bf16, f8_e4m3. x [k][g], and kGroupTokens floats behind it that may be read.
  void (*packed_f32)(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                     const float* x, int64_t g);
  /// Writes token t of a group of g (k / 32 * g * kGroupBlockBytes bytes, and kGroupSlack behind
  /// it).
  void (*quantize_token)(std::byte* group, int64_t g, int64_t t, const float* x, int64_t k);
  /// The same with one scale for the whole token, for i8 weights.
  void (*quantize_whole_token)(std::byte* group, int64_t g, int64_t t, const float* x, int64_t k);
};

const Table& ref_table();
/// Null when the CPU lacks the instructions, or the build is for another architecture.
const Table* avx2_table();
const Table* avx512_table();
/// The strongest that this CPU has.
const Table& best_table();

}  // namespace hadal::kernels::cpu
