// Parity of the ops on rows and of the linear layers: every table, packed and stored weights, every
// dtype, odd sizes; expected values in double.

#include "kernels/internal/test_bed.h"

namespace hadal::kernels {
namespace {

class KernelsTest : public Bed {};
INSTANTIATE_TEST_SUITE_P(All, KernelsTest, ::testing::ValuesIn(kVariants),
                         [](const auto& i) { return variant_name(i.param); });

// Lengths around every register width and unrolling.
constexpr int64_t kOddLengths[] = {1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 100, 129, 1000};

TEST_P(KernelsTest, EmbedReadsRowsOfEveryDtype) {
  for (const DType dtype :
       {DType::f32, DType::f16, DType::bf16, DType::f8_e4m3, DType::f4_e2m1, DType::q8_0,
        DType::q4_0, DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::mxfp4}) {
    const auto w = weight(dtype, 9, 512, 3);
    const Mat out = mat(4, 512);
    ops().embed(out, import(*w), ints({8, 0, 3, 3}));
    const int64_t ids[] = {8, 0, 3, 3};
    for (int64_t t = 0; t < 4; ++t) {
      for (int64_t c = 0; c < 512; ++c) {
        ASSERT_FLOAT_EQ(at(out, t, c), static_cast<float>(w->values.at(ids[t], c)))
            << dtype_name(dtype);
      }
    }
  }
}

TEST_P(KernelsTest, CopiesRowsAndColumns) {
  const Table2 x = normal(5, 17, 1);
  const Mat in = mat(x, 20);
  const Mat rows = mat(3, 17);
  ops().gather_rows(rows, in, ints({4, 0, 4}));
  const Mat wide = mat(5, 3 * 17, 60);
  ops().repeat_cols(wide, in);
  for (int64_t c = 0; c < 17; ++c) {
    ASSERT_EQ(at(rows, 0, c), at(in, 4, c));
    ASSERT_EQ(at(rows, 1, c), at(in, 0, c));
    ASSERT_EQ(at(rows, 2, c), at(in, 4, c));
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t m = 0; m < 3; ++m) ASSERT_EQ(at(wide, r, m * 17 + c), at(in, r, c));
    }
  }
  ops().clear(wide);
  EXPECT_EQ(copy(wide), std::vector<float>(5 * 51, 0.0f));
  EXPECT_EQ(at(wide, 0, 51), -77.0f) << "clear wrote behind a row";
}

TEST_P(KernelsTest, Adds) {
  for (const int64_t n : kOddLengths) {
    const Table2 a = normal(3, n, 1);
    const Table2 b = normal(3, n, 2);
    Table2 want(3, n);
    for (size_t i = 0; i < want.v.size(); ++i) want.v[i] = a.v[i] + b.v[i];
    const Mat x = mat(a, n + 3);
    ops().add(x, mat(b));
    expect_near(x, want, 1e-6);
    EXPECT_EQ(at(x, 0, n), -77.0f) << "wrote behind a row";
  }
}

TEST_P(KernelsTest, RmsNormMatchesItsDefinition) {
  for (const int64_t n : kOddLengths) {
    for (const bool weighted : {true, false}) {
      const Table2 x = normal(3, n, 7, 5);
      const Table2 w = normal(1, n, 8);
      Table2 want(3, n);
      for (int64_t r = 0; r < 3; ++r) {
        double squares = 0;
        for (int64_t c = 0; c < n; ++c) squares += x.at(r, c) * x.at(r, c);
        for (int64_t c = 0; c < n; ++c) {
          want.at(r, c) = x.at(r, c) / std::sqrt(squares / static_cast<double>(n) + 1e-3) *
                          (weighted ? w.at(0, c) : 1);
        }
      }
      const float* weight = weighted ? numbers(w.v) : nullptr;
      const Mat in = mat(x, n + 5);
      const Mat out = mat(3, n);
      ops().rms_norm(out, in, weight, 1e-3f);
      expect_near(out, want, 2e-5, "n = " + std::to_string(n));
      ops().rms_norm(in, in, weight, 1e-3f);
      expect_near(in, want, 2e-5, "in place");
    }
  }
}

