// Attention over a paged cache: grouped queries, latent attention, and the indexer that picks rows
// for both sparse forms.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"

namespace hadal::kernels::cpu {
namespace {

// Rows of a selection: -1 ends it.
int64_t selected_count(const int32_t* list, int64_t max) {
  int64_t n = 0;
  while (n < max && list[n] >= 0) ++n;
  return n;
}

}  // namespace

// One (token, head) at a time: scores of all rows, softmax, weighted sum. Heads that share keys run
// next to each other.
void CpuOps::attention(const AttentionArgs& a, const StepView& step) {
  const int64_t dim = a.k.width / a.kv_heads;
  const int64_t v_dim = a.v.width / a.kv_heads;
  const int64_t group = a.heads / a.kv_heads;
  const int64_t k_bytes = dim * dtype_info(a.k.dtype).block_bytes;
  const int64_t v_bytes = v_dim * dtype_info(a.v.dtype).block_bytes;
  pool_.run(step.tokens * a.kv_heads, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t t = item / a.kv_heads;
      const int64_t g = item % a.kv_heads;
      const int64_t seq = step.token_seq[t];
      const int64_t rows = step.positions[t] + 1;
      float* scores =
          scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(rows * group));
      for (int64_t r = 0; r < rows; ++r) {
        const std::byte* k = kv_address(a.k, step, seq, r) + g * k_bytes;
        for (int64_t j = 0; j < group; ++j) {
          scores[j * rows + r] =
              t_.dot_kv(row_of(a.q, t) + (g * group + j) * dim, a.k.dtype, k, dim) * a.scale;
        }
      }
      float* out = row_of(a.out, t) + g * group * v_dim;
      std::fill_n(out, group * v_dim, 0.0f);
      for (int64_t j = 0; j < group; ++j) {
        float* s = scores + j * rows;
        const float sum = t_.exp_sum(s, t_.max(s, rows), rows);
        t_.scale(s, s, 1 / sum, nullptr, rows);
      }
      for (int64_t r = 0; r < rows; ++r) {
        const std::byte* v = kv_address(a.v, step, seq, r) + g * v_bytes;
        for (int64_t j = 0; j < group; ++j)
          t_.axpy_kv(out + j * v_dim, scores[j * rows + r], a.v.dtype, v, v_dim);
      }
    }
  });
}

// ---- latent attention ----

// The absorbed form costs (2C + R) per query, head and row; the expanded one (nope + R + v), but
// first makes nope + v numbers per row and head at C each. With T new tokens over n rows, expanding
// wins when
//   T * n * (2C - nope - v) > n * C * (nope + v),
// which for C = 512, nope = v = 128 is T > 170. Sparse attention reads few rows and stays absorbed.
void CpuOps::mla_attention(const MlaArgs& a, const StepView& step) {
  const int64_t gain = 2 * a.latent - a.nope - a.v_dim;
  const int64_t cost = a.latent * (a.nope + a.v_dim);
  bool all_absorbed = true;
  for (int64_t s = 0; s < step.sequences; ++s) {
    const int64_t tokens = step.seq_begin[s + 1] - step.seq_begin[s];
    if (a.selected == nullptr && tokens * gain > cost) {
      all_absorbed = false;
      mla_expanded(a, step, s);
    }
  }
  if (all_absorbed) {
    mla_absorbed(a, step);
    return;
  }
  // Mixed steps: the short sequences, one view each.
  for (int64_t s = 0; s < step.sequences; ++s) {
    const int64_t first = step.seq_begin[s];
    const int64_t tokens = step.seq_begin[s + 1] - first;
    if (tokens * gain > cost) continue;
    StepView part = step;
    part.tokens = tokens;
    part.positions += first;
    part.token_seq += first;
    MlaArgs args = a;
    args.q = a.q.slice_rows(first, tokens);
    args.out = a.out.slice_rows(first, tokens);
    mla_absorbed(args, part);
  }
}

// q_nope moved into the latent space: latent[c] = sum_n q[n] * W_uk[n][c].
float* CpuOps::mla_absorb(const MlaArgs& a, const float* q, int64_t head, float* latent,
                          float* row) {
  if (a.kv_b.empty()) {
    for (int64_t c = 0; c < a.latent; ++c) {
      weight_row(row, a.k_b_t, head * a.latent + c);
      latent[c] = t_.dot(row, q, a.nope);
    }
    return latent;
  }
  std::fill_n(latent, a.latent, 0.0f);
  for (int64_t n = 0; n < a.nope; ++n) {
    weight_row(row, a.kv_b, head * (a.nope + a.v_dim) + n);
    t_.axpy(latent, q[n], row, a.latent);
  }
  return latent;
}

