#pragma once

// Products of packed weights (kernels/cpu/packed.h) with activations, written once over a vector
// type V, as impl.h is. A tile's 16 rows are kHalves registers of kLanes rows; the loops run one
// half at a time. A block of 32 weights is eight registers of four neighbouring k per row, each
// multiplied with the same four activations of a token.
//
// Long because the dispatch at the end needs every type's loop in one struct.
//
// V: F and I (a register of kLanes floats or words), kPackedTokens (tokens whose accumulators fit
// the registers), and the static functions used below.

#include "kernels/cpu/packed.h"
#include "kernels/cpu/table.h"

#define HADAL_INLINE __attribute__((always_inline))

namespace hadal::kernels::cpu::x86 {

template <class V>
struct Packed {
  using F = typename V::F;
  using I = typename V::I;
  static constexpr int kLanes = V::kLanes;
  static constexpr int kHalves = kTileRows / kLanes;
  static constexpr int64_t kVector = 64;
  // How far ahead of its use a tile is fetched: a page, measured best for one stream a core.
  static constexpr int64_t kAhead = 4096;

  // body(0) ... body(N - 1), unrolled: arrays indexed by it stay in registers.
  template <int N, class Body>
  static HADAL_INLINE void repeat(Body&& body) {
    if constexpr (N > 0) {
      repeat<N - 1>(body);
      body(N - 1);
    }
  }

  // Four neighbouring k of this half's rows.
  static HADAL_INLINE I vector(const std::byte* vectors, int i, int half) {
    const std::byte* p = vectors + i * kVector + half * kLanes * 4;
    if (half == 0) V::prefetch(p + kAhead);
    return V::iload(p);
  }
  static HADAL_INLINE F halves(const std::byte* p, int half) {
    return V::from_f16(p + half * kLanes * 2);
  }

  // ---- how each type becomes eight registers of weights ----
  // run() calls body(block, w, scale, less): row values are scale * w - less, in integers w.

  struct Q8 {
    static constexpr bool kSigned = true;
    template <class Body>
    static HADAL_INLINE void run(const std::byte* tile, int64_t k, int half, Body&& body) {
      for (int64_t b = 0; b < k / 32; ++b) {
        const std::byte* unit = tile + b / 2 * 17 * kVector;
        const std::byte* v = unit + kVector + b % 2 * 8 * kVector;
        I w[8];
        repeat<8>([&](int j) HADAL_INLINE { w[j] = V::signed_weights(vector(v, j, half)); });
        body(b, w, halves(unit + b % 2 * 32, half), V::zero());
      }
    }
  };

  struct Q4 {
    static constexpr bool kSigned = false;
    template <class Body>
    static HADAL_INLINE void run(const std::byte* tile, int64_t k, int half, Body&& body) {
      for (int64_t b = 0; b < k / 32; ++b) {
        const std::byte* unit = tile + b / 2 * 9 * kVector;
        const std::byte* v = unit + kVector + b % 2 * 4 * kVector;
        I w[8];
        repeat<4>([&](int j) HADAL_INLINE {
          const I both = vector(v, j, half);
          w[j] = V::low_nibbles(both);
          w[j + 4] = V::high_nibbles(both);
        });
        const F d = halves(unit + b % 2 * 32, half);
        body(b, w, d, V::mul(d, V::set1(8)));
      }
    }
  };

  // As q4_0, with a table of signed values.
  struct I4 {
    static constexpr bool kSigned = true;
    template <class Body>
    static HADAL_INLINE void run(const std::byte* tile, int64_t k, int half, Body&& body) {
      for (int64_t b = 0; b < k / 32; ++b) {
        const std::byte* unit = tile + b / 2 * 9 * kVector;
        const std::byte* v = unit + kVector + b % 2 * 4 * kVector;
        I w[8];
        repeat<4>([&](int j) HADAL_INLINE {
          const I both = vector(v, j, half);
          w[j] = V::iq4_nl(V::low_nibbles(both));
          w[j + 4] = V::iq4_nl(V::high_nibbles(both));
        });
        body(b, w, halves(unit + b % 2 * 32, half), V::zero());
      }
    }
  };

