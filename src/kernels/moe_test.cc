// Parity of expert choice, the routed experts and hyper-connections; expected values in double.

#include <set>

#include "kernels/internal/test_bed.h"

namespace hadal::kernels {
namespace {

class MoeTest : public Bed {
 protected:
  struct Choice {
    std::vector<int32_t> ids;
    std::vector<float> weights;
  };
  Choice gate(MoeGateArgs args, const TestStep& step) {
    const auto n = static_cast<size_t>(args.logits.rows * args.experts_per_token);
    Choice c{std::vector<int32_t>(n, -1), std::vector<float>(n, -1)};
    args.ids = c.ids.data();
    args.weights = c.weights.data();
    ops().moe_gate(args, step.view());
    return c;
  }
};
INSTANTIATE_TEST_SUITE_P(All, MoeTest, ::testing::ValuesIn(kVariants),
                         [](const auto& i) { return variant_name(i.param); });

double score_of(GateScore how, double logit, const std::vector<double>& row) {
  if (how == GateScore::sigmoid) return 1 / (1 + std::exp(-logit));
  if (how == GateScore::sqrt_softplus) return std::sqrt(std::log1p(std::exp(logit)));
  double sum = 0;
  for (const double l : row) sum += std::exp(l - row[0]);
  return std::exp(logit - row[0]) / sum;
}

struct GateCase {
  GateScore score;
  int groups, groups_kept, group_score_top;
  bool bias, normalize, hashed;
};

TEST_P(MoeTest, GateMatchesTheDefinition) {
  constexpr int64_t kExperts = 24;
  constexpr int kChosen = 5;
  const TestStep step({{0, 40}, {3, 1}}, 16);
  const Table2 logits = normal(step.tokens(), kExperts, 1, 2);
  const Table2 bias = normal(1, kExperts, 2, 0.3);
  Rng rng(3);
  std::vector<int32_t> table;
  for (int i = 0; i < 50 * kChosen; ++i)
    table.push_back(static_cast<int32_t>(rng.next_below(kExperts)));
  for (const GateCase c : {GateCase{GateScore::softmax, 1, 1, 1, false, false, false},
                           GateCase{GateScore::softmax, 4, 2, 1, false, false, false},
                           GateCase{GateScore::sigmoid, 6, 3, 2, true, true, false},
                           GateCase{GateScore::sqrt_softplus, 1, 1, 1, true, true, false},
                           GateCase{GateScore::sqrt_softplus, 1, 1, 1, false, true, true}}) {
    const Choice got = gate({.logits = mat(logits, kExperts + 1),
                             .bias = c.bias ? numbers(bias.v) : nullptr,
                             .hash_table = c.hashed ? table.data() : nullptr,
                             .score = c.score,
                             .experts_per_token = kChosen,
                             .groups = c.groups,
                             .groups_kept = c.groups_kept,
                             .group_score_top = c.group_score_top,
                             .normalize = c.normalize,
                             .scale = 2.5f},
                            step);
    for (int64_t t = 0; t < step.tokens(); ++t) {
      const std::vector<double> row(logits.v.begin() + t * kExperts,
                                    logits.v.begin() + (t + 1) * kExperts);
      std::vector<double> scores;
      std::vector<double> choice;
      for (int64_t e = 0; e < kExperts; ++e) {
        scores.push_back(score_of(c.score, row[static_cast<size_t>(e)], row));
        choice.push_back(scores.back() + (c.bias ? bias.at(0, e) : 0));
      }
      const auto per_group = static_cast<size_t>(kExperts / c.groups);
      std::vector<std::pair<double, int>> groups;
      for (int g = 0; g < c.groups; ++g) {
        std::vector<double> members(choice.begin() + g * static_cast<int64_t>(per_group),
                                    choice.begin() + (g + 1) * static_cast<int64_t>(per_group));
        std::sort(members.rbegin(), members.rend());
        groups.emplace_back(-(c.group_score_top == 2 ? members[0] + members[1] : members[0]), g);
      }
      std::sort(groups.begin(), groups.end());
      std::set<int> kept;
      for (int g = 0; g < c.groups_kept; ++g) kept.insert(groups[static_cast<size_t>(g)].second);
      std::vector<std::pair<double, int32_t>> order;
      for (int32_t e = 0; e < kExperts; ++e) {
        if (kept.count(e / static_cast<int>(per_group)) != 0)
          order.emplace_back(-choice[static_cast<size_t>(e)], e);
      }
      std::sort(order.begin(), order.end());
      double sum = 0;
      for (size_t i = 0; i < kChosen; ++i) {
        if (c.hashed) order[i].second = table[static_cast<size_t>(step.token_id(t) * kChosen) + i];
        sum += scores[static_cast<size_t>(order[i].second)];
      }
      for (size_t i = 0; i < kChosen; ++i) {
        const size_t at = static_cast<size_t>(t * kChosen) + i;
        ASSERT_EQ(got.ids[at], order[i].second) << "token " << t << " choice " << i;
        const double want =
            scores[static_cast<size_t>(order[i].second)] / (c.normalize ? sum + 1e-20 : 1) * 2.5;
        ASSERT_NEAR(got.weights[at], want, 1e-5);
      }
    }
  }
}

TEST_P(MoeTest, GateBreaksTiesByTheLowestExpert) {
  const TestStep step({{0, 1}}, 16);
  const Mat zeros = mat(1, 12);
  ops().clear(zeros);
  const Choice got = gate({.logits = zeros,
                           .score = GateScore::sigmoid,
                           .experts_per_token = 4,
                           .groups = 3,
                           .groups_kept = 2,
                           .group_score_top = 2},
                          step);
  EXPECT_EQ(got.ids, (std::vector<int32_t>{0, 1, 2, 3}));
}

// Excluded groups lose to any kept expert, even to those with choice values far below zero.
TEST_P(MoeTest, ExcludedGroupsNeverWin) {
  const TestStep step({{0, 1}}, 16);
  const Mat logits = mat(1, 6);
  ops().clear(logits);
  const Choice got = gate({.logits = logits,
                           .bias = numbers({5, -9, -9, 0.1, 0.1, 0.1}),
                           .score = GateScore::sigmoid,
                           .experts_per_token = 3,
                           .groups = 2,
                           .groups_kept = 1,
                           .group_score_top = 1},
                          step);
  EXPECT_EQ(got.ids, (std::vector<int32_t>{0, 1, 2}));
}

TEST_P(MoeTest, GateStaysInRangeWhateverTheLogits) {
  const TestStep step({{0, 4}}, 16);
  const Mat logits = mat(4, 8);
  const float kBad[] = {NAN, INFINITY, -INFINITY, -NAN};
  for (int64_t t = 0; t < 4; ++t) {
    for (int64_t e = 0; e < 8; ++e) at(logits, t, e) = t == 3 && e % 2 == 0 ? 1 : kBad[t];
  }
  for (const GateScore score : {GateScore::softmax, GateScore::sigmoid, GateScore::sqrt_softplus}) {
    const Choice got = gate({.logits = logits,
                             .score = score,
                             .experts_per_token = 4,
                             .groups = 4,
                             .groups_kept = 2,
                             .group_score_top = 2,
                             .normalize = true},
                            step);
    for (int64_t t = 0; t < 4; ++t) {
      std::set<int32_t> ids(got.ids.begin() + t * 4, got.ids.begin() + t * 4 + 4);
      EXPECT_EQ(ids.size(), 4u) << "an expert was chosen twice";
      EXPECT_GE(*ids.begin(), 0);
      EXPECT_LT(*ids.rbegin(), 8);
    }
  }
}

// ---- experts ----

TEST_P(MoeTest, ExpertsMatchTheDefinition) {
  constexpr int64_t kExperts = 7;
  constexpr int64_t kChosen = 3;
  struct Shape {
    DType dtype;
    int64_t d, inter;
    double tolerance;
  };
  for (const Shape s : {Shape{DType::f32, 40, 20, 1e-4}, Shape{DType::bf16, 64, 80, 1e-4},
                        Shape{DType::f8_e4m3, 64, 96, 1e-4}, Shape{DType::q8_0, 64, 96, 0.04},
                        Shape{DType::f4_e2m1, 64, 96, 0.04}, Shape{DType::q4_k, 256, 256, 0.2}}) {
    std::vector<std::unique_ptr<TestWeight>> all;
    std::vector<WeightView> gate, up, down;
    const DType scale = s.dtype == DType::f4_e2m1 ? DType::f8_e8m0 : DType::f32;
    for (uint64_t e = 0; e < kExperts; ++e) {
      all.push_back(weight(s.dtype, s.inter, s.d, 10 * e, scale));
      all.push_back(weight(s.dtype, s.inter, s.d, 10 * e + 1, scale));
      all.push_back(weight(s.dtype, s.d, s.inter, 10 * e + 2, scale));
      gate.push_back(import(*all[3 * e]));
      up.push_back(import(*all[3 * e + 1]));
      down.push_back(import(*all[3 * e + 2]));
    }
    const auto experts = device_->import_experts(gate, up, down);
    ASSERT_TRUE(experts);
    for (const int64_t tokens : {1, 5, 70}) {
      Rng rng(4);
      std::vector<int32_t> ids;
      std::vector<double> w;
      for (int64_t i = 0; i < tokens * kChosen; ++i) {
        // Expert 6 is never chosen, expert 2 by most.
        ids.push_back(i % 3 == 0 ? 2 : static_cast<int32_t>(rng.next_below(6)));
        w.push_back(static_cast<float>(rng.next_double()));
      }
      const Table2 x = normal(tokens, s.d, 5);
      Table2 want = normal(tokens, s.d, 6);
      const Mat out = mat(want);
      for (int64_t i = 0; i < tokens * kChosen; ++i) {
        const int64_t t = i / kChosen;
        const auto e = static_cast<size_t>(ids[static_cast<size_t>(i)]);
        std::vector<double> hidden(static_cast<size_t>(s.inter));
        for (int64_t n = 0; n < s.inter; ++n) {
          double g = 0;
          double u = 0;
          for (int64_t c = 0; c < s.d; ++c) {
            g += all[3 * e]->values.at(n, c) * x.at(t, c);
            u += all[3 * e + 1]->values.at(n, c) * x.at(t, c);
          }
          g = std::min(g, 2.0);
          hidden[static_cast<size_t>(n)] = g / (1 + std::exp(-g)) * std::clamp(u, -2.0, 2.0);
        }
        for (int64_t c = 0; c < s.d; ++c) {
          for (int64_t n = 0; n < s.inter; ++n)
            want.at(t, c) += w[static_cast<size_t>(i)] * all[3 * e + 2]->values.at(c, n) *
                             hidden[static_cast<size_t>(n)];
        }
      }
      ops().moe_experts(out, mat(x), *experts, ids.data(), numbers(w), kChosen, 2);
      expect_near(out, want, s.tolerance, std::string(dtype_name(s.dtype)));
    }
  }
}

// ---- hyper-connections ----

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// mix = fn (x / rms(x)) of a token.
std::vector<double> mix_of(const Table2& x, int64_t t, const Table2& fn, double eps) {
  double squares = 0;
  for (int64_t c = 0; c < x.cols; ++c) squares += x.at(t, c) * x.at(t, c);
  const double rms = std::sqrt(squares / static_cast<double>(x.cols) + eps);
  std::vector<double> mix;
  for (int64_t n = 0; n < fn.rows; ++n) {
    double sum = 0;
    for (int64_t c = 0; c < x.cols; ++c) sum += fn.at(n, c) * x.at(t, c) / rms;
    mix.push_back(sum);
  }
  return mix;
}

// Sinkhorn's iteration: columns, then rows and columns in turn, are divided by their sums.
template <int64_t kM>
void balance(double (&c)[kM][kM], double eps) {
  for (int round = 0; round < 5; ++round) {
    for (int64_t i = 0; i < kM && round > 0; ++i) {
      double sum = eps;
      for (int64_t j = 0; j < kM; ++j) sum += c[i][j];
      for (int64_t j = 0; j < kM; ++j) c[i][j] /= sum;
    }
    for (int64_t j = 0; j < kM; ++j) {
      double sum = eps;
      for (int64_t i = 0; i < kM; ++i) sum += c[i][j];
      for (int64_t i = 0; i < kM; ++i) c[i][j] /= sum;
    }
  }
}

TEST_P(MoeTest, HyperConnectionsMatchTheDefinition) {
  constexpr int64_t kM = 4;
  constexpr int64_t kD = 37;
  constexpr int64_t kTokens = 6;
  constexpr double kEps = 1e-3;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto fn = weight(dtype, (2 + kM) * kM, kM * kD, 1);
    const Table2 x = normal(kTokens, kM * kD, 2);
    const Table2 y = normal(kTokens, kD, 3);
    const Table2 base = normal(1, (2 + kM) * kM, 4);
    const std::vector<double> scale = {0.5, 0.8, 1.2};
    const Mat streams = mat(x);
    const Mat out = mat(kTokens, kD);
    const Mat post = mat(kTokens, kM);
    const Mat comb = mat(kTokens, kM * kM);
    ops().hyper_pre({.x = streams,
                     .fn = import(*fn),
                     .base = numbers(base.v),
                     .scale = numbers(scale),
                     .streams = kM,
                     .norm_eps = 1e-6f,
                     .eps = static_cast<float>(kEps),
                     .sinkhorn_iterations = 5},
                    out, reinterpret_cast<float*>(post.data), reinterpret_cast<float*>(comb.data));
    Table2 want_out(kTokens, kD);
    Table2 want_post(kTokens, kM);
    Table2 want_comb(kTokens, kM * kM);
    Table2 want_streams(kTokens, kM * kD);
    for (int64_t t = 0; t < kTokens; ++t) {
      const auto mix = mix_of(x, t, fn->values, 1e-6);
      double c[kM][kM];
      for (int64_t i = 0; i < kM; ++i) {
        const double pre = sigmoid(mix[static_cast<size_t>(i)] * scale[0] + base.at(0, i)) + kEps;
        want_post.at(t, i) =
            2 * sigmoid(mix[static_cast<size_t>(kM + i)] * scale[1] + base.at(0, kM + i));
        for (int64_t d = 0; d < kD; ++d) want_out.at(t, d) += pre * x.at(t, i * kD + d);
        double sum = 0;
        for (int64_t j = 0; j < kM; ++j) {
          const int64_t at = (2 + i) * kM + j;
          sum += c[i][j] = std::exp(mix[static_cast<size_t>(at)] * scale[2] + base.at(0, at));
        }
        for (int64_t j = 0; j < kM; ++j) c[i][j] = c[i][j] / sum + kEps;
      }
      balance(c, kEps);
      for (int64_t i = 0; i < kM; ++i) {
        for (int64_t j = 0; j < kM; ++j) {
          want_comb.at(t, i * kM + j) = c[i][j];
          for (int64_t d = 0; d < kD; ++d)
            want_streams.at(t, j * kD + d) += c[i][j] * x.at(t, i * kD + d);
        }
        for (int64_t d = 0; d < kD; ++d)
          want_streams.at(t, i * kD + d) += want_post.at(t, i) * y.at(t, d);
      }
    }
    expect_near(out, want_out, 2e-5, "pre");
    expect_near(post, want_post, 2e-5, "post");
    expect_near(comb, want_comb, 2e-5, "comb");
    ops().hyper_post(streams, mat(y), reinterpret_cast<float*>(post.data),
                     reinterpret_cast<float*>(comb.data), kM);
    expect_near(streams, want_streams, 5e-5, "streams");
  }
}

TEST_P(MoeTest, HyperHeadMatchesTheDefinition) {
  constexpr int64_t kM = 3;
  constexpr int64_t kD = 21;
  const auto fn = weight(DType::f32, kM, kM * kD, 1);
  const Table2 x = normal(5, kM * kD, 2);
  const Table2 base = normal(1, kM, 3);
  const Mat out = mat(5, kD);
  ops().hyper_head({.x = mat(x),
                    .fn = import(*fn),
                    .base = numbers(base.v),
                    .scale = numbers({0.7}),
                    .streams = kM,
                    .norm_eps = 1e-6f,
                    .eps = 1e-3f},
                   out);
  Table2 want(5, kD);
  for (int64_t t = 0; t < 5; ++t) {
    const auto mix = mix_of(x, t, fn->values, 1e-6);
    for (int64_t i = 0; i < kM; ++i) {
      const double pre =
          sigmoid(mix[static_cast<size_t>(i)] * static_cast<double>(0.7f) + base.at(0, i)) + 1e-3;
      for (int64_t d = 0; d < kD; ++d) want.at(t, d) += pre * x.at(t, i * kD + d);
    }
  }
  expect_near(out, want, 2e-5);
}

}  // namespace
}  // namespace hadal::kernels
