// Parity of attention in all its forms: several sequences in a step, pages in disorder, rows of
// f32, f16 and bf16, rings that went round; expected values in double.
// Long because every form needs its definition beside it.

#include "kernels/internal/test_bed.h"

namespace hadal::kernels {
namespace {

class AttentionTest : public Bed {};
INSTANTIATE_TEST_SUITE_P(All, AttentionTest, ::testing::ValuesIn(kVariants),
                         [](const auto& i) { return variant_name(i.param); });

// A prefill, a decode, an extension that crosses pages, a lone first token, a long history.
TestStep mixed_step() { return TestStep({{0, 21}, {40, 1}, {13, 30}, {0, 1}, {1100, 3}}, 16); }

int64_t rows_of(const TestStep& step, size_t s) {
  return step.sequences()[s].past + step.sequences()[s].tokens;
}

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

TEST_P(AttentionTest, GroupedQueriesMatchTheDefinition) {
  struct Shape {
    int64_t heads, kv_heads, dim, v_dim;
    DType dtype;
  };
  const TestStep step = mixed_step();
  for (const Shape s : {Shape{4, 4, 16, 16, DType::f32}, Shape{6, 2, 24, 20, DType::f16},
                        Shape{5, 1, 33, 7, DType::bf16}, Shape{2, 1, 128, 128, DType::f16},
                        Shape{4, 2, 64, 32, DType::q8_0}, Shape{4, 2, 33, 20, DType::f8_e4m3}}) {
    TestCache k = test_cache(step, s.kv_heads * s.dim, s.dtype);
    TestCache v = test_cache(step, s.kv_heads * s.v_dim, s.dtype);
    const auto count = [&](size_t i) { return rows_of(step, i); };
    fill_cache(ops(), k, step, 1, count);
    fill_cache(ops(), v, step, 2, count);
    const Table2 q = normal(step.tokens(), s.heads * s.dim, 3);
    const Mat out = mat(step.tokens(), s.heads * s.v_dim);
    ops().attention({.out = out,
                     .q = mat(q, s.heads * s.dim + 1),
                     .k = k.view,
                     .v = v.view,
                     .heads = s.heads,
                     .kv_heads = s.kv_heads,
                     .scale = 0.2f},
                    step.view());
    for (int64_t t = 0; t < step.tokens(); ++t) {
      const auto seq = static_cast<size_t>(step.seq(t));
      for (int64_t h = 0; h < s.heads; ++h) {
        const int64_t g = h / (s.heads / s.kv_heads);
        std::vector<double> scores;
        std::vector<const double*> values;
        for (int64_t r = 0; r <= step.position(t); ++r) {
          scores.push_back(
              0.2f * dot(&q.v[static_cast<size_t>(t * q.cols + h * s.dim)],
                         &k.rows[seq].v[static_cast<size_t>((r * s.kv_heads + g) * s.dim)], s.dim));
          values.push_back(&v.rows[seq].v[static_cast<size_t>((r * s.kv_heads + g) * s.v_dim)]);
        }
        const auto want = attend(scores, values, s.v_dim);
        for (int64_t i = 0; i < s.v_dim; ++i) {
          ASSERT_NEAR(at(out, t, h * s.v_dim + i), want[static_cast<size_t>(i)], 2e-5)
              << "token " << t << " head " << h;
        }
      }
    }
  }
}

// What a cache of fewer bits keeps: with int8 within half a step of the block's largest number (and
// what rounding the step to f16 adds), with fp8 within a sixteenth, or half a step below 2^-6.
TEST_P(AttentionTest, StoredRowsStayWithinTheirBounds) {
  constexpr int64_t kWidth = 96;
  const TestStep step({{0, 40}}, 16);
  Table2 x = normal(40, kWidth, 5, 3);
  for (int64_t i = 0; i < 32; ++i) x.at(1, i) = 0;
  x.at(2, 7) = 500;
  x.at(3, 40) = -447;
  for (int64_t i = 0; i < kWidth; ++i) x.at(4, i) *= 1e-3;
  for (const DType dtype : {DType::q8_0, DType::f8_e4m3}) {
    TestCache c = test_cache(step, kWidth, dtype);
    ops().kv_append(c.view, mat(x), step.view());
    const int64_t bytes = kWidth / dtype_info(dtype).block_elems * dtype_info(dtype).block_bytes;
    for (int64_t t = 0; t < 40; ++t) {
      const int64_t row = step.view().block_table[t / 16] * 16 + t % 16;
      std::vector<float> got(kWidth);
      ASSERT_TRUE(
          format::dequantize(dtype, {c.view.data + row * bytes, static_cast<size_t>(bytes)}, got));
      for (int64_t i = 0; i < kWidth; ++i) {
        const double v = x.at(t, i);
        double largest = 0;
        for (int64_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j)
          largest = std::max(largest, std::abs(x.at(t, j)));
        const double bound = dtype == DType::q8_0 ? largest / 254 + largest * 0x1p-11 + 1e-7
                                                  : std::max(std::abs(v) / 16, 0x1p-10);
        const double want = dtype == DType::f8_e4m3 ? std::clamp(v, -448.0, 448.0) : v;
        ASSERT_NEAR(got[static_cast<size_t>(i)], want, bound)
            << dtype_name(dtype) << " row " << t << " column " << i;
      }
    }
  }
}

// The same tokens in one step, in pieces, and one at a time give the same bits.
TEST_P(AttentionTest, ChunkedPrefillEqualsWhole) {
  constexpr int64_t kTokens = 700;
  constexpr int64_t kHeads = 6;
  constexpr int64_t kDim = 32;
  const TestStep whole({{0, kTokens}}, 16);
  TestCache k = test_cache(whole, 2 * kDim, DType::f16);
  TestCache v = test_cache(whole, 2 * kDim, DType::f16);
  fill_cache(ops(), k, whole, 1, [](size_t) { return kTokens; });
  fill_cache(ops(), v, whole, 2, [](size_t) { return kTokens; });
  const Mat q = mat(normal(kTokens, kHeads * kDim, 3));
  const Mat all = mat(kTokens, kHeads * kDim);
  AttentionArgs args{
      .out = all, .q = q, .k = k.view, .v = v.view, .heads = kHeads, .kv_heads = 2, .scale = 0.3f};
  ops().attention(args, whole.view());
  for (const int64_t chunk : {int64_t{1}, int64_t{17}, int64_t{256}}) {
    const Mat out = mat(kTokens, kHeads * kDim);
    for (int64_t t = chunk == 1 ? kTokens - 20 : 0; t < kTokens; t += chunk) {
      const int64_t n = std::min(chunk, kTokens - t);
      TestStep step({{t, n}}, 16);
      StepView view = step.view();
      view.block_table = whole.view().block_table;
      view.blocks_max = whole.view().blocks_max;
      args.q = q.slice_rows(t, n);
      args.out = out.slice_rows(t, n);
      ops().attention(args, view);
      ASSERT_EQ(copy(args.out), copy(all.slice_rows(t, n))) << "from token " << t;
    }
  }
}

// ---- latent attention ----

struct MlaCase {
  int64_t heads, nope, latent, rope, v_dim;
  DType weights;
  DType cache;
  bool split;
  bool sparse;
};

void PrintTo(const MlaCase& c, std::ostream* out) {
  *out << c.heads << " heads, " << c.nope << "+" << c.rope << ", latent " << c.latent << ", "
       << dtype_name(c.weights) << (c.split ? " split" : "") << (c.sparse ? " sparse" : "");
}

class MlaTest : public Bed {
 protected:
  // Expected values in the naive form: keys and values of every row by kv_b.
  void check(const MlaCase& c, const TestStep& step, double tolerance) {
    const int64_t per_head = c.nope + c.v_dim;
    const auto whole = weight(c.weights, c.heads * per_head, c.latent, 7);
    auto keys = weight(DType::f32, c.heads * c.latent, c.nope, 8);
    auto values = weight(DType::f32, c.heads * c.v_dim, c.latent, 9);
    Table2 kv_b = whole->values;
    if (c.split) {
      keys = weight(c.weights, c.heads * c.latent, c.nope, 8);
      values = weight(c.weights, c.heads * c.v_dim, c.latent, 9);
      for (int64_t h = 0; h < c.heads; ++h) {
        for (int64_t i = 0; i < c.latent; ++i) {
          for (int64_t n = 0; n < c.nope; ++n)
            kv_b.at(h * per_head + n, i) = keys->values.at(h * c.latent + i, n);
          for (int64_t n = 0; n < c.v_dim; ++n)
            kv_b.at(h * per_head + c.nope + n, i) = values->values.at(h * c.v_dim + n, i);
        }
      }
    }
    TestCache cache = test_cache(step, c.latent + c.rope, c.cache);
    fill_cache(ops(), cache, step, 1, [&](size_t s) { return rows_of(step, s); });
    const Table2 q = normal(step.tokens(), c.heads * (c.nope + c.rope), 3);
    const Mat out = mat(step.tokens(), c.heads * c.v_dim);
    MlaArgs args{.out = out,
                 .q = mat(q),
                 .kv = cache.view,
                 .heads = c.heads,
                 .nope = c.nope,
                 .latent = c.latent,
                 .rope = c.rope,
                 .v_dim = c.v_dim,
                 .scale = 0.15f};
    if (c.split) {
      args.k_b_t = import(*keys);
      args.v_b = import(*values);
    } else {
      args.kv_b = import(*whole);
    }
    std::vector<std::vector<int64_t>> seen;
    const std::vector<int32_t> lists = select_rows(c, step, seen);
    if (c.sparse) {
      args.selected = lists.data();
      args.selected_max = kSelectedMax;
    }
    ops().mla_attention(args, step.view());
    expect_naive(c, step, kv_b, cache, q, seen, out, tolerance);
  }

