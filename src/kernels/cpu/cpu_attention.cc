// Attention over a paged cache: grouped queries, and the indexer that picks rows for the sparse
// forms. Latent attention is in cpu_mla.cc, attention with a sink in cpu_v4.cc.

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"

namespace hadal::kernels::cpu {
namespace {

// Queries that share a block: enough that turning rows into f32 is little beside the products.
constexpr int64_t kBlockQueries = 96;

}  // namespace

// A block is some tokens of a sequence with the heads that share one head of keys.
void CpuOps::attention(const AttentionArgs& a, const StepView& step) {
  const int64_t dim = a.k.width / a.kv_heads;
  const int64_t v_dim = a.v.width / a.kv_heads;
  const int64_t group = a.heads / a.kv_heads;
  const int64_t k_bytes = kv_bytes(a.k.dtype, dim);
  const int64_t v_bytes = kv_bytes(a.v.dtype, v_dim);
  token_runs(step, std::max<int64_t>(1, kBlockQueries / group));
  const auto run_of = [&](int64_t b) { return runs_[static_cast<size_t>(b / a.kv_heads)]; };
  const auto q_at = [&](const Mat& m, int64_t b, int64_t i, int64_t width) {
    return row_of(m, run_of(b).first + i / group) + (b % a.kv_heads * group + i % group) * width;
  };
  flash_.run({.blocks = static_cast<int64_t>(runs_.size()) * a.kv_heads,
              .dim = dim,
              .v_dim = v_dim,
              .queries_max = std::max(kBlockQueries, group),
              .rows_max = step.context_max,
              .load_queries =
                  [&](int64_t b, float* q, FlashJob::Query* queries) {
                    const TokenRun run = run_of(b);
                    for (int64_t i = 0; i < run.count * group; ++i) {
                      t_.scale(q + i * dim, q_at(a.q, b, i, dim), a.scale, nullptr, dim);
                      queries[i] = {step.positions[run.first + i / group] + 1, -INFINITY};
                    }
                    return run.count * group;
                  },
              .load_rows =
                  [&](int64_t b, int64_t begin, int64_t count, float* k, float* v) {
                    const int64_t seq = step.token_seq[run_of(b).first];
                    const int64_t g = b % a.kv_heads;
                    for (int64_t r = 0; r < count; ++r) {
                      t_.dequantize(k + r * dim, a.k.dtype,
                                    kv_address(a.k, step, seq, begin + r) + g * k_bytes, dim);
                      t_.dequantize(v + r * v_dim, a.v.dtype,
                                    kv_address(a.v, step, seq, begin + r) + g * v_bytes, v_dim);
                    }
                    return FlashJob::Rows{k, v, v_dim};
                  },
              .out = [&](int64_t b, int64_t i) { return q_at(a.out, b, i, v_dim); }});
}

// Pieces of at most `tokens_max` neighbours of one sequence.
void CpuOps::token_runs(const StepView& step, int64_t tokens_max) {
  runs_.clear();
  for (int64_t s = 0; s < step.sequences; ++s) {
    for (int64_t t = step.seq_begin[s]; t < step.seq_begin[s + 1]; t += tokens_max)
      runs_.push_back({t, std::min(tokens_max, step.seq_begin[s + 1] - t)});
  }
}

// ---- the indexer ----

// Scores of rows [0, rows) for a token: tiles of keys against all its heads at once.
void CpuOps::index_scores(const IndexerArgs& a, const StepView& step, int64_t t, int64_t rows,
                          Scratch& scratch, float* scores) {
  constexpr int64_t kTile = 64;
  const int64_t dim = a.k.width;
  float* keys = scratch.floats(1, static_cast<size_t>(kTile * dim));
  float* match = scratch.floats(2, static_cast<size_t>(kTile * a.heads));
  for (int64_t begin = 0; begin < rows; begin += kTile) {
    const int64_t count = std::min(kTile, rows - begin);
    for (int64_t r = 0; r < count; ++r) {
      t_.dequantize(keys + r * dim, a.k.dtype, kv_address(a.k, step, step.token_seq[t], begin + r),
                    dim);
    }
    t_.gemm(match, kTile, row_of(a.q, t), dim, a.heads, keys, count, dim);
    std::fill_n(scores + begin, count, 0.0f);
    for (int64_t h = 0; h < a.heads; ++h) {
      const float weight = row_of(a.weights, t)[h] * a.weight_scale;
      const float* m = match + h * kTile;
      for (int64_t r = 0; r < count; ++r)
        scores[begin + r] += weight * std::max(m[r] * a.scale, 0.0f);
    }
  }
}

void CpuOps::indexer_top_k(const IndexerArgs& a, const StepView& step) {
  pool_.run(step.tokens, 1, [&](int64_t begin, int64_t end, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    for (int64_t t = begin; t < end; ++t) {
      const int64_t rows = (step.positions[t] + 1) / a.ratio;
      int32_t* out = a.selected + t * a.selected_max;
      const int64_t kept = std::min(rows, a.selected_max);
      std::fill(out + kept, out + a.selected_max, -1);
      if (rows <= a.selected_max) {
        for (int64_t r = 0; r < rows; ++r) out[r] = static_cast<int32_t>(r);
        continue;
      }
      float* scores = scratch.floats(0, static_cast<size_t>(rows));
      index_scores(a, step, t, rows, scratch, scores);
      for (int64_t r = 0; r < rows; ++r) {
        if (std::isnan(scores[r])) scores[r] = -INFINITY;  // an order must exist
      }
      auto* order = reinterpret_cast<int32_t*>(scratch.floats(3, static_cast<size_t>(rows)));
      for (int64_t r = 0; r < rows; ++r) order[r] = static_cast<int32_t>(r);
      std::nth_element(order, order + kept, order + rows, [&](int32_t x, int32_t y) {
        return scores[x] > scores[y] || (scores[x] == scores[y] && x < y);
      });
      std::sort(order, order + kept);
      std::copy_n(order, kept, out);
    }
  });
}

}  // namespace hadal::kernels::cpu
