#include "format/internal/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/rng.h"
#include "format/internal/blocks.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"

namespace hadal::format {
namespace {

/// The n-th word of a stream (SplitMix64 over a counter).
class Words {
 public:
  explicit Words(uint64_t stream) : state_(splitmix64(stream)) {}
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ull;
    uint64_t z = state_;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  void bytes(std::span<std::byte> out, uint64_t keep = ~uint64_t{0}, uint64_t add = 0,
             uint64_t set = 0) {
    size_t i = 0;
    for (; i + 8 <= out.size(); i += 8) store(out.data() + i, ((next() & keep) + add) | set);
    const uint64_t last = ((next() & keep) + add) | set;
    std::memcpy(out.data() + i, &last, out.size() - i);
  }

 private:
  uint64_t state_;
};

/// Repeats a value of `bits` bits through a word.
constexpr uint64_t lanes(uint64_t value, int bits) {
  uint64_t out = 0;
  for (int at = 0; at < 64; at += bits) out |= value << at;
  return out;
}

/// A floating-point type whose sign, two exponent bits and mantissa are random. With exponents
/// e .. e + 3 equally likely and mantissas in [1, 2), the root mean square is 7.04 * 2^e.
struct FloatLayout {
  int bits, mantissa_bits, bias;
};

uint64_t random_bits_of(const FloatLayout& f) {
  const uint64_t below = (uint64_t{1} << (f.mantissa_bits + 2)) - 1;
  return lanes(below | uint64_t{1} << (f.bits - 1), f.bits);
}

uint64_t exponent_of(const FloatLayout& f, float deviation) {
  const int e = static_cast<int>(std::lround(std::log2(deviation / kFp8Deviation))) + f.bias;
  const int highest = (1 << (f.bits - 1 - f.mantissa_bits)) - 5;
  return lanes(static_cast<uint64_t>(std::clamp(e, 1, highest)) << f.mantissa_bits, f.bits);
}

void fill_floats(const FloatLayout& f, float deviation, Words& words, std::span<std::byte> out) {
  words.bytes(out, random_bits_of(f), exponent_of(f, deviation));
}

/// Blocks: `head` bytes of scales that are the same for all, then random bytes.
template <class Head>
void fill_blocks(size_t block_bytes, Words& words, std::span<std::byte> out, uint64_t set,
                 Head head) {
  CHECK(out.size() % block_bytes == 0);
  for (size_t at = 0; at < out.size(); at += block_bytes) {
    words.bytes(out.subspan(at, block_bytes), ~uint64_t{0}, 0, set);
    head(out.data() + at);
  }
}

// Uniform codes: standard deviations of 4, 5 and 6 bits.
constexpr float kFourBits = 4.61f, kFiveBits = 9.23f, kSixBits = 18.5f;
constexpr float kIq4Deviation = 67.4f;  ///< of the sixteen values, each as likely
constexpr int kScaleCode = 32;          ///< of every sub-block

void fill_k(float deviation, float code_deviation, float code_mean, size_t block_bytes,
            Words& words, std::span<std::byte> out) {
  const float d = deviation / (kScaleCode * code_deviation);
  const uint16_t scale = f16_of_f32(d), min = f16_of_f32(d * code_mean);
  KScales scales;
  scales.scale.fill(kScaleCode);
  scales.min.fill(kScaleCode);
  std::byte packed[12];
  pack_k_scales(scales, packed);
  fill_blocks(block_bytes, words, out, 0, [&](std::byte* block) {
    store(block, scale);
    store(block + 2, min);
    std::memcpy(block + 4, packed, sizeof packed);
  });
}

}  // namespace

void fill_random(DType dtype, float deviation, uint64_t stream, std::span<std::byte> out) {
  Words words(stream);
  const uint16_t one_scale = f16_of_f32(deviation / kInt8Deviation);
  const uint16_t nibble_scale = f16_of_f32(deviation / 4.64f);
  const uint16_t six_scale = f16_of_f32(deviation / (kScaleCode * kSixBits));
  const uint16_t nl_scale = f16_of_f32(deviation / kIq4Deviation);
  const auto fp4_scale =
      static_cast<uint8_t>(127 + std::lround(std::log2(deviation / kFp4Deviation)));
  switch (dtype) {
    case DType::f32: return fill_floats({32, 23, 127}, deviation, words, out);
    case DType::f16: return fill_floats({16, 10, 15}, deviation, words, out);
    case DType::bf16: return fill_floats({16, 7, 127}, deviation, words, out);
    case DType::f8_e4m3: return fill_floats({8, 3, 7}, kFp8Deviation, words, out);
    case DType::f4_e2m1: return words.bytes(out);
    case DType::i8: return words.bytes(out, ~uint64_t{0}, 0, lanes(1, 8));  // no -128
    case DType::q8_0:
      // Odd bytes only: -128 has no counterpart.
      return fill_blocks(34, words, out, lanes(1, 8),
                         [&](std::byte* block) { store(block, one_scale); });
    case DType::q4_0:
      return fill_blocks(18, words, out, 0, [&](std::byte* block) { store(block, nibble_scale); });
    case DType::iq4_nl:
      return fill_blocks(18, words, out, 0, [&](std::byte* block) { store(block, nl_scale); });
    case DType::mxfp4:
      return fill_blocks(17, words, out, 0, [&](std::byte* block) { store(block, fp4_scale); });
    case DType::q4_k: return fill_k(deviation, kFourBits, 7.5f, 144, words, out);
    case DType::q5_k: return fill_k(deviation, kFiveBits, 15.5f, 176, words, out);
    case DType::q6_k:
      return fill_blocks(210, words, out, 0, [&](std::byte* block) {
        std::memset(block + 192, kScaleCode, 16);
        store(block + 208, six_scale);
      });
    default: CHECK(false, "no random weights of this type");
  }
}

}  // namespace hadal::format