  // The values are halves: looked up as 2 v + 12, which is 0 to 24.
  struct F4 {
    static constexpr bool kSigned = false;
    template <class Body>
    static HADAL_INLINE void run(const std::byte* tile, int64_t k, int half, Body&& body) {
      for (int64_t b = 0; b < k / 32; ++b) {
        const std::byte* unit = tile + b / 4 * 17 * kVector;
        const std::byte* v = unit + kVector + b % 4 * 4 * kVector;
        I w[8];
        repeat<4>([&](int j) HADAL_INLINE {
          const I both = vector(v, j, half);
          w[j] = V::f4_plus_12(V::low_nibbles(both));
          w[j + 4] = V::f4_plus_12(V::high_nibbles(both));
        });
        const F half_scale = V::mul(V::from_e8m0(unit + b % 4 * 16 + half * kLanes), V::set1(0.5f));
        body(b, w, half_scale, V::mul(half_scale, V::set1(12)));
      }
    }
  };

  template <bool kFive>
  struct Q45K {
    static constexpr bool kSigned = false;
    // Block s of the unit: the nibbles of pair s / 2, and the fifth bits at bit s.
    template <int S, class Body>
    static HADAL_INLINE void block(const std::byte* unit, int64_t u, F d, F dmin, int half,
                                   Body&& body) {
      const std::byte* high = unit + 5 * kVector;
      const std::byte* low = high + ((kFive ? 8 : 0) + S / 2 * 8) * kVector;
      I w[8];
      repeat<8>([&](int j) HADAL_INLINE {
        const I both = vector(low, j, half);
        w[j] = S % 2 == 0 ? V::low_nibbles(both) : V::high_nibbles(both);
        if constexpr (kFive) {
          const I bits = V::iload(high + j * kVector + half * kLanes * 4);
          w[j] = V::or_(w[j], V::and_(V::template shift_right<S - 4>(bits), V::bytes(16)));
        }
      });
      const std::byte* scales = unit + kVector + S * 32 + half * kLanes;
      body(u * 8 + S, w, V::mul(d, V::from_u8(scales)), V::mul(dmin, V::from_u8(scales + 16)));
    }
    template <class Body>
    static HADAL_INLINE void run(const std::byte* tile, int64_t k, int half, Body&& body) {
      for (int64_t u = 0; u < k / 256; ++u) {
        const std::byte* unit = tile + u * (kFive ? 45 : 37) * kVector;
        const F d = halves(unit, half);
        const F dmin = halves(unit + 32, half);
        block<0>(unit, u, d, dmin, half, body);
        block<1>(unit, u, d, dmin, half, body);
        block<2>(unit, u, d, dmin, half, body);
        block<3>(unit, u, d, dmin, half, body);
        block<4>(unit, u, d, dmin, half, body);
        block<5>(unit, u, d, dmin, half, body);
        block<6>(unit, u, d, dmin, half, body);
        block<7>(unit, u, d, dmin, half, body);
      }
    }
  };

  // ---- blocked types: integer products ----

  static HADAL_INLINE F number(const std::byte* p) {
    float v;
    __builtin_memcpy(&v, p, 4);
    return V::set1(v);
  }

  // `tokens` <= T of a group of g, from token t0 on, with the 16 rows of a tile.
  template <class Type, int T>
  static void blocked(float* out, int64_t ldo, const std::byte* tile, const std::byte* x, int64_t g,
                      int64_t t0, int64_t tokens, int64_t k) {
    for (int half = 0; half < kHalves; ++half) {
      F acc[T];
      repeat<T>([&](int t) HADAL_INLINE { acc[t] = V::zero(); });
      Type::run(tile, k, half, [&](int64_t b, const I(&w)[8], F scale, F less) HADAL_INLINE {
        const std::byte* q = x + b * kGroupBlockBytes * g + t0 * 32;
        const std::byte* numbers = x + (b * kGroupBlockBytes + 32) * g + t0 * 4;
        repeat<T>([&](int t) HADAL_INLINE {
          I sum = Type::kSigned ? V::start(numbers + 4 * g + t * 4) : V::izero();
          repeat<8>([&](int j) HADAL_INLINE {
            const I word = V::word(q + t * 32 + j * 4);
            sum = Type::kSigned ? V::dot_signed(sum, w[j], word) : V::dot(sum, w[j], word);
          });
          acc[t] = V::fma(V::to_float(sum), V::mul(scale, number(numbers + t * 4)), acc[t]);
          if constexpr (!Type::kSigned)
            acc[t] = V::fnma(less, number(numbers + 8 * g + t * 4), acc[t]);
        });
      });
      repeat<T>([&](int t) HADAL_INLINE {
        if (t < tokens) V::store(out + t * ldo + half * kLanes, acc[t]);
      });
    }
  }

