// What only V4 needs: pooled rows, attention with a sink, hyper-connections.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"

namespace hadal::kernels::cpu {
namespace {

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

void rotate_neighbours(float* x, int64_t position, const float* inv_freq, int64_t dims,
                       float scale) {
  for (int64_t i = 0; i < dims / 2; ++i) {
    const float angle = static_cast<float>(position) * inv_freq[i];
    const float c = std::cos(angle) * scale;
    const float s = std::sin(angle) * scale;
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * c - b * s;
    x[2 * i + 1] = b * c + a * s;
  }
}

// Columns then rows of an M x M matrix divided by their sums, `iterations` times, ending with the
// columns.
void sinkhorn(float* m, int64_t n, int iterations, float eps) {
  const auto normalise = [&](int64_t outer, int64_t inner) {
    for (int64_t i = 0; i < n; ++i) {
      float sum = eps;
      for (int64_t j = 0; j < n; ++j) sum += m[i * outer + j * inner];
      for (int64_t j = 0; j < n; ++j) m[i * outer + j * inner] /= sum;
    }
  };
  normalise(1, n);
  for (int i = 1; i < iterations; ++i) {
    normalise(n, 1);
    normalise(1, n);
  }
}

}  // namespace

void CpuOps::compress(const CompressArgs& a, const StepView& step) {
  const int64_t width = a.out.width;
  const int64_t cols = (a.overlap ? 2 : 1) * width;
  CHECK(a.state.width == 2 * cols && a.state.dtype == DType::f32);
  for (int64_t t = 0; t < step.tokens; ++t) {
    const int64_t position = step.positions[t];
    auto* row = reinterpret_cast<float*>(kv_address(a.state, step, step.token_seq[t], position));
    std::copy_n(row_of(a.kv, t), cols, row);
    std::copy_n(row_of(a.gate, t), cols, row + cols);
    t_.axpy(row + cols, 1, a.ape + position % a.ratio * cols, cols);
  }
  pool_.run(step.tokens, 16, [&](int64_t begin, int64_t end, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    float* pooled = scratch.floats(0, static_cast<size_t>(3 * width));
    float* largest = pooled + width;
    float* total = largest + width;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t position = step.positions[t];
      if ((position + 1) % a.ratio != 0) continue;
      const int64_t seq = step.token_seq[t];
      const int64_t g = position / a.ratio;
      // The windows of a row: with overlap the low half of the one before, then the high half of
      // its own.
      const auto each = [&](auto body) {
        const auto window = [&](int64_t first, int64_t offset) {
          for (int64_t p = first; p < first + a.ratio; ++p) {
            const auto* row = reinterpret_cast<const float*>(kv_address(a.state, step, seq, p));
            body(row + offset, row + cols + offset);
          }
        };
        if (a.overlap && g > 0) window((g - 1) * a.ratio, 0);
        window(g * a.ratio, a.overlap ? width : 0);
      };
      std::fill_n(largest, width, -std::numeric_limits<float>::infinity());
      each([&](const float*, const float* gate) {
        for (int64_t c = 0; c < width; ++c) largest[c] = std::max(largest[c], gate[c]);
      });
      std::fill_n(pooled, width, 0.0f);
      std::fill_n(total, width, 0.0f);
      each([&](const float* kv, const float* gate) {
        for (int64_t c = 0; c < width; ++c) {
          const float e = std::exp(gate[c] - largest[c]);
          total[c] += e;
          pooled[c] += e * kv[c];
        }
      });
      for (int64_t c = 0; c < width; ++c) pooled[c] /= total[c];
      const float mean = t_.sum_squares(pooled, width) / static_cast<float>(width);
      t_.scale(pooled, pooled, 1 / std::sqrt(mean + a.eps), a.norm, width);
      rotate_neighbours(pooled + width - a.rope_dims, g * a.ratio, a.inv_freq, a.rope_dims,
                        a.rope_scale);
      t_.store_kv(kv_address(a.out, step, seq, g), a.out.dtype, pooled, width);
    }
  });
}

// A block is some heads of one token. Its rows are the window's, then the pooled ones it may see.
void CpuOps::sink_attention(const SinkAttentionArgs& a, const StepView& step) {
  constexpr int64_t kBlockQueries = 64;
  const int64_t dim = a.recent.width;
  const int64_t block_heads = std::min(a.heads, kBlockQueries);
  const int64_t parts = ceil_div(a.heads, block_heads);
  const auto list_of = [&](int64_t t) {
    return a.selected != nullptr ? a.selected + t * a.selected_max : nullptr;
  };
  const auto recent_rows = [&](int64_t t) {
    return std::min<int64_t>(a.window, step.positions[t] + 1);
  };
  const auto pooled_rows = [&](int64_t t) -> int64_t {
    if (a.compressed.empty()) return 0;
    if (const int32_t* list = list_of(t)) return std::find(list, list + a.selected_max, -1) - list;
    return (step.positions[t] + 1) / a.ratio;
  };
  const int64_t pooled_max = a.compressed.empty()    ? 0
                             : a.selected != nullptr ? a.selected_max
                                                     : step.context_max / a.ratio;
  flash_.run({.blocks = step.tokens * parts,
              .dim = dim,
              .v_dim = dim,
              .queries_max = block_heads,
              .rows_max = std::min(a.window, step.context_max) + pooled_max,
              .load_queries =
                  [&](int64_t b, float* q, FlashJob::Query* queries) {
                    const int64_t t = b / parts;
                    const int64_t h = b % parts * block_heads;
                    const int64_t n = std::min(block_heads, a.heads - h);
                    t_.scale(q, row_of(a.q, t) + h * dim, a.scale, nullptr, n * dim);
                    const int64_t rows = recent_rows(t) + pooled_rows(t);
                    for (int64_t i = 0; i < n; ++i) queries[i] = {rows, a.sink[h + i]};
                    return n;
                  },
              .load_rows =
                  [&](int64_t b, int64_t begin, int64_t count, float* k, float*) {
                    const int64_t t = b / parts;
                    const int64_t seq = step.token_seq[t];
                    const int64_t recent = recent_rows(t);
                    const int64_t oldest = step.positions[t] + 1 - recent;
                    const int32_t* list = list_of(t);
                    for (int64_t r = begin; r < begin + count; ++r) {
                      const KvView& kv = r < recent ? a.recent : a.compressed;
                      const int64_t pooled = r - recent;
                      const int64_t row = r < recent        ? oldest + r
                                          : list != nullptr ? list[pooled]
                                                            : pooled;
                      t_.dequantize(k + (r - begin) * dim, kv.dtype, kv_address(kv, step, seq, row),
                                    dim);
                    }
                    return FlashJob::Rows{k, k, dim};
                  },
              .out =
                  [&](int64_t b, int64_t i) {
                    return row_of(a.out, b / parts) + (b % parts * block_heads + i) * dim;
                  }});
}

