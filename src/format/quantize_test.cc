#include "format/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "format/gguf_repack.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"

namespace hadal::format {
namespace {

std::vector<float> gaussian(size_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> out(n);
  for (float& v : out) {
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += rng.next_double();
    v = static_cast<float>((sum - 6) * 0.02);
  }
  return out;
}

/// Root mean square of the error over that of the values.
double round_trip_error(DType dtype, const std::vector<float>& values) {
  const DTypeInfo& info = dtype_info(dtype);
  std::vector<std::byte> bytes(values.size() / static_cast<size_t>(info.block_elems) *
                               static_cast<size_t>(info.block_bytes));
  EXPECT_TRUE(quantize(dtype, values, bytes));
  std::vector<float> back(values.size());
  EXPECT_TRUE(dequantize(dtype, bytes, back));
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(back[i]) - values[i], 2);
    norm += std::pow(static_cast<double>(values[i]), 2);
  }
  return std::sqrt(error / norm);
}

TEST(QuantizeTest, ErrorsStayBelowTheirTypesBounds) {
  struct Bound {
    DType dtype;
    double at_most;
  };
  // For a normal distribution; a layout error anywhere makes them larger than 1.
  const Bound bounds[] = {{DType::f32, 0},      {DType::f16, 3e-4},   {DType::bf16, 3e-3},
                          {DType::q8_0, 7e-3},  {DType::q6_k, 0.022}, {DType::q5_k, 0.04},
                          {DType::q4_k, 0.078}, {DType::q4_0, 0.10},  {DType::iq4_nl, 0.09},
                          {DType::mxfp4, 0.13}};
  for (const Bound& b : bounds) {
    const double error = round_trip_error(b.dtype, gaussian(256 * 64, 7));
    EXPECT_LE(error, b.at_most) << dtype_name(b.dtype);
    if (b.at_most > 0) {
      EXPECT_GT(error, b.at_most / 20) << dtype_name(b.dtype);
    }
  }
}

TEST(QuantizeTest, ShiftedAndSparseBlocksStayFinite) {
  for (const DType dtype : {DType::q8_0, DType::q4_0, DType::q4_k, DType::q5_k, DType::q6_k,
                            DType::iq4_nl, DType::mxfp4}) {
    std::vector<float> zeros(256, 0.0f), one(256, 0.0f), shifted = gaussian(256, 3);
    one[77] = -3;
    for (float& v : shifted) v += 1;
    std::vector<float> back(256);
    std::vector<std::byte> bytes(256 / static_cast<size_t>(dtype_info(dtype).block_elems) *
                                 static_cast<size_t>(dtype_info(dtype).block_bytes));
    ASSERT_TRUE(quantize(dtype, zeros, bytes));
    ASSERT_TRUE(dequantize(dtype, bytes, back));
    EXPECT_EQ(back, zeros) << dtype_name(dtype);
    // IQ4_NL has no zero.
    const double bound = dtype == DType::iq4_nl ? 0.06 : 0.02;
    EXPECT_LT(round_trip_error(dtype, one), bound) << dtype_name(dtype);
    EXPECT_LT(round_trip_error(dtype, shifted), 0.05) << dtype_name(dtype);
    std::vector<float> tiny(256, 1e-12f), huge(256, 65504.0f);
    ASSERT_TRUE(quantize(dtype, tiny, bytes));
    ASSERT_TRUE(quantize(dtype, huge, bytes));
    ASSERT_TRUE(dequantize(dtype, bytes, back));
    for (const float v : back) EXPECT_TRUE(std::isfinite(v)) << dtype_name(dtype);
    huge[5] = std::nanf("");
    EXPECT_FALSE(quantize(dtype, huge, bytes));
  }
}

TEST(QuantizeTest, OddTypesAreRefused) {
  std::vector<float> values(32);
  std::vector<std::byte> bytes(32);
  EXPECT_EQ(quantize(DType::f8_e4m3, values, bytes).error().code, ErrorCode::unsupported);
  EXPECT_EQ(dequantize(DType::i16, bytes, values).error().code, ErrorCode::unsupported);
}

TEST(HalfTest, EveryF16ReadsBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f32_of_f16(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(f16_of_f32(value), half) << bits;
    if (std::isinf(value)) continue;
    const auto next = static_cast<uint16_t>(half + 1);
    if (std::isfinite(f32_of_f16(next))) {
      // Half way: ties to the even one.
      const float middle = (value + f32_of_f16(next)) / 2;
      ASSERT_EQ(f16_of_f32(middle), half % 2 == 0 ? half : next) << bits;
    }
  }
  EXPECT_EQ(f16_of_f32(65519.0f), 0x7BFF);
  EXPECT_EQ(f16_of_f32(65520.0f), 0x7C00);
  EXPECT_EQ(bf16_of_f32(1.00390625f), 0x3F80);  // a tie
}

TEST(HalfTest, SmallFloats) {
  EXPECT_EQ(f32_of_e4m3(0x7E), 448.0f);
  EXPECT_EQ(f32_of_e4m3(0x01), 0x1p-9f);
  EXPECT_EQ(f32_of_e4m3(0xB8), -1.0f);
  EXPECT_TRUE(std::isnan(f32_of_e4m3(0x7F)));
  EXPECT_EQ(f32_of_e8m0(127), 1.0f);
  EXPECT_EQ(f32_of_e8m0(0), 0x1p-127f);
  EXPECT_EQ(f32_of_e2m1(0xF), -6.0f);
}