TEST_P(KernelsTest, LayerNormMatchesItsDefinition) {
  for (const int64_t n : kOddLengths) {
    const Table2 x = normal(3, n, 7, 5);
    const Table2 w = normal(1, n, 8);
    const Table2 b = normal(1, n, 9);
    Table2 want(3, n);
    for (int64_t r = 0; r < 3; ++r) {
      double mean = 0;
      double variance = 0;
      for (int64_t c = 0; c < n; ++c) mean += x.at(r, c) / static_cast<double>(n);
      for (int64_t c = 0; c < n; ++c)
        variance += (x.at(r, c) - mean) * (x.at(r, c) - mean) / static_cast<double>(n);
      for (int64_t c = 0; c < n; ++c) {
        want.at(r, c) = (x.at(r, c) - mean) / std::sqrt(variance + 1e-4) * w.at(0, c) + b.at(0, c);
      }
    }
    const Mat out = mat(x);
    ops().layer_norm(out, out, numbers(w.v), numbers(b.v), 1e-4f);
    expect_near(out, want, 3e-5, "n = " + std::to_string(n));
  }
}

TEST_P(KernelsTest, SwigluClampsBothSides) {
  for (const int64_t n : kOddLengths) {
    for (const double limit : {0.0, 1.5}) {
      const Table2 g = normal(2, n, 4, 6);
      const Table2 u = normal(2, n, 5, 3);
      Table2 want(2, n);
      for (size_t i = 0; i < want.v.size(); ++i) {
        const double gate = limit > 0 ? std::min(g.v[i], limit) : g.v[i];
        const double up = limit > 0 ? std::clamp(u.v[i], -limit, limit) : u.v[i];
        want.v[i] = gate / (1 + std::exp(-gate)) * up;
      }
      const Mat gate = mat(g, n + 1);
      ops().swiglu(gate, gate, mat(u, n + 2), static_cast<float>(limit));
      expect_near(gate, want, 1e-5);
      EXPECT_EQ(at(gate, 0, n), -77.0f) << "wrote behind a row";
    }
  }
}

TEST_P(KernelsTest, SwigluSurvivesExtremes) {
  const std::vector<double> g = {-1e30, -200, -90, 0, 90, 200, 1e30, -1e-30, 5};
  const Mat gate = mat(1, 9);
  const Mat up = mat(1, 9);
  for (int64_t i = 0; i < 9; ++i) {
    at(gate, 0, i) = static_cast<float>(g[static_cast<size_t>(i)]);
    at(up, 0, i) = 1;
  }
  ops().swiglu(gate, gate, up, 0);
  for (int64_t i = 0; i < 9; ++i) {
    const double x = g[static_cast<size_t>(i)];
    const double want = x < -80 ? 0 : x / (1 + std::exp(-x));
    EXPECT_NEAR(at(gate, 0, i), want, std::abs(want) * 1e-5 + 1e-6) << x;
  }
}

TEST_P(KernelsTest, RopeTurnsPairsBothWays) {
  constexpr int64_t kDims = 10;
  const std::vector<double> freq = {1, 0.3, 0.1, 0.01, 0.001};
  const TestStep step({{.past = 3, .tokens = 2}, {.past = 100000, .tokens = 1}}, 4096);
  const int64_t tokens = step.tokens();
  const Mat cos = mat(tokens, kDims / 2);
  const Mat sin = mat(tokens, kDims / 2);
  ops().rope_table(reinterpret_cast<float*>(cos.data), reinterpret_cast<float*>(sin.data),
                   step.view().positions, tokens, numbers(freq), kDims, 1.25f);
  const RopeView table{reinterpret_cast<float*>(cos.data), reinterpret_cast<float*>(sin.data),
                       kDims};
  for (const bool interleaved : {true, false}) {
    const Table2 x = normal(tokens, 3 * 16, 11);
    Table2 want = x;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < kDims / 2; ++i) {
        // The angle is rounded to f32, as in the reference implementations.
        const float angle =
            static_cast<float>(step.position(t)) * static_cast<float>(freq[static_cast<size_t>(i)]);
        const double c = std::cos(static_cast<double>(angle)) * 1.25;
        const double s = std::sin(static_cast<double>(angle)) * 1.25;
        ASSERT_NEAR(at(cos, t, i), c, 1e-6);
        ASSERT_NEAR(at(sin, t, i), s, 1e-6);
        for (int64_t h = 0; h < 3; ++h) {
          const int64_t a = h * 16 + 5 + (interleaved ? 2 * i : i);
          const int64_t b = a + (interleaved ? 1 : kDims / 2);
          want.at(t, a) = x.at(t, a) * c - x.at(t, b) * s;
          want.at(t, b) = x.at(t, b) * c + x.at(t, a) * s;
        }
      }
    }
    const Mat m = mat(x);
    ops().rope(m, 3, 5, table, interleaved, false);
    expect_near(m, want, 1e-5);
    ops().rope(m, 3, 5, table, interleaved, true);
    Table2 back = x;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t i = 5; i < 5 + kDims; ++i) back.at(t, h * 16 + i) *= 1.25 * 1.25;
      }
    }
    expect_near(m, back, 1e-5, "inverse");
  }
}

