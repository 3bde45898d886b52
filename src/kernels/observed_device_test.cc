// What an observer is shown: every row that enters a product, and for which rows of the weight.

#include "kernels/observed_device.h"

#include <map>

#include "kernels/internal/test_bed.h"

namespace hadal::kernels {
namespace {

/// Keeps the inputs by weight and block.
class Keeper final : public LinearObserver {
 public:
  void observe(const WeightView& weight, int64_t block, int64_t of,
               std::span<const float> input) override {
    inputs[{weight.data.data, block}].emplace_back(input.begin(), input.end());
    blocks[weight.data.data] = of;
  }
  using Rows = std::vector<std::vector<float>>;
  std::map<std::pair<const std::byte*, int64_t>, Rows> inputs;
  std::map<const std::byte*, int64_t> blocks;
};

class ObservedDeviceTest : public Bed {
 protected:
  void SetUp() override {
    Bed::SetUp();
    if (device_ == nullptr) return;
    plain_ = std::move(device_);
    device_ = observe_linears(*plain_, keeper_);
  }
  void TearDown() override { device_.reset(); }

  Keeper::Rows seen(const TestWeight& w, int64_t block = 0) {
    return keeper_.inputs[{w.view.data.data, block}];
  }
  static Keeper::Rows rows_of(const Mat& m) {
    Keeper::Rows out;
    for (int64_t r = 0; r < m.rows; ++r) out.push_back(copy(m.slice_rows(r, 1)));
    return out;
  }

  Keeper keeper_;
  std::unique_ptr<Device> plain_;
};

Table2 product(const TestWeight& w, const Mat& x) {
  Table2 y(x.rows, w.values.rows);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t n = 0; n < w.values.rows; ++n) {
      for (int64_t i = 0; i < x.cols; ++i) {
        y.at(t, n) += w.values.at(n, i) *
                      static_cast<double>(reinterpret_cast<const float*>(x.data)[t * x.stride + i]);
      }
    }
  }
  return y;
}

INSTANTIATE_TEST_SUITE_P(Ref, ObservedDeviceTest, ::testing::Values(Variant{}),
                         [](const auto& i) { return variant_name(i.param); });

TEST_P(ObservedDeviceTest, LinearShowsItsRowsToEveryWeight) {
  const auto a = weight(DType::f32, 8, 12, 1), b = weight(DType::bf16, 5, 12, 2);
  const Mat x = mat(normal(3, 12, 3), 15);
  const Projection p[] = {{mat(3, 8), import(*a)}, {mat(3, 5), import(*b)}};
  ops().linear(p, x);
  EXPECT_EQ(seen(*a), rows_of(x));
  EXPECT_EQ(seen(*b), rows_of(x));
}

TEST_P(ObservedDeviceTest, GroupsSeeTheirOwnColumns) {
  const auto w = weight(DType::f32, 6, 4, 1);
  const Mat x = mat(normal(2, 12, 3));
  ops().linear_grouped(mat(2, 6), x, import(*w), 3);
  for (int64_t g = 0; g < 3; ++g) EXPECT_EQ(seen(*w, g), rows_of(x.slice_cols(4 * g, 4)));
  EXPECT_EQ(keeper_.blocks[w->view.data.data], 3);
}

TEST_P(ObservedDeviceTest, ExpertsSeeTheTokensThatChoseThem) {
  constexpr int64_t kExperts = 3, kHidden = 8, kInter = 5;
  std::vector<std::unique_ptr<TestWeight>> kept;
  std::vector<WeightView> gate, up, down;
  for (int64_t e = 0; e < kExperts; ++e) {
    const auto add = [&](std::vector<WeightView>& to, int64_t n, int64_t k) {
      kept.push_back(weight(DType::f32, n, k, static_cast<uint64_t>(kept.size())));
      to.push_back(import(*kept.back()));
    };
    add(gate, kInter, kHidden);
    add(up, kInter, kHidden);
    add(down, kHidden, kInter);
  }
  const ExpertsView experts = *device_->import_experts(gate, up, down);
  const Mat x = mat(normal(4, kHidden, 9));
  const std::vector<double> weights(8, 0.5);
  const Mat out = mat(4, kHidden);
  ops().clear(out);
  // Token 3 chooses expert 0 twice; nobody chooses expert 1.
  ops().moe_experts(out, x, experts, ints({0, 2, 2, 0, 2, 0, 0, 0}), numbers(weights), 2, 0);
  const Keeper::Rows rows = rows_of(x);
  EXPECT_EQ(keeper_.blocks[kept[0]->view.data.data], kExperts);
  const auto of = [&](int64_t e, int which) {
    return keeper_.inputs[{kept[static_cast<size_t>(3 * e + which)]->view.data.data, e}];
  };
  EXPECT_EQ(of(2, 0), (Keeper::Rows{rows[0], rows[1], rows[2]}));
  EXPECT_EQ(of(2, 1), of(2, 0));
  EXPECT_EQ(of(0, 0).size(), 5u);
  EXPECT_TRUE(of(1, 0).empty());
  // What enters down is silu(gate x) * up x.
  const Table2 g = product(*kept[6], x), u = product(*kept[7], x);
  ASSERT_EQ(of(2, 2).size(), 3u);
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t i = 0; i < kInter; ++i) {
      const double z = g.at(t, i);
      EXPECT_NEAR(of(2, 2)[static_cast<size_t>(t)][static_cast<size_t>(i)],
                  z / (1 + std::exp(-z)) * u.at(t, i), 1e-5);
    }
  }
}

TEST_P(ObservedDeviceTest, LatentAttentionShowsLatentsAndQueries) {
  constexpr int64_t kHeads = 2, kNope = 4, kRope = 2, kLatent = 6, kValue = 3;
  const TestStep step({{.past = 0, .tokens = 3}}, 8);
  TestCache cache = test_cache(step, kLatent + kRope, DType::f32);
  TestCache index = test_cache(step, 5, DType::f32);
  const Mat kv = mat(normal(3, kLatent + kRope, 1));
  const Mat q = mat(normal(3, kHeads * (kNope + kRope), 2));
  const auto kv_b = weight(DType::f32, kHeads * (kNope + kValue), kLatent, 3);
  const auto k_b = weight(DType::f32, kHeads * kLatent, kNope, 4);
  const auto v_b = weight(DType::f32, kHeads * kValue, kLatent, 5);
  MlaArgs args{.out = mat(3, kHeads * kValue),
               .q = q,
               .kv = cache.view,
               .kv_b = import(*kv_b),
               .heads = kHeads,
               .nope = kNope,
               .latent = kLatent,
               .rope = kRope,
               .v_dim = kValue};
  const auto run = [&] {
    ops().kv_append(cache.view, kv, step.view());
    ops().kv_append(index.view, mat(normal(3, 5, 7)), step.view());  // an indexer's rows
    ops().mla_attention(args, step.view());
  };
  run();
  const Keeper::Rows latents = rows_of(kv.slice_cols(0, kLatent));
  EXPECT_EQ(seen(*kv_b), latents);
  args.kv_b = {};
  args.k_b_t = import(*k_b);
  args.v_b = import(*v_b);
  run();
  EXPECT_EQ(seen(*v_b), latents);
  for (int64_t h = 0; h < kHeads; ++h)
    EXPECT_EQ(seen(*k_b, h), rows_of(q.slice_cols(h * (kNope + kRope), kNope)));
}

}  // namespace
}  // namespace hadal::kernels
