// AVX2 with FMA and F16C: what every x86 server and laptop of the last ten years has.

#include <cpuid.h>
#include <immintrin.h>

#include "kernels/cpu/x86/impl.h"
#include "kernels/cpu/x86/packed_impl.h"

namespace hadal::kernels::cpu {
namespace {

struct V {
  using F = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kTokens = 3;
  static constexpr int kRows = 4;
  static constexpr int kPackedTokens = 4;

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float v) { return _mm256_set1_ps(v); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F times_two_to(F a, F n) {
    // exp keeps n in [-126, 127]; the exponent field is then in range.
    const __m256i exponent =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(exponent));
  }
  static F exp_or_zero(F x, F e) {
    return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_GE_OQ), e);
  }
  static float sum(F a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float largest(F a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
  static float first(F a) { return _mm256_cvtss_f32(a); }
  static F from_f16(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F from_bf16(const std::byte* p) {
    const __m256i wide =
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static F from_i8(const std::byte* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static F from_e4m3(const std::byte* p) {
    const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i magnitude = _mm256_slli_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0x7F)), 20);
    const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0x80)), 24);
    // Exponent bias 7 in a place of bias 127: the product puts it right, subnormals included.
    const F value = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p120f));
    return _mm256_or_ps(value, _mm256_castsi256_ps(sign));
  }
  static void to_f16(std::byte* p, F v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static void to_bf16(std::byte* p, F v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i out = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(out, out), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  // Rounds to int8, returns the sum.
  static int32_t to_i8(int8_t* p, F v) {
    alignas(32) int32_t wide[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(wide), _mm256_cvtps_epi32(v));
    int32_t total = 0;
    for (int i = 0; i < 8; ++i) {
      p[i] = static_cast<int8_t>(wide[i]);
      total += wide[i];
    }
    return total;
  }
  static void prefetch(const std::byte* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
  }

  // ---- integers: words of four bytes ----
  using I = __m256i;
  static I iload(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static I izero() { return _mm256_setzero_si256(); }
  static I word(const std::byte* p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
  }
  static I words(uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
  static I bytes(int v) { return _mm256_set1_epi8(static_cast<char>(v)); }
  static I and_(I a, I b) { return _mm256_and_si256(a, b); }
  static I or_(I a, I b) { return _mm256_or_si256(a, b); }
  // Bits cross byte borders: mask afterwards. A negative N shifts left.
  template <int N>
  static I shift_right(I v) {
    if constexpr (N >= 0) return _mm256_srli_epi16(v, N);
    return _mm256_slli_epi16(v, N < 0 ? -N : 0);
  }
  static I low_nibbles(I v) { return and_(v, bytes(15)); }
  static I high_nibbles(I v) { return and_(_mm256_srli_epi16(v, 4), bytes(15)); }
  static I f4_plus_12(I code) {
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), code);
  }
  // As signed_weights gives them.
  static I iq4_nl(I code) {
    const __m128i table =
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), code);
  }
  static F as_float(I v) { return _mm256_castsi256_ps(v); }
  static F to_float(I v) { return _mm256_cvtepi32_ps(v); }
  static I word_shift_left_16(I v) { return _mm256_slli_epi32(v, 16); }
  // Byte S of every word as E4M3; see from_e4m3.
  template <int S>
  static F e4m3_at(I v) {
    const I top = _mm256_srai_epi32(_mm256_slli_epi32(v, 24 - 8 * S), 4);
    return _mm256_mul_ps(as_float(and_(top, words(0x87F00000u))), _mm256_set1_ps(0x1p120f));
  }
  static F from_u8(const std::byte* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  // 0 becomes 0 rather than 2^-127.
  static F from_e8m0(const std::byte* p) {
    const I v = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return as_float(_mm256_slli_epi32(v, 23));
  }
  // sum += four products of unsigned weights with signed activations, per word. The 16-bit sums of
  // two products hold because unsigned weights are at most 63 here: 2 * 63 * 127 < 2^15.
  static I dot(I sum, I w, I x) {
    const I pairs = _mm256_maddubs_epi16(w, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  // maddubs wants one operand unsigned: |w|, with w's sign moved to x: 2 * 128 * 127 < 2^15.
  static I signed_weights(I w) { return w; }
  static I start(const std::byte*) { return izero(); }
  static I dot_signed(I sum, I w, I x) {
    return dot(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }
};

using Impl = x86::Impl<V>;
using Packed = x86::Packed<V>;

// maddubs wants one operand unsigned: |w|, with w's sign moved to x. |w| * x * 2 stays below 2^15
// because x is at most 127.
__m256 block_q8_0(const std::byte* block, __m256i x, float x_scale, __m256 sum) {
  const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  const __m256 products = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  uint16_t d = 0;
  __builtin_memcpy(&d, block, 2);
  const __m256 scale = _mm256_set1_ps(_cvtsh_ss(d) * x_scale);
  return _mm256_fmadd_ps(products, scale, sum);
}

template <int R>
void rows_q8_0(float* out, const std::byte* rows, int64_t row_bytes, const Q8Row& x, int64_t k) {
  constexpr int64_t kAhead = 1024;
  __m256 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = _mm256_setzero_ps();
  for (int64_t b = 0; b < k / 32; ++b) {
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.q + b * 32));
    for (int r = 0; r < R; ++r) {
      const std::byte* block = rows + r * row_bytes + b * 34;
      V::prefetch(block + kAhead);
      sum[r] = block_q8_0(block, q, x.scale[b], sum[r]);
    }
  }
  for (int r = 0; r < R; ++r) out[r] = V::sum(sum[r]);
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
    .name = "avx2",
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

const Table* avx2_table() {
  // Clang 16 does not know "f16c" by name: it is bit 29 of leaf 1's ecx. Source: Intel SDM, CPUID.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 29 & 1) != 0;
  const bool able = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return able ? &kTable : nullptr;
}

}  // namespace hadal::kernels::cpu