// The mixing logits of a token before scale and base: fn (x / rms(x)).
void CpuOps::hyper_mix(const HyperArgs& a, int64_t t, float* mix, float* row) {
  const float* x = row_of(a.x, t);
  const float mean = t_.sum_squares(x, a.x.cols) / static_cast<float>(a.x.cols);
  const float r = 1 / std::sqrt(mean + a.norm_eps);
  const DType dtype = a.fn.data.dtype;
  if (dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16) {
    t_.gemv(mix, dtype, a.fn.data.data, a.fn.data.row_bytes(), a.fn.n(), x, a.x.cols);
  } else {
    for (int64_t n = 0; n < a.fn.n(); ++n) {
      weight_row(row, a.fn, n);
      mix[n] = t_.dot(row, x, a.x.cols);
    }
  }
  for (int64_t n = 0; n < a.fn.n(); ++n) mix[n] *= r;
}

void CpuOps::hyper_pre(const HyperArgs& a, Mat out, float* post, float* comb) {
  const int64_t m = a.streams;
  const int64_t d = out.cols;
  pool_.run(out.rows, 1, [&](int64_t begin, int64_t end, int thread) {
    Scratch& scratch = scratch_[static_cast<size_t>(thread)];
    float* mix = scratch.floats(0, static_cast<size_t>(a.fn.n()));
    float* row = scratch.floats(1, static_cast<size_t>(a.x.cols));
    for (int64_t t = begin; t < end; ++t) {
      hyper_mix(a, t, mix, row);
      float* to = row_of(out, t);
      std::fill_n(to, d, 0.0f);
      for (int64_t i = 0; i < m; ++i) {
        const float pre = sigmoid(mix[i] * a.scale[0] + a.base[i]) + a.eps;
        post[t * m + i] = 2 * sigmoid(mix[m + i] * a.scale[1] + a.base[m + i]);
        t_.axpy(to, pre, row_of(a.x, t) + i * d, d);
      }
      float* c = comb + t * m * m;
      for (int64_t i = 0; i < m; ++i) {
        float* c_row = c + i * m;
        for (int64_t j = 0; j < m; ++j) {
          const int64_t at = (2 + i) * m + j;
          c_row[j] = mix[at] * a.scale[2] + a.base[at];
        }
        const float largest = *std::max_element(c_row, c_row + m);
        float sum = 0;
        for (int64_t j = 0; j < m; ++j) sum += c_row[j] = std::exp(c_row[j] - largest);
        for (int64_t j = 0; j < m; ++j) c_row[j] = c_row[j] / sum + a.eps;
      }
      sinkhorn(c, m, a.sinkhorn_iterations, a.eps);
    }
  });
}

void CpuOps::hyper_post(Mat x, Mat y, const float* post, const float* comb, int64_t m) {
  const int64_t d = y.cols;
  pool_.run(x.rows, 4, [&](int64_t begin, int64_t end, int thread) {
    float* mixed = scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(m * d));
    for (int64_t t = begin; t < end; ++t) {
      const float* c = comb + t * m * m;
      for (int64_t i = 0; i < m; ++i) {
        t_.scale(mixed + i * d, row_of(y, t), post[t * m + i], nullptr, d);
        for (int64_t j = 0; j < m; ++j)
          t_.axpy(mixed + i * d, c[j * m + i], row_of(x, t) + j * d, d);
      }
      std::copy_n(mixed, m * d, row_of(x, t));
    }
  });
}

void CpuOps::hyper_head(const HyperArgs& a, Mat out) {
  float* mix = shared_.floats(0, static_cast<size_t>(a.fn.n()));
  float* row = shared_.floats(1, static_cast<size_t>(a.x.cols));
  for (int64_t t = 0; t < out.rows; ++t) {
    hyper_mix(a, t, mix, row);
    std::fill_n(row_of(out, t), out.cols, 0.0f);
    for (int64_t i = 0; i < a.streams; ++i) {
      const float pre = sigmoid(mix[i] * a.scale[0] + a.base[i]) + a.eps;
      t_.axpy(row_of(out, t), pre, row_of(a.x, t) + i * out.cols, out.cols);
    }
  }
}

}  // namespace hadal::kernels::cpu