  // i8: a row and a token have one scale each, so the whole product is one sum of integers.
  template <int T>
  static void whole_rows(float* out, int64_t ldo, const std::byte* tile, const std::byte* x,
                         int64_t g, int64_t t0, int64_t tokens, int64_t k) {
    const std::byte* first = x + 32 * g + t0 * 4;
    for (int half = 0; half < kHalves; ++half) {
      I acc[T];
      repeat<T>([&](int t) HADAL_INLINE { acc[t] = V::start(first + 4 * g + t * 4); });
      for (int64_t b = 0; b < k / 32; ++b) {
        const std::byte* v = tile + b * 8 * kVector;
        I w[8];
        repeat<8>([&](int j) HADAL_INLINE { w[j] = V::signed_weights(vector(v, j, half)); });
        const std::byte* q = x + b * kGroupBlockBytes * g + t0 * 32;
        repeat<T>([&](int t) HADAL_INLINE {
          repeat<8>([&](int j) HADAL_INLINE {
            acc[t] = V::dot_signed(acc[t], w[j], V::word(q + t * 32 + j * 4));
          });
        });
      }
      const auto* scales = reinterpret_cast<const float*>(tile + k / 4 * kVector);
      const F scale = V::load(scales + half * kLanes);
      repeat<T>([&](int t) HADAL_INLINE {
        const F sum = V::mul(V::to_float(acc[t]), V::mul(scale, number(first + t * 4)));
        if (t < tokens) V::store(out + t * ldo + half * kLanes, sum);
      });
    }
  }

  // q6_k has a scale per 16 weights: two sums a block. Weights are scale * (w - 32).
  template <int S, int T>
  static HADAL_INLINE void q6_block(F (&acc)[T], const std::byte* unit, F d, const std::byte* x,
                                    int64_t g, int64_t t0, int64_t b, int half) {
    constexpr int kPart = S % 4;
    const std::byte* bits = unit + (5 + S / 4 * 24) * kVector;
    const std::byte* low = bits + (8 + kPart % 2 * 8) * kVector;
    I w[8];
    repeat<8>([&](int j) HADAL_INLINE {
      const I both = vector(low, j, half);
      const I pair = V::iload(bits + j * kVector + half * kLanes * 4);
      w[j] = V::or_(kPart < 2 ? V::low_nibbles(both) : V::high_nibbles(both),
                    V::and_(V::template shift_right<2 * kPart - 4>(pair), V::bytes(0x30)));
    });
    const std::byte* scales = unit + kVector + S * 32 + half * kLanes;
    const F s0 = V::mul(d, V::from_i8(scales));
    const F s1 = V::mul(d, V::from_i8(scales + 16));
    const F less0 = V::mul(s0, V::set1(32));
    const F less1 = V::mul(s1, V::set1(32));
    const std::byte* q = x + b * kGroupBlockBytes * g + t0 * 32;
    const std::byte* numbers = x + (b * kGroupBlockBytes + 32) * g + t0 * 4;
    repeat<T>([&](int t) HADAL_INLINE {
      I a = V::izero();
      I c = V::izero();
      repeat<4>([&](int j) HADAL_INLINE {
        a = V::dot(a, w[j], V::word(q + t * 32 + j * 4));
        c = V::dot(c, w[j + 4], V::word(q + t * 32 + 16 + j * 4));
      });
      const F sum = V::fma(V::to_float(a), s0, V::mul(V::to_float(c), s1));
      acc[t] = V::fma(sum, number(numbers + t * 4), acc[t]);
      acc[t] = V::fnma(less0, number(numbers + 12 * g + t * 4), acc[t]);
      acc[t] = V::fnma(less1, number(numbers + 16 * g + t * 4), acc[t]);
    });
  }
  struct Q6K {};
  template <int T>
  static void blocked_q6(float* out, int64_t ldo, const std::byte* tile, const std::byte* x,
                         int64_t g, int64_t t0, int64_t tokens, int64_t k) {
    for (int half = 0; half < kHalves; ++half) {
      F acc[T];
      repeat<T>([&](int t) HADAL_INLINE { acc[t] = V::zero(); });
      for (int64_t u = 0; u < k / 256; ++u) {
        const std::byte* unit = tile + u * 53 * kVector;
        const F d = halves(unit, half);
        q6_block<0>(acc, unit, d, x, g, t0, u * 8 + 0, half);
        q6_block<1>(acc, unit, d, x, g, t0, u * 8 + 1, half);
        q6_block<2>(acc, unit, d, x, g, t0, u * 8 + 2, half);
        q6_block<3>(acc, unit, d, x, g, t0, u * 8 + 3, half);
        q6_block<4>(acc, unit, d, x, g, t0, u * 8 + 4, half);
        q6_block<5>(acc, unit, d, x, g, t0, u * 8 + 5, half);
        q6_block<6>(acc, unit, d, x, g, t0, u * 8 + 6, half);
        q6_block<7>(acc, unit, d, x, g, t0, u * 8 + 7, half);
      }
      repeat<T>([&](int t) HADAL_INLINE {
        if (t < tokens) V::store(out + t * ldo + half * kLanes, acc[t]);
      });
    }
  }

