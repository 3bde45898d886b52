#pragma once

// The loops of the x86 tables, written once over a vector type V that each instruction set defines
// in its own anonymous namespace: every instantiation is therefore local to its file. Includes
// nothing that could emit shared inline functions. Long because one struct holds every loop of the
// table, so that a table is a list of its members.
//
// V: F (a register of kLanes floats), kTokens x kRows (the tile of accumulators that fits the
// registers), and the static functions used below.

#include "kernels/cpu/table.h"

namespace hadal::kernels::cpu::x86 {

template <class V>
struct Impl {
  using F = typename V::F;
  static constexpr int kLanes = V::kLanes;

  // ---- rows of plain dtypes as registers ----

  struct F32 {
    static constexpr int kBytes = 4;
    static F load(const std::byte* p) { return V::load(reinterpret_cast<const float*>(p)); }
  };
  struct F16 {
    static constexpr int kBytes = 2;
    static F load(const std::byte* p) { return V::from_f16(p); }
  };
  struct Bf16 {
    static constexpr int kBytes = 2;
    static F load(const std::byte* p) { return V::from_bf16(p); }
  };

  // The last n < kLanes elements at p, zeros behind them.
  template <class L>
  static F load_tail(const std::byte* p, int64_t n) {
    alignas(64) std::byte padded[64] = {};
    __builtin_memcpy(padded, p, static_cast<size_t>(n * L::kBytes));
    return L::load(padded);
  }
  static F tail(const float* p, int64_t n) {
    return load_tail<F32>(reinterpret_cast<const std::byte*>(p), n);
  }
  static void store_tail(float* p, F v, int64_t n) {
    alignas(64) float padded[16];
    V::store(padded, v);
    __builtin_memcpy(p, padded, static_cast<size_t>(n) * 4);
  }

  // ---- dot, axpy ----

  template <class L>
  static float dot_row(const float* a, const std::byte* row, int64_t n) {
    F s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
    int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
      const std::byte* p = row + i * L::kBytes;
      s0 = V::fma(V::load(a + i), L::load(p), s0);
      s1 = V::fma(V::load(a + i + kLanes), L::load(p + kLanes * L::kBytes), s1);
      s2 = V::fma(V::load(a + i + 2 * kLanes), L::load(p + 2 * kLanes * L::kBytes), s2);
      s3 = V::fma(V::load(a + i + 3 * kLanes), L::load(p + 3 * kLanes * L::kBytes), s3);
    }
    for (; i + kLanes <= n; i += kLanes)
      s0 = V::fma(V::load(a + i), L::load(row + i * L::kBytes), s0);
    if (i < n) s1 = V::fma(tail(a + i, n - i), load_tail<L>(row + i * L::kBytes, n - i), s1);
    return V::sum(V::add(V::add(s0, s1), V::add(s2, s3)));
  }

  template <class L>
  static void axpy_row(float* y, float a, const std::byte* row, int64_t n) {
    const F factor = V::set1(a);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      V::store(y + i, V::fma(factor, L::load(row + i * L::kBytes), V::load(y + i)));
    if (i < n)
      store_tail(y + i,
                 V::fma(factor, load_tail<L>(row + i * L::kBytes, n - i), tail(y + i, n - i)),
                 n - i);
  }

