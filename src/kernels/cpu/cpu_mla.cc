// Latent attention. Source: DeepSeek-V2, arXiv 2405.04434, 2.1 and appendix B.

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"

namespace hadal::kernels::cpu {
namespace {

// Queries (heads of a token) that share a block: their state is 2 * 512 floats each, and together
// it should stay in a core's L2.
constexpr int64_t kBlockQueries = 64;

int64_t selected_count(const int32_t* list, int64_t max) {
  int64_t n = 0;
  while (n < max && list[n] >= 0) ++n;
  return n;
}

}  // namespace

// The absorbed form costs (2C + R) per query, head and row; the expanded one (nope + R + v), but
// first makes nope + v numbers per row and head at C each. With T new tokens over n rows, expanding
// wins when
//   T * n * (2C - nope - v) > n * C * (nope + v),
// which for C = 512, nope = v = 128 is T > 170. Sparse attention reads few rows and stays absorbed.
void CpuOps::mla_attention(const MlaArgs& a, const StepView& step) {
  const int64_t gain = 2 * a.latent - a.nope - a.v_dim;
  const int64_t cost = a.latent * (a.nope + a.v_dim);
  const auto expands = [&](int64_t s) {
    return a.selected == nullptr && !invariant_ &&
           (step.seq_begin[s + 1] - step.seq_begin[s]) * gain > cost;
  };
  // Runs of sequences that stay absorbed go together.
  for (int64_t s = 0; s < step.sequences;) {
    if (expands(s)) {
      mla_expanded(a, step, s++);
      continue;
    }
    int64_t end = s;
    while (end < step.sequences && !expands(end)) ++end;
    mla_absorbed(a, step, step.seq_begin[s], step.seq_begin[end] - step.seq_begin[s]);
    s = end;
  }
}

// q_nope moved into the latent space, with the rotated part behind it: to[t][h] = [q W_uk | q_pe].
void CpuOps::mla_absorb(const MlaArgs& a, const Mat& q, const Mat& to) {
  const int64_t q_cols = a.nope + a.rope;
  const int64_t width = a.latent + a.rope;
  for (int64_t t = 0; t < q.rows; ++t) {
    for (int64_t h = 0; h < a.heads; ++h) {
      std::copy_n(row_of(q, t) + h * q_cols + a.nope, a.rope, row_of(to, t) + h * width + a.latent);
    }
  }
  if (a.kv_b.empty()) {
    product_groups(
        a.k_b_t, a.heads, a.latent, [&](int64_t h) { return h * a.latent; },
        [&](int64_t h) { return q.slice_cols(h * q_cols, a.nope); },
        [&](int64_t h) { return to.slice_cols(h * width, a.latent); });
    return;
  }
  pool_.run(a.heads, 1, [&](int64_t begin, int64_t end, int thread) {
    float* w =
        scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(a.nope * a.latent));
    for (int64_t h = begin; h < end; ++h) {
      for (int64_t n = 0; n < a.nope; ++n)
        weight_row(w + n * a.latent, a.kv_b, h * (a.nope + a.v_dim) + n);
      for (int64_t t = 0; t < q.rows; ++t) std::fill_n(row_of(to, t) + h * width, a.latent, 0.0f);
      t_.gemm_add(row_of(to, 0) + h * width, to.stride, row_of(q, 0) + h * q_cols, q.stride, q.rows,
                  w, a.latent, a.latent, a.nope);
    }
  });
}

void CpuOps::mla_absorbed(const MlaArgs& a, const StepView& step, int64_t first, int64_t tokens) {
  if (tokens == 0) return;
  const int64_t width = a.latent + a.rope;
  const auto mat = [&](size_t slot, int64_t cols) {
    float* p = shared_.floats(slot, static_cast<size_t>(tokens * cols));
    return Mat{reinterpret_cast<std::byte*>(p), DType::f32, tokens, cols, cols};
  };
  const Mat q = mat(1, a.heads * width);
  const Mat latent = mat(2, a.heads * a.latent);
  mla_absorb(a, a.q.slice_rows(first, tokens), q);

  // A block is some heads of one token.
  const int64_t block_heads = std::min(a.heads, kBlockQueries);
  const int64_t parts = ceil_div(a.heads, block_heads);
  const auto list_of = [&](int64_t t) {
    return a.selected != nullptr ? a.selected + t * a.selected_max : nullptr;
  };
  flash_.run({.blocks = tokens * parts,
              .dim = width,
              .v_dim = a.latent,
              .queries_max = block_heads,
              .rows_max = a.selected != nullptr ? a.selected_max : step.context_max,
              .load_queries =
                  [&](int64_t b, float* to, FlashJob::Query* queries) {
                    const int64_t t = first + b / parts;
                    const int64_t h = b % parts * block_heads;
                    const int64_t n = std::min(block_heads, a.heads - h);
                    t_.scale(to, row_of(q, b / parts) + h * width, a.scale, nullptr, n * width);
                    const int64_t rows = a.selected != nullptr
                                             ? selected_count(list_of(t), a.selected_max)
                                             : step.positions[t] + 1;
                    std::fill_n(queries, n, FlashJob::Query{rows, -INFINITY});
                    return n;
                  },
              .load_rows =
                  [&](int64_t b, int64_t begin, int64_t count, float* k, float*) {
                    const int64_t t = first + b / parts;
                    const int32_t* list = list_of(t);
                    for (int64_t r = 0; r < count; ++r) {
                      const int64_t row = list != nullptr ? list[begin + r] : begin + r;
                      t_.dequantize(k + r * width, a.kv.dtype,
                                    kv_address(a.kv, step, step.token_seq[t], row), width);
                    }
                    return FlashJob::Rows{k, k, width};
                  },
              .out =
                  [&](int64_t b, int64_t i) {
                    return row_of(latent, b / parts) + (b % parts * block_heads + i) * a.latent;
                  }});

  const bool whole = !a.kv_b.empty();
  const Mat out = a.out.slice_rows(first, tokens);
  product_groups(
      whole ? a.kv_b : a.v_b, a.heads, a.v_dim,
      [&](int64_t h) { return whole ? h * (a.nope + a.v_dim) + a.nope : h * a.v_dim; },
      [&](int64_t h) { return latent.slice_cols(h * a.latent, a.latent); },
      [&](int64_t h) { return out.slice_cols(h * a.v_dim, a.v_dim); });
}