  // ---- plain types: f32 products ----

  static constexpr int kPlainTokens = V::kPackedTokens < 8 ? V::kPackedTokens : 8;

  struct F32 {
    static constexpr int kStep = 1;
    static constexpr int kStepBytes = 64;
    static HADAL_INLINE void load(const std::byte* p, int half, F (&w)[kStep]) {
      w[0] = V::load(reinterpret_cast<const float*>(p) + half * kLanes);
    }
  };
  struct F16 {
    static constexpr int kStep = 1;
    static constexpr int kStepBytes = 32;
    static HADAL_INLINE void load(const std::byte* p, int half, F (&w)[kStep]) {
      w[0] = halves(p, half);
    }
  };
  struct Bf16 {
    static constexpr int kStep = 2;
    static constexpr int kStepBytes = 64;
    static HADAL_INLINE void load(const std::byte* p, int half, F (&w)[kStep]) {
      const I pair = V::iload(p + half * kLanes * 4);
      w[0] = V::as_float(V::word_shift_left_16(pair));
      w[1] = V::as_float(V::and_(pair, V::words(0xFFFF0000u)));
    }
  };
  struct E4m3 {
    static constexpr int kStep = 4;
    static constexpr int kStepBytes = 64;
    static HADAL_INLINE void load(const std::byte* p, int half, F (&w)[kStep]) {
      const I four = V::iload(p + half * kLanes * 4);
      w[0] = V::template e4m3_at<0>(four);
      w[1] = V::template e4m3_at<1>(four);
      w[2] = V::template e4m3_at<2>(four);
      w[3] = V::template e4m3_at<3>(four);
    }
  };