// ---- linear ----

// What rounding the activations to 8-bit blocks (i8: rows) may cost a product: 1/254 of each
// block's largest activation times the magnitudes of its weights.
double q8_bound(const TestWeight& w, int64_t n, const Table2& x, int64_t t) {
  const int64_t block = w.view.data.dtype == DType::i8 ? x.cols : 32;
  double bound = 0;
  for (int64_t b = 0; b < x.cols; b += block) {
    double largest = 0;
    double magnitudes = 0;
    for (int64_t i = b; i < b + block; ++i) {
      largest = std::max(largest, std::abs(x.at(t, i)));
      magnitudes += std::abs(w.values.at(n, i));
    }
    bound += largest / 254 * magnitudes;
  }
  return bound;
}

bool blocked(DType d) {
  return d != DType::f32 && d != DType::f16 && d != DType::bf16 && d != DType::f8_e4m3;
}

// Activations that 8-bit blocks of 32 hold exactly; with `one_unit` also 8-bit rows.
Table2 exact_in_blocks(int64_t rows, int64_t cols, uint64_t seed, bool one_unit = false) {
  Rng rng(seed);
  Table2 x(rows, cols);
  for (int64_t r = 0; r < rows; ++r) {
    double unit = 0;
    for (int64_t b = 0; b < cols; b += 32) {
      if (b == 0 || !one_unit) unit = std::ldexp(1.0, static_cast<int>(rng.next_below(7)) - 9);
      const int64_t end = std::min(cols, b + 32);
      for (int64_t c = b; c < end; ++c)
        x.at(r, c) = unit * (static_cast<double>(rng.next_below(255)) - 127);
      // The block's largest: its scale is then `unit`.
      x.at(r, b + static_cast<int64_t>(rng.next_below(static_cast<uint64_t>(end - b)))) =
          127 * unit;
    }
  }
  return x;
}

struct Case {
  DType dtype;
  int64_t n;
  int64_t k;
  DType scale = DType::f32;
  int scale_rows = 128;
  int scale_cols = 128;
};

std::vector<Case> linear_cases() {
  std::vector<Case> cases;
  for (const DType d : {DType::f32, DType::f16, DType::bf16}) {
    cases.push_back({d, 1, 1});
    cases.push_back({d, 17, 33});
    cases.push_back({d, 40, 130});
    cases.push_back({d, 97, 256});
  }
  cases.push_back({DType::f8_e4m3, 200, 260});  // ragged on both sides
  cases.push_back({DType::f8_e4m3, 128, 128, DType::f8_e8m0});
  cases.push_back({DType::f8_e4m3, 37, 70, DType::bf16, 32, 32});
  cases.push_back({DType::f8_e4m3, 50, 96, DType::f8_e8m0, 32, 32});
  cases.push_back({DType::f8_e4m3, 33, 101, DType::f32, 1, 40});
  cases.push_back({DType::i8, 1, 32});
  cases.push_back({DType::i8, 19, 96, DType::bf16});
  cases.push_back({DType::i8, 80, 320, DType::f16});
  cases.push_back({DType::i8, 37, 70});  // not packed
  cases.push_back({DType::f4_e2m1, 35, 96, DType::f8_e8m0});
  cases.push_back({DType::f4_e2m1, 16, 256, DType::f8_e8m0});
  for (const DType d : {DType::q8_0, DType::q4_0, DType::iq4_nl, DType::mxfp4}) {
    cases.push_back({d, 1, 32});
    cases.push_back({d, 19, 96});
    cases.push_back({d, 80, 320});
  }
  for (const DType d : {DType::q4_k, DType::q5_k, DType::q6_k}) {
    cases.push_back({d, 5, 256});
    cases.push_back({d, 51, 768});
  }
  return cases;
}