 private:
  static constexpr int64_t kSelectedMax = 9;

  // What each token sees; for sparse attention also its list.
  static std::vector<int32_t> select_rows(const MlaCase& c, const TestStep& step,
                                          std::vector<std::vector<int64_t>>& seen) {
    Rng rng(4);
    std::vector<int32_t> lists;
    for (int64_t t = 0; t < step.tokens(); ++t) {
      std::vector<int64_t> rows;
      for (int64_t r = 0; r <= step.position(t); ++r) {
        const bool keep = !c.sparse || r == step.position(t) || rng.next_below(4) == 0;
        if (keep && (!c.sparse || static_cast<int64_t>(rows.size()) < kSelectedMax))
          rows.push_back(r);
      }
      for (int64_t i = 0; i < kSelectedMax && c.sparse; ++i) {
        lists.push_back(i < static_cast<int64_t>(rows.size())
                            ? static_cast<int32_t>(rows[static_cast<size_t>(i)])
                            : -1);
      }
      seen.push_back(rows);
    }
    return lists;
  }

  static void expect_naive(const MlaCase& c, const TestStep& step, const Table2& kv_b,
                           const TestCache& cache, const Table2& q,
                           const std::vector<std::vector<int64_t>>& seen, const Mat& out,
                           double tolerance) {
    const int64_t per_head = c.nope + c.v_dim;
    for (int64_t h = 0; h < c.heads; ++h) {
      // By sequence: the head's expanded rows [nope | v].
      std::vector<Table2> expanded;
      for (const Table2& rows : cache.rows) {
        Table2 e(rows.rows, per_head);
        for (int64_t r = 0; r < rows.rows; ++r) {
          for (int64_t n = 0; n < per_head; ++n) {
            e.at(r, n) = dot(&rows.v[static_cast<size_t>(r * rows.cols)],
                             &kv_b.v[static_cast<size_t>((h * per_head + n) * c.latent)], c.latent);
          }
        }
        expanded.push_back(std::move(e));
      }
      for (int64_t t = 0; t < step.tokens(); ++t) {
        const auto seq = static_cast<size_t>(step.seq(t));
        const double* qh = &q.v[static_cast<size_t>(t * q.cols + h * (c.nope + c.rope))];
        std::vector<double> scores;
        std::vector<const double*> values;
        for (const int64_t r : seen[static_cast<size_t>(t)]) {
          const double* e = &expanded[seq].v[static_cast<size_t>(r * per_head)];
          const double* pe =
              &cache.rows[seq].v[static_cast<size_t>(r * (c.latent + c.rope) + c.latent)];
          scores.push_back(0.15f * (dot(qh, e, c.nope) + dot(qh + c.nope, pe, c.rope)));
          values.push_back(e + c.nope);
        }
        const auto want = attend(scores, values, c.v_dim);
        for (int64_t i = 0; i < c.v_dim; ++i) {
          ASSERT_NEAR(at(out, t, h * c.v_dim + i), want[static_cast<size_t>(i)], tolerance)
              << ::testing::PrintToString(c) << " token " << t << " head " << h;
        }
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(All, MlaTest, ::testing::ValuesIn(kVariants),
                         [](const auto& i) { return variant_name(i.param); });

TEST_P(MlaTest, AbsorbedMatchesTheNaiveForm) {
  const TestStep step({{0, 7}, {30, 1}, {600, 2}}, 16);
  check({3, 16, 32, 8, 16, DType::f32, DType::f32, false, false}, step, 2e-5);
  check({2, 12, 40, 6, 20, DType::bf16, DType::f16, false, false}, step, 2e-5);
  check({2, 16, 32, 8, 16, DType::f32, DType::bf16, true, false}, step, 2e-5);
  check({70, 16, 32, 8, 16, DType::bf16, DType::f32, true, false}, step, 2e-5);
  check({3, 16, 64, 32, 16, DType::f32, DType::q8_0, false, false}, step, 2e-5);
  check({3, 16, 40, 8, 16, DType::f32, DType::f8_e4m3, true, false}, step, 2e-5);
}

TEST_P(MlaTest, BlockedWeightsStayCloseToTheNaiveForm) {
  const TestStep step({{0, 3}, {30, 1}}, 16);
  check({2, 32, 64, 8, 32, DType::q8_0, DType::f32, false, false}, step, 2e-2);
  check({2, 32, 64, 8, 32, DType::q8_0, DType::f32, true, false}, step, 2e-2);
  check({2, 16, 128, 8, 16, DType::f8_e4m3, DType::f32, false, false}, step, 2e-5);
}

TEST_P(MlaTest, SelectedRowsOnly) {
  const TestStep step({{0, 7}, {30, 1}, {100, 12}}, 16);
  check({3, 16, 32, 8, 16, DType::f32, DType::f32, false, true}, step, 2e-5);
  check({2, 16, 32, 8, 16, DType::bf16, DType::f16, true, true}, step, 2e-5);
  check({2, 16, 64, 32, 16, DType::f32, DType::q8_0, false, true}, step, 2e-5);
  check({2, 16, 32, 8, 16, DType::f32, DType::f8_e4m3, false, true}, step, 2e-5);
}

// Long enough for the expanded form (see mla_attention: 16 tokens here), beside short ones.
TEST_P(MlaTest, ExpandedMatchesTheNaiveForm) {
  const TestStep step({{5, 1}, {0, 80}, {20, 2}, {40, 70}}, 16);
  check({3, 8, 32, 8, 8, DType::f32, DType::f32, false, false}, step, 2e-5);
  check({2, 8, 32, 6, 12, DType::bf16, DType::f16, true, false}, step, 2e-5);
  check({2, 8, 32, 32, 12, DType::f32, DType::q8_0, false, false}, step, 2e-5);
  check({2, 8, 32, 6, 12, DType::f32, DType::f8_e4m3, false, false}, step, 2e-5);
}

// ---- the indexer ----

TEST_P(AttentionTest, IndexerKeepsTheBestVisibleRows) {
  constexpr int64_t kHeads = 3;
  constexpr int64_t kDim = 32;
  const std::pair<int64_t, DType> kCases[] = {
      {1, DType::f16}, {4, DType::f16}, {1, DType::q8_0}, {4, DType::f8_e4m3}};
  for (const auto& [ratio_, dtype] : kCases) {
    const int64_t ratio = ratio_;
    const TestStep step = mixed_step();
    TestCache k = test_cache(step, kDim, dtype, 0, ratio);
    fill_cache(ops(), k, step, 1, [&](size_t s) { return rows_of(step, s) / ratio; });
    const Table2 q = normal(step.tokens(), kHeads * kDim, 3);
    const Table2 w = normal(step.tokens(), kHeads, 4);
    constexpr int64_t kMax = 11;
    std::vector<int32_t> selected(static_cast<size_t>(step.tokens() * kMax), 99);
    ops().indexer_top_k({.q = mat(q),
                         .weights = mat(w, kHeads + 2),
                         .k = k.view,
                         .heads = kHeads,
                         .ratio = ratio,
                         .scale = 0.25f,
                         .weight_scale = 0.5f,
                         .selected = selected.data(),
                         .selected_max = kMax},
                        step.view());
    for (int64_t t = 0; t < step.tokens(); ++t) {
      const auto seq = static_cast<size_t>(step.seq(t));
      const int64_t rows = (step.position(t) + 1) / ratio;
      std::vector<std::pair<double, int32_t>> order;
      for (int64_t r = 0; r < rows; ++r) {
        double score = 0;
        for (int64_t h = 0; h < kHeads; ++h) {
          const double match = dot(&q.v[static_cast<size_t>((t * kHeads + h) * kDim)],
                                   &k.rows[seq].v[static_cast<size_t>(r * kDim)], kDim);
          score += w.at(t, h) * 0.5 * std::max(match * 0.25, 0.0);
        }
        order.emplace_back(-score, static_cast<int32_t>(r));
      }
      std::sort(order.begin(), order.end());
      std::vector<int32_t> want;
      for (size_t i = 0; i < order.size() && i < kMax; ++i) want.push_back(order[i].second);
      std::sort(want.begin(), want.end());
      want.resize(kMax, -1);
      const std::vector<int32_t> got(selected.begin() + t * kMax,
                                     selected.begin() + (t + 1) * kMax);
      ASSERT_EQ(got, want) << "token " << t << " ratio " << ratio;
    }
  }
}

TEST_P(AttentionTest, IndexerBreaksTiesByTheLowerRow) {
  const TestStep step({{30, 1}}, 16);
  TestCache k = test_cache(step, 4, DType::f32);
  fill_cache(ops(), k, step, 1, [](size_t) { return 31; });
  std::vector<int32_t> selected(5);
  const Mat zeros = mat(1, 8);
  ops().clear(zeros);
  ops().indexer_top_k({.q = zeros.slice_cols(0, 4),
                       .weights = zeros.slice_cols(4, 1),
                       .k = k.view,
                       .heads = 1,
                       .selected = selected.data(),
                       .selected_max = 5},
                      step.view());
  EXPECT_EQ(selected, (std::vector<int32_t>{0, 1, 2, 3, 4}));
}

// ---- V4's attention ----

TEST_P(AttentionTest, SinkAttentionSeesItsWindowAndPooledRows) {
  constexpr int64_t kWindow = 12;
  struct Shape {
    int64_t heads, dim, ratio;
    bool pooled, sparse;
    DType dtype;
  };
  // Rings hold a window and the step's tokens; long histories have gone round several times.
  const TestStep step({{0, 21}, {40, 1}, {13, 30}, {0, 1}, {1101, 3}}, 16);
  for (const Shape s :
       {Shape{3, 16, 1, false, false, DType::f32}, Shape{5, 24, 4, true, false, DType::f16},
        Shape{2, 33, 4, true, true, DType::bf16}, Shape{66, 16, 8, true, false, DType::f32},
        Shape{3, 64, 4, true, true, DType::q8_0}, Shape{3, 24, 4, true, false, DType::f8_e4m3}}) {
    TestCache recent = test_cache(step, s.dim, s.dtype, kWindow + 30);
    TestCache pooled = test_cache(step, s.dim, s.dtype, 0, s.ratio);
    fill_cache(ops(), recent, step, 1, [&](size_t i) { return rows_of(step, i); });
    fill_cache(ops(), pooled, step, 2, [&](size_t i) { return rows_of(step, i) / s.ratio; });
    const Table2 q = normal(step.tokens(), s.heads * s.dim, 3);
    const Table2 sink = normal(1, s.heads, 4, 2);
    const Mat out = mat(step.tokens(), s.heads * s.dim);
    constexpr int64_t kMax = 6;
    std::vector<int32_t> lists;
    for (int64_t t = 0; t < step.tokens(); ++t) {
      const int64_t rows = (step.position(t) + 1) / s.ratio;
      for (int64_t i = 0; i < kMax; ++i)
        lists.push_back(i < rows / 2 ? static_cast<int32_t>(2 * i) : -1);
    }
    ops().sink_attention({.out = out,
                          .q = mat(q),
                          .recent = recent.view,
                          .compressed = s.pooled ? pooled.view : KvView{},
                          .sink = numbers(sink.v),
                          .heads = s.heads,
                          .window = kWindow,
                          .ratio = s.ratio,
                          .scale = 0.2f,
                          .selected = s.sparse ? lists.data() : nullptr,
                          .selected_max = s.sparse ? kMax : 0},
                         step.view());
    for (int64_t t = 0; t < step.tokens(); ++t) {
      const auto seq = static_cast<size_t>(step.seq(t));
      const int64_t p = step.position(t);
      std::vector<const double*> rows;
      for (int64_t r = std::max<int64_t>(0, p - kWindow + 1); r <= p; ++r)
        rows.push_back(&recent.rows[seq].v[static_cast<size_t>(r * s.dim)]);
      for (int64_t r = 0; r < (p + 1) / s.ratio && s.pooled; ++r) {
        const auto* list = lists.data() + t * kMax;
        if (!s.sparse || std::find(list, list + kMax, r) != list + kMax)
          rows.push_back(&pooled.rows[seq].v[static_cast<size_t>(r * s.dim)]);
      }
      for (int64_t h = 0; h < s.heads; ++h) {
        std::vector<double> scores;
        for (const double* row : rows) {
          scores.push_back(0.2f *
                           dot(&q.v[static_cast<size_t>((t * s.heads + h) * s.dim)], row, s.dim));
        }
        const auto want = attend(scores, rows, s.dim, sink.at(0, h));
        for (int64_t i = 0; i < s.dim; ++i) {
          ASSERT_NEAR(at(out, t, h * s.dim + i), want[static_cast<size_t>(i)], 2e-5)
              << "token " << t << " head " << h;
        }
      }
    }
  }
}

struct CompressCase {
  int64_t width, ratio, rope;
  bool overlap;
  DType dtype;
};

// What compress must have written for row g of a sequence whose raw rows are kv and gate + ape.
std::vector<double> pooled_row(const CompressCase& c, const Table2& kv, const Table2& gate,
                               int64_t g, const Table2& norm, const std::vector<double>& freq) {
  std::vector<double> out(static_cast<size_t>(c.width));
  double squares = 0;
  for (int64_t i = 0; i < c.width; ++i) {
    std::vector<double> logits;
    std::vector<double> values;
    const auto window = [&](int64_t first, int64_t column) {
      for (int64_t p = first; p < first + c.ratio; ++p) {
        logits.push_back(gate.at(p, column));
        values.push_back(kv.at(p, column));
      }
    };
    if (c.overlap && g > 0) window((g - 1) * c.ratio, i);
    window(g * c.ratio, c.overlap ? c.width + i : i);
    std::vector<const double*> rows;
    for (const double& v : values) rows.push_back(&v);
    out[static_cast<size_t>(i)] = attend(logits, rows, 1)[0];
    squares += out[static_cast<size_t>(i)] * out[static_cast<size_t>(i)];
  }
  for (int64_t i = 0; i < c.width; ++i) {
    out[static_cast<size_t>(i)] *=
        norm.at(0, i) / std::sqrt(squares / static_cast<double>(c.width) + 1e-5);
  }
  for (int64_t i = 0; i < c.rope / 2; ++i) {
    const float angle =
        static_cast<float>(g * c.ratio) * static_cast<float>(freq[static_cast<size_t>(i)]);
    double& a = out[static_cast<size_t>(c.width - c.rope + 2 * i)];
    double& b = out[static_cast<size_t>(c.width - c.rope + 2 * i + 1)];
    const double cos = std::cos(static_cast<double>(angle)) * 1.1;
    const double sin = std::sin(static_cast<double>(angle)) * 1.1;
    const double rotated = a * cos - b * sin;
    b = b * cos + a * sin;
    a = rotated;
  }
  return out;
}

// What storing a row may cost.
double storage_error(DType dtype, const std::vector<double>& row) {
  double largest = 0;
  for (const double v : row) largest = std::max(largest, std::abs(v));
  switch (dtype) {
    case DType::f32: return 2e-5;
    case DType::q8_0: return largest * (1.0 / 254 + 0x1p-11);
    case DType::f8_e4m3: return largest / 16;
    default: return 4e-3;
  }
}

// Two sequences of 45 tokens, fed in steps of 1, 7 and 45: windows then span steps.
TEST_P(AttentionTest, CompressPoolsWindowsAcrossSteps) {
  constexpr int64_t kTokens = 45;
  for (const CompressCase c :
       {CompressCase{20, 4, 8, true, DType::f32}, CompressCase{16, 8, 4, false, DType::f16},
        CompressCase{17, 4, 0, true, DType::f32}, CompressCase{32, 4, 8, true, DType::q8_0},
        CompressCase{16, 8, 4, false, DType::f8_e4m3}}) {
    const int64_t cols = (c.overlap ? 2 : 1) * c.width;
    const Table2 ape = normal(c.ratio, cols, 5);
    const Table2 norm = normal(1, c.width, 6);
    const std::vector<double> freq = {1, 0.5, 0.1, 0.02};
    const Table2 kv[] = {normal(kTokens, cols, 7), normal(kTokens, cols, 8)};
    const Table2 raw_gate[] = {normal(kTokens, cols, 9), normal(kTokens, cols, 10)};
    for (const int64_t chunk : {int64_t{1}, int64_t{7}, kTokens}) {
      const TestStep whole({{0, kTokens}, {0, kTokens}}, 16);
      TestCache state = test_cache(whole, 2 * cols, DType::f32, 2 * c.ratio + chunk);
      TestCache out = test_cache(whole, c.width, c.dtype, 0, c.ratio);
      for (int64_t t = 0; t < kTokens; t += chunk) {
        const int64_t n = std::min(chunk, kTokens - t);
        const TestStep step({{t, n}, {t, n}}, 16);
        StepView view = step.view();
        view.block_table = whole.view().block_table;
        view.blocks_max = whole.view().blocks_max;
        Table2 x(2 * n, cols);
        Table2 gate(2 * n, cols);
        for (int64_t i = 0; i < n * cols; ++i) {
          for (int64_t s = 0; s < 2; ++s) {
            x.v[static_cast<size_t>(s * n * cols + i)] = kv[s].v[static_cast<size_t>(t * cols + i)];
            gate.v[static_cast<size_t>(s * n * cols + i)] =
                raw_gate[s].v[static_cast<size_t>(t * cols + i)];
          }
        }
        ops().compress({.kv = mat(x),
                        .gate = mat(gate),
                        .ape = numbers(ape.v),
                        .norm = numbers(norm.v),
                        .eps = 1e-5f,
                        .ratio = c.ratio,
                        .overlap = c.overlap,
                        .inv_freq = numbers(freq),
                        .rope_dims = c.rope,
                        .rope_scale = 1.1f,
                        .state = state.view,
                        .out = out.view},
                       view);
      }
      for (int64_t s = 0; s < 2; ++s) {
        Table2 gate = raw_gate[s];
        for (int64_t p = 0; p < kTokens; ++p) {
          for (int64_t i = 0; i < cols; ++i) gate.at(p, i) += ape.at(p % c.ratio, i);
        }
        for (int64_t g = 0; g < kTokens / c.ratio; ++g) {
          const auto want = pooled_row(c, kv[s], gate, g, norm, freq);
          const int64_t page =
              whole.view().block_table[s * whole.view().blocks_max + g / out.view.page_rows];
          const int64_t row = page * out.view.page_rows + g % out.view.page_rows;
          const int64_t bytes =
              c.width / dtype_info(c.dtype).block_elems * dtype_info(c.dtype).block_bytes;
          std::vector<float> got(static_cast<size_t>(c.width));
          ASSERT_TRUE(format::dequantize(
              c.dtype, {out.view.data + row * bytes, static_cast<size_t>(bytes)}, got));
          for (int64_t i = 0; i < c.width; ++i) {
            ASSERT_NEAR(got[static_cast<size_t>(i)], want[static_cast<size_t>(i)],
                        storage_error(c.dtype, want))
                << "sequence " << s << " row " << g << " chunk " << chunk;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace hadal::kernels
