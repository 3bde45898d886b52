// AVX-512 with VNNI. See NOTES.md for what bounds the q8_0 product.

#include <immintrin.h>

#include "kernels/cpu/x86/impl.h"
#include "kernels/cpu/x86/packed_impl.h"

namespace hadal::kernels::cpu {
namespace {

struct V {
  using F = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kTokens = 6;
  static constexpr int kRows = 4;
  static constexpr int kPackedTokens = 16;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float v) { return _mm512_set1_ps(v); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F round(F a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F times_two_to(F a, F n) { return _mm512_scalef_ps(a, n); }
  static F exp_or_zero(F x, F e) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3f), _CMP_GE_OQ), e);
  }
  static float sum(F a) { return _mm512_reduce_add_ps(a); }
  static float largest(F a) { return _mm512_reduce_max_ps(a); }
  static float first(F a) { return _mm512_cvtss_f32(a); }
  static F from_f16(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F from_bf16(const std::byte* p) {
    const __m512i wide =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static F from_i8(const std::byte* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F from_e4m3(const std::byte* p) {
    const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m512i magnitude = _mm512_slli_epi32(_mm512_and_si512(v, _mm512_set1_epi32(0x7F)), 20);
    const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(v, _mm512_set1_epi32(0x80)), 24);
    // Exponent bias 7 in a place of bias 127: the product puts it right, subnormals included.
    const F value = _mm512_mul_ps(_mm512_castsi512_ps(magnitude), _mm512_set1_ps(0x1p120f));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(value), sign));
  }
  static void to_f16(std::byte* p, F v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static void to_bf16(std::byte* p, F v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }
  // Rounds to int8, returns the sum.
  static int32_t to_i8(int8_t* p, F v) {
    const __m512i wide = _mm512_cvtps_epi32(v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(wide));
    return _mm512_reduce_add_epi32(wide);
  }
  static void prefetch(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }

  // ---- integers: words of four bytes ----
  using I = __m512i;
  static I iload(const std::byte* p) { return _mm512_loadu_si512(p); }
  static I izero() { return _mm512_setzero_si512(); }
  static I word(const std::byte* p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
  }
  static I words(uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
  static I bytes(int v) { return _mm512_set1_epi8(static_cast<char>(v)); }
  static I and_(I a, I b) { return _mm512_and_si512(a, b); }
  static I or_(I a, I b) { return _mm512_or_si512(a, b); }
  // Bits cross byte borders: mask afterwards. A negative N shifts left.
  template <int N>
  static I shift_right(I v) {
    if constexpr (N >= 0) return _mm512_srli_epi16(v, N);
    return _mm512_slli_epi16(v, N < 0 ? -N : 0);
  }
  static I low_nibbles(I v) { return and_(v, bytes(15)); }
  static I high_nibbles(I v) { return and_(_mm512_srli_epi16(v, 4), bytes(15)); }
  static I f4_plus_12(I code) {
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), code);
  }
  // As signed_weights gives them: the value + 128.
  static I iq4_nl(I code) {
    const __m128i table =
        _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), code);
  }
  static F as_float(I v) { return _mm512_castsi512_ps(v); }
  static F to_float(I v) { return _mm512_cvtepi32_ps(v); }
  static I word_shift_left_16(I v) { return _mm512_slli_epi32(v, 16); }
  // Byte S of every word as E4M3; see from_e4m3.
  template <int S>
  static F e4m3_at(I v) {
    const I top = _mm512_srai_epi32(_mm512_slli_epi32(v, 24 - 8 * S), 4);
    return _mm512_mul_ps(as_float(and_(top, words(0x87F00000u))), _mm512_set1_ps(0x1p120f));
  }
  static F from_u8(const std::byte* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  // 0 becomes 0 rather than 2^-127.
  static F from_e8m0(const std::byte* p) {
    const I v = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return as_float(_mm512_slli_epi32(v, 23));
  }
  // sum += four products of unsigned weights with signed activations, per word.
  static I dot(I sum, I w, I x) { return _mm512_dpbusd_epi32(sum, w, x); }
  // Signed weights go in as w + 128 (the top bit flipped), and the sum starts at what that adds
  // too much.
  static I signed_weights(I w) { return _mm512_xor_si512(w, bytes(0x80)); }
  static I start(const std::byte* bias) { return word(bias); }
  static I dot_signed(I sum, I w, I x) { return dot(sum, w, x); }
};

using Impl = x86::Impl<V>;
using Packed = x86::Packed<V>;

// The 32 weights of a block, as w + 128.
__m256i weights(const std::byte* block) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
}