std::string case_name(const Case& c, int64_t tokens) {
  return std::string(dtype_name(c.dtype)) + " [" + std::to_string(c.n) + ", " +
         std::to_string(c.k) + "] scale " + std::string(dtype_name(c.scale)) + " tokens " +
         std::to_string(tokens);
}

Table2 product(const TestWeight& w, const Table2& x) {
  Table2 y(x.rows, w.values.rows);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t n = 0; n < w.values.rows; ++n) {
      for (int64_t i = 0; i < x.cols; ++i) y.at(t, n) += w.values.at(n, i) * x.at(t, i);
    }
  }
  return y;
}

TEST_P(KernelsTest, LinearIsExactUpToF32RoundingWhereActivationsFit) {
  for (const Case& c : linear_cases()) {
    const auto w = weight(c.dtype, c.n, c.k, 21, c.scale, c.scale_rows, c.scale_cols);
    const WeightView view = import(*w);
    for (const int64_t tokens : {1, 2, 3, 4, 5, 8, 9, 13, 16, 17, 39}) {
      const Table2 x = blocked(c.dtype) ? exact_in_blocks(tokens, c.k, 31, c.dtype == DType::i8)
                                        : normal(tokens, c.k, 31);
      const Mat out = mat(tokens, c.n, c.n + 3);
      const Projection p[] = {{out, view}};
      ops().linear(p, mat(x, c.k + 1));
      const Table2 want = product(*w, x);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t n = 0; n < c.n; ++n) {
          // A block's minimum and its weights may cancel: their own size counts.
          double magnitude = 0;
          for (int64_t i = 0; i < c.k; ++i)
            magnitude += (std::abs(w->values.at(n, i)) + 0.2) * std::abs(x.at(t, i));
          ASSERT_NEAR(at(out, t, n), want.at(t, n), 1e-6 * magnitude + 1e-6)
              << case_name(c, tokens) << " at " << t << ", " << n;
        }
        for (int64_t i = c.n; i < c.n + 3 && t + 1 < tokens; ++i)
          ASSERT_EQ(at(out, t, i), -77.0f) << "wrote behind a row: " << case_name(c, tokens);
      }
    }
  }
}

TEST_P(KernelsTest, LinearStaysWithinTheBoundOfRoundedActivations) {
  for (const Case& c : linear_cases()) {
    if (!blocked(c.dtype)) continue;
    const auto w = weight(c.dtype, c.n, c.k, 22, c.scale);
    const WeightView view = import(*w);
    for (const int64_t tokens : {1, 6, 20}) {
      Table2 x = normal(tokens, c.k, 32);
      x.at(0, 3) = 40;  // an outlier
      for (int64_t i = 0; i < 32; ++i) x.at(tokens - 1, i) = 0;
      const Mat out = mat(tokens, c.n);
      const Projection p[] = {{out, view}};
      ops().linear(p, mat(x));
      const Table2 want = product(*w, x);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t n = 0; n < c.n; ++n) {
          ASSERT_NEAR(at(out, t, n), want.at(t, n), 1.01 * q8_bound(*w, n, x, t) + 1e-5)
              << case_name(c, tokens) << " at " << t << ", " << n;
        }
      }
    }
  }
}

TEST_P(KernelsTest, ProjectionsShareTheirInput) {
  const Table2 x = exact_in_blocks(3, 256, 41, true);
  const DType dtypes[] = {DType::q8_0, DType::bf16, DType::q4_k, DType::i8};
  const int64_t rows[] = {48, 7, 33, 16};
  std::vector<std::unique_ptr<TestWeight>> weights;
  std::vector<Projection> projections;
  const Table2 bias = normal(1, 64, 42);
  for (size_t i = 0; i < 4; ++i) {
    weights.push_back(weight(dtypes[i], rows[i], 256, 50 + i));
    projections.push_back(
        {mat(3, rows[i]), import(*weights[i]), i % 2 == 0 ? numbers(bias.v) : nullptr});
  }
  ops().linear(projections, mat(x));
  for (size_t i = 0; i < 4; ++i) {
    Table2 want = product(*weights[i], x);
    for (int64_t t = 0; t < 3 && i % 2 == 0; ++t) {
      for (int64_t n = 0; n < rows[i]; ++n) want.at(t, n) += bias.at(0, n);
    }
    expect_near(projections[i].out, want, 2e-4, std::string(dtype_name(dtypes[i])));
  }
}