// What the first numbers must be, worked by hand from the layouts.
TEST(DequantizeTest, ReadsIq4NlAndMxfp4) {
  std::vector<float> out(32);
  std::vector<std::byte> fp4(17, std::byte{0});
  fp4[0] = std::byte{128};   // e8m0: 2
  fp4[1] = std::byte{0xF3};  // number 0: 1.5, number 16: -6
  ASSERT_TRUE(dequantize(DType::mxfp4, fp4, out));
  EXPECT_EQ(out[0], 3.0f);
  EXPECT_EQ(out[16], -12.0f);
  fp4[0] = std::byte{200};
  ASSERT_TRUE(dequantize(DType::mxfp4, fp4, out));
  EXPECT_EQ(out[0], 1.5f * 0x1p73f);

  std::vector<std::byte> iq4(18, std::byte{0});
  store(iq4.data(), f16_of_f32(0.25f));
  iq4[3] = std::byte{0x0F};  // number 1: 113, number 17: -127
  ASSERT_TRUE(dequantize(DType::iq4_nl, iq4, out));
  EXPECT_EQ(out[1], 0.25f * 113);
  EXPECT_EQ(out[17], 0.25f * -127);
}

// What FP4 with a power of two can say is kept to the bit, whatever its largest value is.
TEST(QuantizeTest, Mxfp4KeepsWhatIsFp4Already) {
  for (unsigned largest = 0; largest < 8; ++largest) {
    for (const int exponent : {-120, -20, 0, 9, 100}) {
      std::vector<float> values(32);
      for (size_t i = 0; i < 32; ++i) {
        const auto code = static_cast<unsigned>(i % (largest + 1)) | (i % 2 == 0 ? 8u : 0u);
        values[i] = std::ldexp(f32_of_e2m1(code), exponent);
      }
      std::vector<std::byte> bytes(17);
      std::vector<float> back(32);
      ASSERT_TRUE(quantize(DType::mxfp4, values, bytes));
      ASSERT_TRUE(dequantize(DType::mxfp4, bytes, back));
      EXPECT_EQ(back, values) << largest << " * 2^" << exponent;
    }
  }
}

// Where activations are known, errors move to the channels that matter less.
TEST(QuantizeTest, ImportanceLowersTheErrorThatCounts) {
  const std::vector<float> values = gaussian(256 * 64, 11);
  std::vector<float> importance(values.size());
  Rng rng(5);
  for (float& v : importance) {
    v = static_cast<float>(std::exp(3 * (rng.next_double() + rng.next_double() - 1)));
  }
  for (const DType dtype : {DType::q4_0, DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl}) {
    const DTypeInfo& info = dtype_info(dtype);
    std::vector<std::byte> bytes(values.size() / static_cast<size_t>(info.block_elems) *
                                 static_cast<size_t>(info.block_bytes));
    const auto error = [&](std::span<const float> known) {
      EXPECT_TRUE(quantize(dtype, values, bytes, known));
      std::vector<float> back(values.size());
      EXPECT_TRUE(dequantize(dtype, bytes, back));
      double sum = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        sum += importance[i] * std::pow(static_cast<double>(back[i]) - values[i], 2);
      }
      return sum;
    };
    EXPECT_LT(error(importance), 0.95 * error({})) << dtype_name(dtype);
  }
}

/// A tensor of one ggml type, and what its first numbers must be. Worked by hand from the layouts.
TEST(RepackTest, ForeignBlocksKeepTheirValues) {
  std::vector<float> out(256);
  std::vector<std::byte> q5(22, std::byte{0});
  store(q5.data(), f16_of_f32(0.5f));
  store<uint32_t>(q5.data() + 2, 1u << 16 | 1u);  // numbers 0 and 16 have their fifth bit
  q5[6] = std::byte{0x73};                        // number 0: 3, number 16: 7
  const auto five = repack({"t", 6, Shape{1, 32}, q5});
  ASSERT_TRUE(five);
  ASSERT_TRUE(dequantize(DType::q8_0, *five, std::span(out).first(32)));
  EXPECT_EQ(out[0], 0.5f * (19 - 16));
  EXPECT_EQ(out[16], 0.5f * (23 - 16));
  EXPECT_EQ(out[1], 0.5f * -16);

  std::vector<std::byte> q3(110, std::byte{0});
  store(q3.data() + 108, f16_of_f32(0.5f));
  q3[96] = std::byte{0x05};           // scale 0: low bits 5 ...
  q3[104] = std::byte{0x03};          // ... high bits 3: 53 - 32 = 21
  q3[32 + 2] = std::byte{0x03};       // number 2: low bits 3
  q3[2] = std::byte{0x01};            // and its high bit: 3
  q3[32 + 33] = std::byte{0x80};      // second half, row 3, number 1: low bits 2, no high bit: -2
  q3[99] = std::byte{0x10};           // scale 3's upper neighbour: scale 11 low bits 1
  q3[32 + 32 + 5] = std::byte{0x04};  // second half, row 1, number 5: low bits 1 ...
  q3[5] = std::byte{1 << 5};          // ... with its high bit: 1
  const auto three = repack({"t", 11, Shape{1, 256}, q3});
  ASSERT_TRUE(three);
  ASSERT_TRUE(dequantize(DType::q6_k, *three, out));
  EXPECT_EQ(out[2], 0.5f * 21 * 3);
  EXPECT_EQ(out[0], 0.5f * 21 * -4);
  EXPECT_EQ(out[128 + 96 + 1], 0.5f * (0 - 32) * -2);
  EXPECT_EQ(out[128 + 32 + 5], 0.5f * (0 - 32) * 1);
  EXPECT_EQ(out[11 * 16], 0.5f * (1 - 32) * -4);
  EXPECT_EQ(repack({"t", 10, Shape{1, 256}, q3}).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace hadal::format