// Two neighbouring blocks of one row: their 64 products, scaled, added to `sum`.
// dpbusd wants one operand unsigned: w + 128 (flip the top bit). What that adds too much, 128 *
// sum(x), is known per block of x and goes in as the start value.
__m512 two_blocks(const std::byte* block, __m512i x, __m512i start, __m512 x_scale, __m512 sum) {
  const __m512i w =
      _mm512_inserti64x4(_mm512_castsi256_si512(weights(block)), weights(block + 34), 1);
  const __m512i shifted = _mm512_xor_si512(w, _mm512_set1_epi8(static_cast<char>(0x80)));
  const __m512 products = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start, shifted, x));
  uint16_t d0 = 0;
  uint16_t d1 = 0;
  __builtin_memcpy(&d0, block, 2);
  __builtin_memcpy(&d1, block + 34, 2);
  const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(d0 | d1 << 16));
  const __m512i which = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m512 w_scale = _mm512_permutexvar_ps(which, _mm512_castps128_ps512(d));
  return _mm512_fmadd_ps(products, _mm512_mul_ps(w_scale, x_scale), sum);
}

__m512 one_block(const std::byte* block, const Q8Row& x, int64_t b, __m512 sum) {
  const __m512i w = _mm512_zextsi256_si512(
      _mm256_xor_si256(weights(block), _mm256_set1_epi8(static_cast<char>(0x80))));
  const __m512i q =
      _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.q + b * 32)));
  const __m512i start = _mm512_zextsi128_si512(_mm_cvtsi32_si128(x.bias[b]));
  const __m512 products = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start, w, q));
  return _mm512_fmadd_ps(products, _mm512_set1_ps(Impl::half(block) * x.scale[b]), sum);
}

template <int R>
void rows_q8_0(float* out, const std::byte* rows, int64_t row_bytes, const Q8Row& x, int64_t k) {
  constexpr int64_t kAhead = 1024;
  __m512 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = _mm512_setzero_ps();
  const int64_t blocks = k / 32;
  const __m512i which = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  int64_t b = 0;
  for (; b + 2 <= blocks; b += 2) {
    const __m512i q = _mm512_loadu_si512(x.q + b * 32);
    const __m128i bias = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x.bias + b));
    const __m128 scale =
        _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x.scale + b)));
    // The start values sit in one lane of each half: lanes 0 and 8.
    const __m512i start =
        _mm512_maskz_permutexvar_epi32(0x0101, which, _mm512_castsi128_si512(bias));
    const __m512 x_scale = _mm512_permutexvar_ps(which, _mm512_castps128_ps512(scale));
    for (int r = 0; r < R; ++r) {
      const std::byte* block = rows + r * row_bytes + b * 34;
      V::prefetch(block + kAhead);
      sum[r] = two_blocks(block, q, start, x_scale, sum[r]);
    }
  }
  for (; b < blocks; ++b) {
    for (int r = 0; r < R; ++r) sum[r] = one_block(rows + r * row_bytes + b * 34, x, b, sum[r]);
  }
  for (int r = 0; r < R; ++r) out[r] = _mm512_reduce_add_ps(sum[r]);
}

void gemv_q8_0(float* out, const std::byte* rows, int64_t row_bytes, int64_t count, const Q8Row& x,
               int64_t k) {
  int64_t r = 0;
  for (; r + 4 <= count; r += 4) rows_q8_0<4>(out + r, rows + r * row_bytes, row_bytes, x, k);
  for (; r < count; ++r) rows_q8_0<1>(out + r, rows + r * row_bytes, row_bytes, x, k);
}

void dequantize(float* out, DType dtype, const std::byte* row, int64_t n) {
  if (!Impl::dequantize(out, dtype, row, n)) ref_table().dequantize(out, dtype, row, n);
}

constexpr Table kTable = {
    .name = "avx512",
    .dot = Impl::dot,
    .axpy = Impl::axpy,
    .dequantize = dequantize,
    .gemv = Impl::gemv,
    .gemv_q8_0 = gemv_q8_0,
    .quantize_q8 = Impl::quantize_q8,
    .gemm = Impl::gemm,
    .gemm_add = Impl::gemm_add,
    .sum_squares = Impl::sum_squares,
    .scale = Impl::scale,
    .exp_sum = Impl::exp_sum,
    .max = Impl::max,
    .swiglu = Impl::swiglu,
    .store_kv = Impl::store_kv,
    .packed_q8 = Packed::packed_q8,
    .packed_f32 = Packed::packed_f32,
    .quantize_token = Packed::quantize_token,
    .quantize_whole_token = Packed::quantize_whole_token,
};

}  // namespace

const Table* avx512_table() {
  const bool able = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vnni");
  return able ? &kTable : nullptr;
}

}  // namespace hadal::kernels::cpu