// A token's numbers do not depend on which others share its step.
TEST_P(KernelsTest, PackedProductsDoNotDependOnTheBatch) {
  if (!GetParam().pack) GTEST_SKIP() << "stored weights take another path for many tokens";
  for (const Case& c : linear_cases()) {
    const auto w =
        weight(c.dtype, std::max<int64_t>(c.n, 8), c.k, 23, c.scale, c.scale_rows, c.scale_cols);
    const WeightView view = import(*w);
    if (c.k % 4 != 0) continue;  // not packed
    const Table2 x = normal(21, c.k, 33);
    const Mat in = mat(x);
    const Mat whole = mat(21, w->values.rows);
    const Projection all[] = {{whole, view}};
    ops().linear(all, in);
    for (int64_t t = 0; t < 21; ++t) {
      const Mat one = mat(1, w->values.rows);
      const Projection p[] = {{one, view}};
      ops().linear(p, in.slice_rows(t, 1));
      ASSERT_EQ(copy(one), copy(whole.slice_rows(t, 1))) << case_name(c, t);
    }
  }
}

TEST_P(KernelsTest, LinearGroupedIsBlockDiagonal) {
  for (const DType dtype : {DType::bf16, DType::q8_0, DType::f8_e4m3}) {
    for (const int64_t rows : {16, 5}) {
      constexpr int64_t kGroups = 3;
      constexpr int64_t kK = 64;
      const auto w = weight(dtype, kGroups * rows, kK, 61);
      const WeightView view = import(*w);
      for (const int64_t tokens : {1, 4, 11}) {
        const Table2 x = exact_in_blocks(tokens, kGroups * kK, 62);
        Table2 want(tokens, kGroups * rows);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t n = 0; n < kGroups * rows; ++n) {
            for (int64_t i = 0; i < kK; ++i)
              want.at(t, n) += w->values.at(n, i) * x.at(t, n / rows * kK + i);
          }
        }
        const Mat out = mat(tokens, kGroups * rows);
        ops().linear_grouped(out, mat(x), view, kGroups);
        expect_near(out, want, 1e-4, std::string(dtype_name(dtype)));
      }
    }
  }
}

// Importing other bytes at the same address must not find the old ones.
TEST_P(KernelsTest, ImportingAgainReplaces) {
  const auto first = weight(DType::f32, 20, 64, 71);
  const auto second = weight(DType::f32, 20, 64, 72);
  const Table2 x = normal(2, 64, 73);
  const Mat in = mat(x);
  const Mat out = mat(2, 20);
  const Projection p[] = {{out, import(*first)}};
  ops().linear(p, in);
  expect_near(out, product(*first, x), 1e-4);
  first->data = second->data;
  ASSERT_EQ(first->view.data.data, first->data.data());
  const Projection again[] = {{out, import(*first)}};
  ops().linear(again, in);
  expect_near(out, product(*second, x), 1e-4);
}

TEST(CpuDeviceTest, SaysWhatItIs) {
  const auto device = open_cpu({.threads = 2, .isa = CpuIsa::ref});
  ASSERT_TRUE(device);
  EXPECT_EQ((*device)->description(), "cpu ref (2 threads)");
  const std::vector<std::byte> bytes(64);
  EXPECT_EQ((*device)->import_weight({.data = {bytes.data(), DType::i32, {4, 4}}}).error().code,
            ErrorCode::unsupported);
  EXPECT_EQ((*device)->allocate(size_t{1} << 62).error().code, ErrorCode::resource_exhausted);
  auto memory = (*device)->allocate(5 << 20);
  ASSERT_TRUE(memory);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 64, 0u);
  EXPECT_EQ(memory->data()[(5 << 20) - 1], std::byte{0});
}

TEST(CpuDeviceTest, CudaIsUnsupportedWithoutCuda) {
  const auto device = open_cuda();
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace hadal::kernels