  // One half of a tile over `k` columns. x [k][g]. Two sums per row and token, over even and odd k,
  // whatever the number of tokens: a token's numbers then do not depend on how many others there
  // are. One sum would make a single token wait for its own additions.
  template <class L, int T>
  static HADAL_INLINE void plain_sum(F (&sum)[T], const std::byte* tile, const float* x, int64_t g,
                                     int64_t k, int half) {
    F odd[T];
    repeat<T>([&](int t) HADAL_INLINE { sum[t] = odd[t] = V::zero(); });
    constexpr int kSteps = L::kStep == 1 ? 2 : 1;
    const auto step = [&](int64_t i, int first) HADAL_INLINE {
      const std::byte* p = tile + i / L::kStep * L::kStepBytes;
      if (half == 0) V::prefetch(p + kAhead);
      F w[L::kStep];
      L::load(p, half, w);
      repeat<L::kStep>([&](int s) HADAL_INLINE {
        const float* from = x + (i + s) * g;
        repeat<T>([&](int t) HADAL_INLINE {
          F& to = (first + s) % 2 == 0 ? sum[t] : odd[t];
          to = V::fma(w[s], V::set1(from[t]), to);
        });
      });
    };
    int64_t i = 0;
    for (; i + kSteps * L::kStep <= k; i += kSteps * L::kStep)
      repeat<kSteps>([&](int s) HADAL_INLINE { step(i + s * L::kStep, s); });
    if (i < k) step(i, 0);
    repeat<T>([&](int t) HADAL_INLINE { sum[t] = V::add(sum[t], odd[t]); });
  }
  template <class L, int T>
  static void plain(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                    const float* x, int64_t g, int64_t tokens) {
    for (int half = 0; half < kHalves; ++half) {
      F total[T];
      plain_sum<L, T>(total, tile, x, g, w.k, half);
      repeat<T>([&](int t) HADAL_INLINE {
        if (t < tokens) V::store(out + t * ldo + half * kLanes, total[t]);
      });
    }
  }
  template <class L, int T>
  static void scaled(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                     const float* x, int64_t g, int64_t tokens) {
    const auto* scales = reinterpret_cast<const float*>(tile + w.k / L::kStep * L::kStepBytes);
    for (int half = 0; half < kHalves; ++half) {
      F total[T];
      repeat<T>([&](int t) HADAL_INLINE { total[t] = V::zero(); });
      for (int64_t c = 0, b = 0; c < w.k; c += w.scale_cols, ++b) {
        const int64_t n = w.k - c < w.scale_cols ? w.k - c : w.scale_cols;
        F sum[T];
        plain_sum<L, T>(sum, tile + c / L::kStep * L::kStepBytes, x + c * g, g, n, half);
        const F scale = V::load(scales + b * kTileRows + half * kLanes);
        repeat<T>([&](int t) HADAL_INLINE { total[t] = V::fma(sum[t], scale, total[t]); });
      }
      repeat<T>([&](int t) HADAL_INLINE {
        if (t < tokens) V::store(out + t * ldo + half * kLanes, total[t]);
      });
    }
  }

  // ---- dispatch ----

  // Calls body<T>(t0, tokens) for pieces of a group, T as small as holds them. Reading past the
  // last token is allowed, storing is not.
  template <int kMost, class Body>
  static HADAL_INLINE void pieces(int64_t g, Body&& body) {
    for (int64_t t0 = 0; t0 < g; t0 += kMost) {
      const int64_t n = g - t0 < kMost ? g - t0 : kMost;
      if (n == 1) {
        body.template operator()<1>(t0, n);
      } else if (n == 2) {
        body.template operator()<2>(t0, n);
      } else if (n <= 4 || kMost == 4) {
        body.template operator()<4>(t0, n);
      } else if (n <= 8 || kMost == 8) {
        body.template operator()<(kMost < 8 ? kMost : 8)>(t0, n);
      } else if (n <= 12) {
        body.template operator()<(kMost < 12 ? kMost : 12)>(t0, n);
      } else {
        body.template operator()<kMost>(t0, n);
      }
    }
  }

  template <class Type>
  static void blocked_group(float* out, int64_t ldo, const std::byte* tile, const std::byte* x,
                            int64_t g, int64_t k) {
    pieces<V::kPackedTokens>(g, [&]<int T>(int64_t t0, int64_t n) {
      blocked<Type, T>(out + t0 * ldo, ldo, tile, x, g, t0, n, k);
    });
  }