  static float dot(const float* a, const float* b, int64_t n) {
    return dot_row<F32>(a, reinterpret_cast<const std::byte*>(b), n);
  }
  static void axpy(float* y, float a, const float* x, int64_t n) {
    axpy_row<F32>(y, a, reinterpret_cast<const std::byte*>(x), n);
  }
  static void store_q8_0(std::byte* block, const float* x) {
    F largest = V::zero();
    for (int i = 0; i < 32; i += kLanes) largest = V::max(largest, V::abs(V::load(x + i)));
    std::byte halves[64];
    V::to_f16(halves, V::set1(V::largest(largest) / 127));
    __builtin_memcpy(block, halves, 2);
    const float d = half(block);
    const F inverse = V::set1(d > 0 ? 1 / d : 0);
    for (int i = 0; i < 32; i += kLanes) {
      const F q = V::mul(V::load(x + i), inverse);
      V::to_i8(reinterpret_cast<int8_t*>(block + 2 + i),
               V::min(V::max(q, V::set1(-127)), V::set1(127)));
    }
  }
  // See f32_to_e4m3; without branches, so that the compiler makes vectors of it.
  static void store_e4m3(std::byte* row, const float* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      uint32_t bits;
      __builtin_memcpy(&bits, x + i, 4);
      const uint32_t sign = bits >> 24 & 0x80;
      const uint32_t magnitude = bits & 0x7FFFFFFFu;
      constexpr uint32_t kTop = 0x43E00000;    // 448
      constexpr uint32_t kSmall = 0x3C800000;  // 2^-6
      const uint32_t clamped = magnitude < kTop ? magnitude : kTop;
      float v;
      __builtin_memcpy(&v, &clamped, 4);
      v += 0x1p14f;
      uint32_t steps;
      __builtin_memcpy(&steps, &v, 4);
      const uint32_t normal = ((clamped + 0x7FFFF + (clamped >> 20 & 1)) >> 20) - (120 << 3);
      const uint32_t code = clamped < kSmall ? steps & 0xF : normal;
      row[i] = static_cast<std::byte>(sign | (magnitude > 0x7F800000u ? 0x7Fu : code));
    }
  }
  static void store_kv(std::byte* row, DType dtype, const float* x, int64_t n) {
    if (dtype == DType::f32) {
      __builtin_memcpy(row, x, static_cast<size_t>(n) * 4);
      return;
    }
    if (dtype == DType::f8_e4m3) return store_e4m3(row, x, n);
    if (dtype == DType::q8_0) {
      for (int64_t i = 0; i < n; i += 32) store_q8_0(row + i / 32 * 34, x + i);
      return;
    }
    const auto put = [&](std::byte* to, F v) {
      dtype == DType::f16 ? V::to_f16(to, v) : V::to_bf16(to, v);
    };
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) put(row + i * 2, V::load(x + i));
    if (i == n) return;
    std::byte padded[64];
    put(padded, tail(x + i, n - i));
    __builtin_memcpy(row + i * 2, padded, static_cast<size_t>(n - i) * 2);
  }

  // ---- matrix times vector ----

  // Four rows at once share x and give the memory system four streams; each fetches a little ahead
  // of itself.
  template <class L>
  static void gemv_rows(float* out, const std::byte* rows, int64_t row_bytes, int64_t count,
                        const float* x, int64_t k) {
    constexpr int64_t kAhead = 1024;
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) {
      const std::byte* p0 = rows + r * row_bytes;
      const std::byte* p1 = p0 + row_bytes;
      const std::byte* p2 = p1 + row_bytes;
      const std::byte* p3 = p2 + row_bytes;
      F s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
      int64_t i = 0;
      for (; i + kLanes <= k; i += kLanes) {
        const F v = V::load(x + i);
        const int64_t at = i * L::kBytes;
        V::prefetch(p0 + at + kAhead);
        V::prefetch(p1 + at + kAhead);
        V::prefetch(p2 + at + kAhead);
        V::prefetch(p3 + at + kAhead);
        s0 = V::fma(v, L::load(p0 + at), s0);
        s1 = V::fma(v, L::load(p1 + at), s1);
        s2 = V::fma(v, L::load(p2 + at), s2);
        s3 = V::fma(v, L::load(p3 + at), s3);
      }
      if (i < k) {
        const F v = tail(x + i, k - i);
        const int64_t at = i * L::kBytes;
        s0 = V::fma(v, load_tail<L>(p0 + at, k - i), s0);
        s1 = V::fma(v, load_tail<L>(p1 + at, k - i), s1);
        s2 = V::fma(v, load_tail<L>(p2 + at, k - i), s2);
        s3 = V::fma(v, load_tail<L>(p3 + at, k - i), s3);
      }
      out[r] = V::sum(s0);
      out[r + 1] = V::sum(s1);
      out[r + 2] = V::sum(s2);
      out[r + 3] = V::sum(s3);
    }
    for (; r < count; ++r) out[r] = dot_row<L>(x, rows + r * row_bytes, k);
  }
  static void gemv(float* out, DType dtype, const std::byte* rows, int64_t row_bytes, int64_t count,
                   const float* x, int64_t k) {
    if (dtype == DType::f16) return gemv_rows<F16>(out, rows, row_bytes, count, x, k);
    if (dtype == DType::bf16) return gemv_rows<Bf16>(out, rows, row_bytes, count, x, k);
    gemv_rows<F32>(out, rows, row_bytes, count, x, k);
  }

  static void quantize_q8(int8_t* q, float* scale, int32_t* bias, const float* x, int64_t k) {
    for (int64_t b = 0; b < k / 32; ++b) {
      F largest = V::zero();
      for (int i = 0; i < 32; i += kLanes)
        largest = V::max(largest, V::abs(V::load(x + b * 32 + i)));
      const float m = V::largest(largest);
      const float inverse = m > 0 ? 127.0f / m : 0.0f;
      scale[b] = m / 127.0f;
      int32_t sum = 0;
      for (int i = 0; i < 32; i += kLanes) {
        sum += V::to_i8(q + b * 32 + i, V::mul(V::load(x + b * 32 + i), V::set1(inverse)));
      }
      bias[b] = -128 * sum;
    }
  }

  // ---- matrix times matrix ----

  // A tile of T tokens x R rows in registers; both run along k, so nothing needs packing.
  template <int T, int R>
  static void gemm_tile(float* c, int64_t ldc, const float* a, int64_t lda, const float* b,
                        int64_t k) {
    F acc[T][R];
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < R; ++r) acc[t][r] = V::zero();
    }
    int64_t i = 0;
    for (; i + kLanes <= k; i += kLanes) {
      F va[T];
      for (int t = 0; t < T; ++t) va[t] = V::load(a + t * lda + i);
      for (int r = 0; r < R; ++r) {
        const F vb = V::load(b + r * k + i);
        for (int t = 0; t < T; ++t) acc[t][r] = V::fma(va[t], vb, acc[t][r]);
      }
    }
    if (i < k) {
      for (int t = 0; t < T; ++t) {
        const F va = tail(a + t * lda + i, k - i);
        for (int r = 0; r < R; ++r) acc[t][r] = V::fma(va, tail(b + r * k + i, k - i), acc[t][r]);
      }
    }
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < R; ++r) c[t * ldc + r] = V::sum(acc[t][r]);
    }
  }
  template <int R>
  static void gemm_tokens(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens,
                          const float* b, int64_t k) {
    int64_t t = 0;
    for (; t + V::kTokens <= tokens; t += V::kTokens)
      gemm_tile<V::kTokens, R>(c + t * ldc, ldc, a + t * lda, lda, b, k);
    for (; t < tokens; ++t) gemm_tile<1, R>(c + t * ldc, ldc, a + t * lda, lda, b, k);
  }
  static void gemm(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens,
                   const float* b, int64_t count, int64_t k) {
    int64_t t = 0;
    // Token blocks outside, so that a block stays in L1 while all rows of the tile pass by.
    for (; t < tokens; t += V::kTokens) {
      const int64_t n = tokens - t < V::kTokens ? tokens - t : V::kTokens;
      int64_t r = 0;
      for (; r + V::kRows <= count; r += V::kRows) {
        gemm_tokens<V::kRows>(c + t * ldc + r, ldc, a + t * lda, lda, n, b + r * k, k);
      }
      for (; r < count; ++r)
        gemm_tokens<1>(c + t * ldc + r, ldc, a + t * lda, lda, n, b + r * k, k);
    }
  }

  // A tile of T tokens x R registers of columns; a's numbers are spread, b's rows read as they lie.
  template <int T, int R>
  static void add_tile(float* c, int64_t ldc, const float* a, int64_t lda, const float* b,
                       int64_t ldb, int64_t k) {
    F acc[T][R];
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < R; ++r) acc[t][r] = V::load(c + t * ldc + r * kLanes);
    }
    for (int64_t i = 0; i < k; ++i) {
      F vb[R];
      for (int r = 0; r < R; ++r) vb[r] = V::load(b + i * ldb + r * kLanes);
      for (int t = 0; t < T; ++t) {
        const F va = V::set1(a[t * lda + i]);
        for (int r = 0; r < R; ++r) acc[t][r] = V::fma(va, vb[r], acc[t][r]);
      }
    }
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < R; ++r) V::store(c + t * ldc + r * kLanes, acc[t][r]);
    }
  }
  static void add_tail(float* c, const float* a, const float* b, int64_t ldb, int64_t cols,
                       int64_t k) {
    F acc = tail(c, cols);
    for (int64_t i = 0; i < k; ++i) acc = V::fma(V::set1(a[i]), tail(b + i * ldb, cols), acc);
    store_tail(c, acc, cols);
  }
  template <int T>
  static void add_tokens(float* c, int64_t ldc, const float* a, int64_t lda, const float* b,
                         int64_t ldb, int64_t cols, int64_t k) {
    int64_t j = 0;
    for (; j + V::kRows * kLanes <= cols; j += V::kRows * kLanes)
      add_tile<T, V::kRows>(c + j, ldc, a, lda, b + j, ldb, k);
    for (; j + kLanes <= cols; j += kLanes) add_tile<T, 1>(c + j, ldc, a, lda, b + j, ldb, k);
    for (int t = 0; t < T && j < cols; ++t)
      add_tail(c + t * ldc + j, a + t * lda, b + j, ldb, cols - j, k);
  }
  static void gemm_add(float* c, int64_t ldc, const float* a, int64_t lda, int64_t tokens,
                       const float* b, int64_t ldb, int64_t cols, int64_t k) {
    int64_t t = 0;
    for (; t + V::kTokens <= tokens; t += V::kTokens)
      add_tokens<V::kTokens>(c + t * ldc, ldc, a + t * lda, lda, b, ldb, cols, k);
    for (; t < tokens; ++t) add_tokens<1>(c + t * ldc, ldc, a + t * lda, lda, b, ldb, cols, k);
  }

  // ---- element by element ----

  static float sum_squares(const float* x, int64_t n) { return dot(x, x, n); }

  static void scale(float* out, const float* x, float s, const float* weight, int64_t n) {
    const F factor = V::set1(s);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      F v = V::mul(V::load(x + i), factor);
      if (weight != nullptr) v = V::mul(v, V::load(weight + i));
      V::store(out + i, v);
    }
    for (; i < n; ++i) out[i] = x[i] * s * (weight != nullptr ? weight[i] : 1.0f);
  }

  // exp by 2^n * p(r): r in [-ln2/2, ln2/2], p a minimax polynomial of degree 6; relative error
  // below 2e-7. Source: Cody and Waite's reduction; coefficients of Cephes' expf.
  static F exp(F x) {
    x = V::min(V::max(x, V::set1(-87.3f)), V::set1(88.3f));
    const F n = V::round(V::mul(x, V::set1(1.44269504f)));
    F r = V::fma(n, V::set1(-0.693359375f), x);
    r = V::fma(n, V::set1(2.12194440e-4f), r);
    F p = V::set1(1.9875691500e-4f);
    p = V::fma(p, r, V::set1(1.3981999507e-3f));
    p = V::fma(p, r, V::set1(8.3334519073e-3f));
    p = V::fma(p, r, V::set1(4.1665795894e-2f));
    p = V::fma(p, r, V::set1(1.6666665459e-1f));
    p = V::fma(p, r, V::set1(5.0000001201e-1f));
    p = V::add(V::fma(V::mul(r, r), p, r), V::set1(1.0f));
    return V::times_two_to(p, n);
  }
  static float exp_sum(float* x, float max, int64_t n) {
    const F shift = V::set1(max);
    F total = V::zero();
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const F e = V::exp_or_zero(V::sub(V::load(x + i), shift), exp(V::sub(V::load(x + i), shift)));
      V::store(x + i, e);
      total = V::add(total, e);
    }
    float sum = V::sum(total);
    if (i < n) {
      const F d = V::sub(tail(x + i, n - i), shift);
      store_tail(x + i, V::exp_or_zero(d, exp(d)), n - i);
      for (; i < n; ++i) sum += x[i];
    }
    return sum;
  }
  static float max(const float* x, int64_t n) {
    float best = x[0];
    int64_t i = 0;
    if (n >= kLanes) {
      F m = V::load(x);
      for (i = kLanes; i + kLanes <= n; i += kLanes) m = V::max(m, V::load(x + i));
      best = V::largest(m);
    }
    for (; i < n; ++i) best = x[i] > best ? x[i] : best;
    return best;
  }
  static F swiglu_one(F g, F u, float limit) {
    if (limit > 0) {
      g = V::min(g, V::set1(limit));
      u = V::min(V::max(u, V::set1(-limit)), V::set1(limit));
    }
    return V::mul(V::div(g, V::add(V::set1(1.0f), exp(V::sub(V::zero(), g)))), u);
  }
  static void swiglu(float* out, const float* gate, const float* up, float limit, int64_t n) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      V::store(out + i, swiglu_one(V::load(gate + i), V::load(up + i), limit));
    if (i < n)
      store_tail(out + i, swiglu_one(tail(gate + i, n - i), tail(up + i, n - i), limit), n - i);
  }

  // ---- dequantization ----
  // Block types are plain loops of constant length: the compiler turns them into this file's
  // instructions.

  static float half(const std::byte* p) {
    alignas(64) std::byte padded[64] = {};
    __builtin_memcpy(padded, p, 2);
    return V::first(V::from_f16(padded));
  }
  static const uint8_t* bytes(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }

  static void q8_0(float* out, const std::byte* block) {
    const F d = V::set1(half(block));
    for (int i = 0; i < 32; i += kLanes) V::store(out + i, V::mul(d, V::from_i8(block + 2 + i)));
  }
  static void q4_0(float* out, const std::byte* block) {
    const float d = half(block);
    const uint8_t* q = bytes(block + 2);
    for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>((q[i] & 15) - 8);
    for (int i = 0; i < 16; ++i) out[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
  }
  // Two codes a byte: the first 16 numbers are the low ones.
  static void coded(float* out, const std::byte* codes, float d, const float* values) {
    const uint8_t* q = bytes(codes);
    for (int i = 0; i < 16; ++i) out[i] = d * values[q[i] & 15];
    for (int i = 0; i < 16; ++i) out[i + 16] = d * values[q[i] >> 4];
  }
  static constexpr float kFp4[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                     -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  static void iq4_nl(float* out, const std::byte* block) {
    constexpr float kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
    coded(out, block + 2, half(block), kValues);
  }
  static void mxfp4(float* out, const std::byte* block) {
    const uint8_t e = bytes(block)[0];
    const uint32_t bits =
        e == 0 ? 1u << 22 : static_cast<uint32_t>(e) << 23;  // 2^-127 is subnormal
    float d;
    __builtin_memcpy(&d, &bits, 4);
    coded(out, block + 1, d, kFp4);
  }
  static void q45_k(float* out, const std::byte* block, bool five) {
    const float d = half(block);
    const float dmin = half(block + 2);
    const uint8_t* packed = bytes(block + 4);
    const uint8_t* high = bytes(block + 16);
    const uint8_t* low = bytes(block + (five ? 48 : 16));
    for (int j = 0; j < 8; ++j) {
      const int s = j < 4 ? packed[j] & 63 : (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
      const int m = j < 4 ? packed[j + 4] & 63 : packed[j + 4] >> 4 | (packed[j] >> 6) << 4;
      const float ds = d * static_cast<float>(s);
      const float dm = dmin * static_cast<float>(m);
      const uint8_t* q = low + j / 2 * 32;
      const int shift = j % 2 * 4;
      float* to = out + j * 32;
      if (five) {
        for (int i = 0; i < 32; ++i) {
          to[i] = ds * static_cast<float>((q[i] >> shift & 15) | (high[i] >> j & 1) << 4) - dm;
        }
      } else {
        for (int i = 0; i < 32; ++i) to[i] = ds * static_cast<float>(q[i] >> shift & 15) - dm;
      }
    }
  }
  static void q6_k(float* out, const std::byte* block) {
    const float d = half(block + 208);
    const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
    for (int h = 0; h < 2; ++h) {
      const uint8_t* low = bytes(block + h * 64);
      const uint8_t* high = bytes(block + 128 + h * 32);
      for (int part = 0; part < 4; ++part) {
        const uint8_t* q = low + part % 2 * 32;
        const int shift = part / 2 * 4;
        for (int g = 0; g < 2; ++g) {
          const float ds = d * static_cast<float>(scales[h * 8 + part * 2 + g]);
          float* to = out + h * 128 + part * 32 + g * 16;
          for (int i = 0; i < 16; ++i) {
            const int v = (q[g * 16 + i] >> shift & 15) | (high[g * 16 + i] >> (part * 2) & 3) << 4;
            to[i] = ds * static_cast<float>(v - 32);
          }
        }
      }
    }
  }
  template <class L>
  static void plain(float* out, const std::byte* row, int64_t n) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) V::store(out + i, L::load(row + i * L::kBytes));
    if (i < n) store_tail(out + i, load_tail<L>(row + i * L::kBytes, n - i), n - i);
  }
  struct E4m3 {
    static constexpr int kBytes = 1;
    static F load(const std::byte* p) { return V::from_e4m3(p); }
  };
  struct Int8 {
    static constexpr int kBytes = 1;
    static F load(const std::byte* p) { return V::from_i8(p); }
  };
  template <class Body>
  static void blocks(float* out, const std::byte* row, int64_t n, int elems, int block_bytes,
                     Body body) {
    for (int64_t i = 0; i < n / elems; ++i) body(out + i * elems, row + i * block_bytes);
  }
  // False for the types that are left to the reference.
  static bool dequantize(float* out, DType dtype, const std::byte* row, int64_t n) {
    switch (dtype) {
      case DType::f32: plain<F32>(out, row, n); return true;
      case DType::f16: plain<F16>(out, row, n); return true;
      case DType::bf16: plain<Bf16>(out, row, n); return true;
      case DType::f8_e4m3: plain<E4m3>(out, row, n); return true;
      case DType::i8: plain<Int8>(out, row, n); return true;
      case DType::f4_e2m1: {
        const uint8_t* q = bytes(row);
        for (int64_t i = 0; i < n / 2; ++i) {
          out[2 * i] = kFp4[q[i] & 15];
          out[2 * i + 1] = kFp4[q[i] >> 4];
        }
        return true;
      }
      case DType::q8_0: blocks(out, row, n, 32, 34, q8_0); return true;
      case DType::q4_0: blocks(out, row, n, 32, 18, q4_0); return true;
      case DType::iq4_nl: blocks(out, row, n, 32, 18, iq4_nl); return true;
      case DType::mxfp4: blocks(out, row, n, 32, 17, mxfp4); return true;
      case DType::q4_k:
        blocks(out, row, n, 256, 144, [](float* to, const std::byte* b) { q45_k(to, b, false); });
        return true;
      case DType::q5_k:
        blocks(out, row, n, 256, 176, [](float* to, const std::byte* b) { q45_k(to, b, true); });
        return true;
      case DType::q6_k: blocks(out, row, n, 256, 210, q6_k); return true;
      default: return false;
    }
  }
};

}  // namespace hadal::kernels::cpu::x86
