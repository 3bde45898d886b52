#include <gtest/gtest.h>

#include <cmath>

#include "tensor/dtype.h"
#include "tensor/float_types.h"
#include "tensor/tensor_view.h"

namespace hadal {
namespace {

TEST(DTypeTest, NamesRoundTrip) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(dtype_name(dtype)), dtype);
  }
  EXPECT_EQ(dtype_from_name("q3_k"), std::nullopt);
}

TEST(DTypeTest, StorageBytesRefusesPartialBlocksAndOverflow) {
  EXPECT_EQ(*storage_bytes(DType::q8_0, 2, 64), 2u * 2 * 34);
  EXPECT_EQ(*storage_bytes(DType::f4_e2m1, 3, 10), 15u);
  EXPECT_EQ(storage_bytes(DType::q4_k, 1, 128).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(storage_bytes(DType::f32, 1ull << 40, 1ull << 40).error().code, ErrorCode::too_large);
}

TEST(FloatTypesTest, E4m3RoundsToTheNearest) {
  for (int code = 0; code < 127; ++code) {
    const float value = e4m3_to_f32(static_cast<uint8_t>(code));
    EXPECT_EQ(f32_to_e4m3(value), code);
    EXPECT_EQ(f32_to_e4m3(-value), code | 128);
    if (code == 126) break;
    const float next = e4m3_to_f32(static_cast<uint8_t>(code + 1));
    const float middle = (value + next) / 2;
    EXPECT_EQ(f32_to_e4m3(middle), code % 2 == 0 ? code : code + 1) << "ties to even";
    EXPECT_EQ(f32_to_e4m3(std::nextafter(middle, 0.0f)), code);
    EXPECT_EQ(f32_to_e4m3(std::nextafter(middle, 500.0f)), code + 1);
  }
  EXPECT_EQ(f32_to_e4m3(449), 126);
  EXPECT_EQ(f32_to_e4m3(-1e30f), 126 | 128);
  EXPECT_EQ(f32_to_e4m3(1e-30f), 0);
  EXPECT_TRUE(std::isnan(e4m3_to_f32(f32_to_e4m3(std::nanf("")))));
}

TEST(ShapeTest, RowsAndColumns) {
  const Shape s{2, 3, 4};
  EXPECT_EQ(s.elements(), 24);
  EXPECT_EQ(s.rows(), 6);
  EXPECT_EQ(s.cols(), 4);
  EXPECT_EQ(s.to_string(), "[2, 3, 4]");
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{0, 4}).rows(), 0);
}

TEST(TensorViewTest, RowsOfABlockedTensor) {
  std::byte bytes[4 * 34];
  const TensorView view{bytes, DType::q8_0, Shape{2, 64}};
  EXPECT_EQ(view.row_bytes(), 68);
  EXPECT_EQ(view.rows(1, 1).data, bytes + 68);
  EXPECT_EQ(view.bytes(), 136);
  EXPECT_DEATH(view.rows(1, 2), "CHECK");
}

}  // namespace
}  // namespace hadal
