#include "format/weight_scale.h"

#include <gtest/gtest.h>

#include <vector>

#include "format/internal/checkpoint_base.h"
#include "format/internal/weight_rows.h"

namespace hadal::format {
namespace {

/// Tensors in memory, all zeros.
class Tensors final : public CheckpointBase {
 public:
  Tensors& add(const std::string& name, DType dtype, const Shape& shape) {
    memory_.emplace_back(static_cast<size_t>(ConstTensorView{nullptr, dtype, shape}.bytes()));
    tensors_.push_back({name, {memory_.back().data(), dtype, shape}});
    EXPECT_TRUE(index_tensors());
    return *this;
  }
  Result<ScaledWeight> weight() const { return with_scale(*this, *find("w.weight"), 128, 128); }
  CheckpointKind kind() const override { return CheckpointKind::safetensors; }
  Result<TokenizerSource> tokenizer_source() const override { return not_found("none"); }

 private:
  std::vector<std::vector<std::byte>> memory_;
};

struct Layout {
  const char* what;
  DType dtype;
  const char* scale_name;
  DType scale_dtype;
  Shape scale;
  int rows, cols;  ///< expected
};

TEST(WeightScaleTest, KnowsThePublishedLayouts) {
  const Layout layouts[] = {
      {"V3", DType::f8_e4m3, "w.weight_scale_inv", DType::f32, Shape{2, 3}, 128, 128},
      {"V4", DType::f8_e4m3, "w.scale", DType::f8_e8m0, Shape{2, 3}, 128, 128},
      {"FP8 per row", DType::f8_e4m3, "w.weight_scale", DType::bf16, Shape{200, 1}, 1, 320},
      {"FP8, one scale", DType::f8_e4m3, "w.weight_scale", DType::f32, Shape{1}, 200, 320},
      {"INT8 per row", DType::i8, "w.weight_scale", DType::f32, Shape{200, 1}, 1, 320},
      {"INT8 per row, flat", DType::i8, "w.weight_scale", DType::f16, Shape{200}, 1, 320},
      {"INT8 blocks", DType::i8, "w.weight_scale_inv", DType::f32, Shape{2, 3}, 128, 128},
      {"FP4", DType::f4_e2m1, "w.scale", DType::f8_e8m0, Shape{200, 10}, 1, 32},
  };
  for (const Layout& l : layouts) {
    Tensors t;
    t.add("w.weight", l.dtype, Shape{200, 320}).add(l.scale_name, l.scale_dtype, l.scale);
    const auto w = t.weight();
    ASSERT_TRUE(w) << l.what << ": " << w.error().message;
    EXPECT_EQ(w->scale_name, l.scale_name) << l.what;
    EXPECT_EQ(w->view.scale_rows, l.rows) << l.what;
    EXPECT_EQ(w->view.scale_cols, l.cols) << l.what;
    EXPECT_EQ(w->view.scale.shape.cols(), (320 + l.cols - 1) / l.cols) << l.what;
  }
}

TEST(WeightScaleTest, RefusesWhatDoesNotFit) {
  const auto error = [](DType dtype, const char* scale, DType scale_dtype, Shape shape,
                        const char* more = nullptr) {
    Tensors t;
    t.add("w.weight", dtype, Shape{200, 320}).add(scale, scale_dtype, shape);
    if (more != nullptr) t.add(more, DType::i8, Shape{200, 1});
    const auto w = t.weight();
    EXPECT_FALSE(w);
    return w ? ErrorCode::internal : w.error().code;
  };
  using enum ErrorCode;
  EXPECT_EQ(error(DType::f8_e4m3, "other", DType::f32, Shape{2, 3}), corrupt);
  EXPECT_EQ(error(DType::f8_e4m3, "w.weight_scale_inv", DType::f32, Shape{3, 2}), corrupt);
  EXPECT_EQ(error(DType::i8, "w.weight_scale", DType::f32, Shape{320, 1}), corrupt);
  EXPECT_EQ(error(DType::i8, "w.weight_scale", DType::f32, Shape{1, 200}), corrupt);
  EXPECT_EQ(error(DType::f4_e2m1, "w.scale", DType::f8_e8m0, Shape{200, 1}), corrupt);
  EXPECT_EQ(error(DType::i8, "w.weight_scale", DType::i32, Shape{200, 1}), unsupported);
  EXPECT_EQ(error(DType::i8, "w.weight_scale", DType::f32, Shape{200, 1}, "w.weight_zero_point"),
            unsupported);
}

TEST(WeightScaleTest, IntegersWithoutScalesAreATable) {
  Tensors t;
  t.add("w.weight", DType::i8, Shape{200, 320});
  EXPECT_FALSE(is_int8_weight(t, *t.find("w.weight")));
  const auto w = t.weight();
  ASSERT_TRUE(w);
  EXPECT_TRUE(w->view.scale.empty());
  t.add("w.weight_scale", DType::f32, Shape{200, 1});
  EXPECT_TRUE(is_int8_weight(t, *t.find("w.weight")));
  EXPECT_FALSE(is_int8_weight(t, *t.find("w.weight_scale")));
}

TEST(WeightScaleTest, RowsOfInt8AreMultipliedOut) {
  const std::vector<int8_t> w = {-128, 127, 3, 0, -5, 6};
  const std::vector<float> scale = {0.5f, 2};
  WeightRows rows;
  rows.weight = {.data = {reinterpret_cast<const std::byte*>(w.data()), DType::i8, {2, 3}},
                 .scale = {reinterpret_cast<const std::byte*>(scale.data()), DType::f32, {2, 1}},
                 .scale_rows = 1,
                 .scale_cols = 3};
  std::vector<float> out(3);
  ASSERT_TRUE(rows.read(0, out));
  EXPECT_EQ(out, (std::vector<float>{-64, 63.5f, 1.5f}));
  ASSERT_TRUE(rows.read(1, out));
  EXPECT_EQ(out, (std::vector<float>{0, -10, 12}));
}

}  // namespace
}  // namespace hadal::format