  static void packed_q8(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                        const std::byte* x, int64_t g) {
    switch (w.dtype) {
      case DType::q8_0: blocked_group<Q8>(out, ldo, tile, x, g, w.k); break;
      case DType::q4_0: blocked_group<Q4>(out, ldo, tile, x, g, w.k); break;
      case DType::iq4_nl: blocked_group<I4>(out, ldo, tile, x, g, w.k); break;
      case DType::mxfp4:
      case DType::f4_e2m1: blocked_group<F4>(out, ldo, tile, x, g, w.k); break;
      case DType::q4_k: blocked_group<Q45K<false>>(out, ldo, tile, x, g, w.k); break;
      case DType::q5_k: blocked_group<Q45K<true>>(out, ldo, tile, x, g, w.k); break;
      case DType::i8:
        pieces<V::kPackedTokens>(g, [&]<int T>(int64_t t0, int64_t n) {
          whole_rows<T>(out + t0 * ldo, ldo, tile, x, g, t0, n, w.k);
        });
        break;
      default:
        pieces<V::kPackedTokens>(g, [&]<int T>(int64_t t0, int64_t n) {
          blocked_q6<T>(out + t0 * ldo, ldo, tile, x, g, t0, n, w.k);
        });
    }
  }

  template <class L>
  static void plain_group(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                          const float* x, int64_t g) {
    pieces<kPlainTokens>(g, [&]<int T>(int64_t t0, int64_t n) {
      plain<L, T>(out + t0 * ldo, ldo, w, tile, x + t0, g, n);
    });
  }
  static void packed_f32(float* out, int64_t ldo, const PackedWeight& w, const std::byte* tile,
                         const float* x, int64_t g) {
    switch (w.dtype) {
      case DType::f32: plain_group<F32>(out, ldo, w, tile, x, g); break;
      case DType::f16: plain_group<F16>(out, ldo, w, tile, x, g); break;
      case DType::bf16: plain_group<Bf16>(out, ldo, w, tile, x, g); break;
      default:
        pieces<kPlainTokens>(g, [&]<int T>(int64_t t0, int64_t n) {
          scaled<E4m3, T>(out + t0 * ldo, ldo, w, tile, x + t0, g, n);
        });
    }
  }

  static HADAL_INLINE float largest_of(const float* x, int64_t n) {
    F largest = V::zero();
    for (int64_t i = 0; i < n; i += kLanes) largest = V::max(largest, V::abs(V::load(x + i)));
    return V::largest(largest);
  }

  // Block b of token t as 8-bit numbers of that scale; the sum of its numbers.
  static HADAL_INLINE int32_t put_block(std::byte* to, int64_t g, int64_t t, const float* x,
                                        float inverse, float scale) {
    auto* q = reinterpret_cast<int8_t*>(to + t * 32);
    int32_t sums[2] = {};
    for (int i = 0; i < 32; i += kLanes)
      sums[i / 16] += V::to_i8(q + i, V::mul(V::load(x + i), V::set1(inverse)));
    const int32_t sum = sums[0] + sums[1];
    const int32_t bias = -128 * sum;
    const float numbers[3] = {scale * static_cast<float>(sum), scale * static_cast<float>(sums[0]),
                              scale * static_cast<float>(sums[1])};
    std::byte* at = to + 32 * g + t * 4;
    __builtin_memcpy(at, &scale, 4);
    __builtin_memcpy(at + 4 * g, &bias, 4);
    __builtin_memcpy(at + 8 * g, &numbers[0], 4);
    __builtin_memcpy(at + 12 * g, &numbers[1], 4);
    __builtin_memcpy(at + 16 * g, &numbers[2], 4);
    return sum;
  }

  static void quantize_token(std::byte* group, int64_t g, int64_t t, const float* x, int64_t k) {
    for (int64_t b = 0; b < k / 32; ++b) {
      const float m = largest_of(x + b * 32, 32);
      put_block(group + b * kGroupBlockBytes * g, g, t, x + b * 32, m > 0 ? 127.0f / m : 0.0f,
                m / 127.0f);
    }
  }

  static void quantize_whole_token(std::byte* group, int64_t g, int64_t t, const float* x,
                                   int64_t k) {
    const float m = largest_of(x, k);
    int32_t sum = 0;
    for (int64_t b = 0; b < k / 32; ++b)
      sum += put_block(group + b * kGroupBlockBytes * g, g, t, x + b * 32,
                       m > 0 ? 127.0f / m : 0.0f, m / 127.0f);
    const int32_t bias = -128 * sum;
    __builtin_memcpy(group + 36 * g + t * 4, &bias, 4);
  }
};

}  // namespace hadal::kernels::cpu::x86