void CpuOps::mla_absorbed(const MlaArgs& a, const StepView& step) {
  const int64_t q_cols = a.nope + a.rope;
  const int64_t latent_bytes = a.latent * dtype_info(a.kv.dtype).block_bytes;
  // By head first: the tokens of a step then share the head's weights while they are in the cache.
  pool_.run(
      a.heads * step.tokens, std::max<int64_t>(1, step.tokens),
      [&](int64_t begin, int64_t end, int thread) {
        Scratch& scratch = scratch_[static_cast<size_t>(thread)];
        float* row = scratch.floats(0, static_cast<size_t>(std::max(a.latent, a.nope)));
        float* q_latent = scratch.floats(1, static_cast<size_t>(a.latent));
        float* out_latent = scratch.floats(2, static_cast<size_t>(a.latent));
        for (int64_t item = begin; item < end; ++item) {
          const int64_t h = item / step.tokens;
          const int64_t t = item % step.tokens;
          const int64_t seq = step.token_seq[t];
          const int32_t* list = a.selected != nullptr ? a.selected + t * a.selected_max : nullptr;
          const int64_t rows =
              list != nullptr ? selected_count(list, a.selected_max) : step.positions[t] + 1;
          const float* q = row_of(a.q, t) + h * q_cols;
          mla_absorb(a, q, h, q_latent, row);
          float* scores = scratch.floats(3, static_cast<size_t>(rows));
          for (int64_t i = 0; i < rows; ++i) {
            const std::byte* kv = kv_address(a.kv, step, seq, list != nullptr ? list[i] : i);
            scores[i] = (t_.dot_kv(q_latent, a.kv.dtype, kv, a.latent) +
                         t_.dot_kv(q + a.nope, a.kv.dtype, kv + latent_bytes, a.rope)) *
                        a.scale;
          }
          const float sum = t_.exp_sum(scores, t_.max(scores, rows), rows);
          std::fill_n(out_latent, a.latent, 0.0f);
          for (int64_t i = 0; i < rows; ++i) {
            const std::byte* kv = kv_address(a.kv, step, seq, list != nullptr ? list[i] : i);
            t_.axpy_kv(out_latent, scores[i] / sum, a.kv.dtype, kv, a.latent);
          }
          const WeightView& w = a.kv_b.empty() ? a.v_b : a.kv_b;
          const int64_t first = a.kv_b.empty() ? h * a.v_dim : h * (a.nope + a.v_dim) + a.nope;
          for (int64_t v = 0; v < a.v_dim; ++v) {
            weight_row(row, w, first + v);
            row_of(a.out, t)[h * a.v_dim + v] = t_.dot(row, out_latent, a.latent);
          }
        }
      });
}

// Keys and values of one head for all rows of a sequence, then plain attention for its new tokens.
void CpuOps::mla_expanded(const MlaArgs& a, const StepView& step, int64_t seq) {
  const int64_t first = step.seq_begin[seq];
  const int64_t tokens = step.seq_begin[seq + 1] - first;
  const int64_t rows = step.positions[first + tokens - 1] + 1;
  const int64_t width = a.latent + a.rope;
  float* cached = shared_.floats(0, static_cast<size_t>(rows * width));
  pool_.run(rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      t_.dequantize(cached + r * width, a.kv.dtype, kv_address(a.kv, step, seq, r), width);
    }
  });
  pool_.run(a.heads, 1, [&](int64_t begin, int64_t end, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    float* w = scratch.floats(0, static_cast<size_t>(std::max(a.nope, a.v_dim) * a.latent));
    float* row = scratch.floats(1, static_cast<size_t>(std::max(a.latent, a.nope)));
    float* k = scratch.floats(2, static_cast<size_t>(rows * a.nope));
    float* v = scratch.floats(3, static_cast<size_t>(rows * a.v_dim));
    float* scores = scratch.floats(4, static_cast<size_t>(rows));
    for (int64_t h = begin; h < end; ++h) {
      for (int64_t n = 0; n < a.nope; ++n) {
        if (!a.kv_b.empty()) weight_row(w + n * a.latent, a.kv_b, h * (a.nope + a.v_dim) + n);
      }
      for (int64_t c = 0; a.kv_b.empty() && c < a.latent; ++c) {
        weight_row(row, a.k_b_t, h * a.latent + c);
        for (int64_t n = 0; n < a.nope; ++n) w[n * a.latent + c] = row[n];
      }
      t_.gemm(k, a.nope, cached, width, rows, w, a.nope, a.latent);
      for (int64_t n = 0; n < a.v_dim; ++n) {
        if (a.kv_b.empty()) {
          weight_row(w + n * a.latent, a.v_b, h * a.v_dim + n);
        } else {
          weight_row(w + n * a.latent, a.kv_b, h * (a.nope + a.v_dim) + a.nope + n);
        }
      }
      t_.gemm(v, a.v_dim, cached, width, rows, w, a.v_dim, a.latent);
      for (int64_t t = first; t < first + tokens; ++t) {
        const float* q = row_of(a.q, t) + h * (a.nope + a.rope);
        const int64_t seen = step.positions[t] + 1;
        for (int64_t r = 0; r < seen; ++r) {
          scores[r] = (t_.dot(q, k + r * a.nope, a.nope) +
                       t_.dot(q + a.nope, cached + r * width + a.latent, a.rope)) *
                      a.scale;
        }
        const float sum = t_.exp_sum(scores, t_.max(scores, seen), seen);
        float* out = row_of(a.out, t) + h * a.v_dim;
        std::fill_n(out, a.v_dim, 0.0f);
        for (int64_t r = 0; r < seen; ++r) t_.axpy(out, scores[r] / sum, v + r * a.v_dim, a.v_dim);
      }
    }
  });
}

// ---- the indexer ----

void CpuOps::indexer_top_k(const IndexerArgs& a, const StepView& step) {
  const int64_t dim = a.k.width;
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
      float* key = scratch.floats(1, static_cast<size_t>(dim));
      for (int64_t r = 0; r < rows; ++r) {
        t_.dequantize(key, a.k.dtype, kv_address(a.k, step, step.token_seq[t], r), dim);
        float score = 0;
        for (int64_t h = 0; h < a.heads; ++h) {
          const float match = t_.dot(row_of(a.q, t) + h * dim, key, dim) * a.scale;
          score += row_of(a.weights, t)[h] * a.weight_scale * std::max(match, 0.0f);
        }
        scores[r] = std::isnan(score) ? -INFINITY : score;  // an order must exist
      }
      auto* order = reinterpret_cast<int32_t*>(scratch.floats(2, static_cast<size_t>(rows)));
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