// One head's keys [rows][nope + R] and values [rows][v_dim] from the cached latents.
void CpuOps::mla_expand_head(const MlaArgs& a, int64_t h, const float* cached, int64_t rows,
                             Scratch& scratch, float* k, float* v) const {
  const int64_t width = a.latent + a.rope;
  const int64_t k_cols = a.nope + a.rope;
  const bool whole = !a.kv_b.empty();
  float* w = scratch.floats(0, static_cast<size_t>(std::max(a.nope, a.v_dim) * a.latent));
  float* row = scratch.floats(1, static_cast<size_t>(a.nope));
  for (int64_t n = 0; whole && n < a.nope; ++n)
    weight_row(w + n * a.latent, a.kv_b, h * (a.nope + a.v_dim) + n);
  for (int64_t c = 0; !whole && c < a.latent; ++c) {
    weight_row(row, a.k_b_t, h * a.latent + c);
    for (int64_t n = 0; n < a.nope; ++n) w[n * a.latent + c] = row[n];
  }
  t_.gemm(k, k_cols, cached, width, rows, w, a.nope, a.latent);
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(cached + r * width + a.latent, a.rope, k + r * k_cols + a.nope);
  for (int64_t n = 0; n < a.v_dim; ++n) {
    weight_row(w + n * a.latent, whole ? a.kv_b : a.v_b,
               whole ? h * (a.nope + a.v_dim) + a.nope + n : h * a.v_dim + n);
  }
  t_.gemm(v, a.v_dim, cached, width, rows, w, a.v_dim, a.latent);
}

// A thread takes a head: its keys and values for all rows of the sequence, then its new tokens, a
// block at a time.
void CpuOps::mla_expanded(const MlaArgs& a, const StepView& step, int64_t seq) {
  const int64_t first = step.seq_begin[seq];
  const int64_t tokens = step.seq_begin[seq + 1] - first;
  const int64_t rows = step.positions[first + tokens - 1] + 1;
  const int64_t width = a.latent + a.rope;
  const int64_t k_cols = a.nope + a.rope;
  float* cached = shared_.floats(1, static_cast<size_t>(rows * width));
  pool_.run(rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      t_.dequantize(cached + r * width, a.kv.dtype, kv_address(a.kv, step, seq, r), width);
    }
  });
  const int64_t blocks = ceil_div(tokens, kBlockQueries);
  pool_.run(a.heads, 1, [&](int64_t begin, int64_t end, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    float* k = scratch.floats(2, static_cast<size_t>(rows * k_cols));
    float* v = scratch.floats(3, static_cast<size_t>(rows * a.v_dim));
    for (int64_t h = begin; h < end; ++h) {
      mla_expand_head(a, h, cached, rows, scratch, k, v);
      const auto token = [&](int64_t b, int64_t i) { return first + b * kBlockQueries + i; };
      const auto load_queries = [&](int64_t b, float* q, FlashJob::Query* queries) {
        const int64_t n = std::min(kBlockQueries, tokens - b * kBlockQueries);
        for (int64_t i = 0; i < n; ++i) {
          const int64_t t = token(b, i);
          t_.scale(q + i * k_cols, row_of(a.q, t) + h * k_cols, a.scale, nullptr, k_cols);
          queries[i] = {step.positions[t] + 1, -INFINITY};
        }
        return n;
      };
      const auto load_rows = [&](int64_t, int64_t at, int64_t, float*, float*) {
        return FlashJob::Rows{k + at * k_cols, v + at * a.v_dim, a.v_dim};
      };
      const auto out = [&](int64_t b, int64_t i) {
        return row_of(a.out, token(b, i)) + h * a.v_dim;
      };
      const FlashJob job{.blocks = blocks,
                         .dim = k_cols,
                         .v_dim = a.v_dim,
                         .queries_max = kBlockQueries,
                         .rows_max = rows,
                         .load_queries = load_queries,
                         .load_rows = load_rows,
                         .out = out};
      for (int64_t b = 0; b < blocks; ++b) flash_.block(job, b, thread);
    }
  });
}

}  // namespace hadal::kernels::cpu
