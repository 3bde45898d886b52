// Ops on rows: embeddings, norms, rotations, caches.

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/pack.h"

namespace hadal::kernels::cpu {
namespace {

// The least multiply-adds worth waking another thread for.
constexpr int64_t kGrainWork = 1 << 15;

}  // namespace

void CpuOps::weight_row(float* out, const WeightView& w, int64_t n) const {
  const int64_t k = w.k();
  t_.dequantize(out, w.data.dtype, w.data.data + n * w.data.row_bytes(), k);
  if (w.scale.empty()) return;
  for (int64_t begin = 0, block = 0; begin < k; begin += w.scale_cols, ++block) {
    const int64_t count = std::min<int64_t>(w.scale_cols, k - begin);
    t_.scale(out + begin, out + begin, weight_scale(w, n, block), nullptr, count);
  }
}

void CpuOps::clear(Mat x) {
  for (int64_t i = 0; i < x.rows; ++i) std::fill_n(row_of(x, i), x.cols, 0.0f);
}

void CpuOps::embed(Mat out, const WeightView& table, const int32_t* ids) {
  for (int64_t i = 0; i < out.rows; ++i) weight_row(row_of(out, i), table, ids[i]);
}

void CpuOps::gather_rows(Mat out, Mat x, const int32_t* rows) {
  for (int64_t i = 0; i < out.rows; ++i) std::copy_n(row_of(x, rows[i]), x.cols, row_of(out, i));
}

void CpuOps::repeat_cols(Mat out, Mat x) {
  for (int64_t i = 0; i < out.rows; ++i) {
    for (int64_t c = 0; c < out.cols; c += x.cols)
      std::copy_n(row_of(x, i), x.cols, row_of(out, i) + c);
  }
}

void CpuOps::rms_norm(Mat out, Mat x, const float* weight, float eps) {
  pool_.run(
      x.rows, std::max<int64_t>(1, kGrainWork / x.cols), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) {
          const float mean = t_.sum_squares(row_of(x, i), x.cols) / static_cast<float>(x.cols);
          t_.scale(row_of(out, i), row_of(x, i), 1 / std::sqrt(mean + eps), weight, x.cols);
        }
      });
}

void CpuOps::layer_norm(Mat out, Mat x, const float* weight, const float* bias, float eps) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const float* in = row_of(x, i);
    float* to = row_of(out, i);
    double mean = 0;
    for (int64_t c = 0; c < x.cols; ++c) mean += in[c];
    mean /= static_cast<double>(x.cols);
    double variance = 0;
    for (int64_t c = 0; c < x.cols; ++c) variance += (in[c] - mean) * (in[c] - mean);
    variance /= static_cast<double>(x.cols);
    const auto r = static_cast<float>(1 / std::sqrt(variance + eps));
    for (int64_t c = 0; c < x.cols; ++c)
      to[c] = static_cast<float>(in[c] - mean) * r * weight[c] + bias[c];
  }
}

void CpuOps::add(Mat x, Mat y) {
  for (int64_t i = 0; i < x.rows; ++i) t_.axpy(row_of(x, i), 1, row_of(y, i), x.cols);
}

// ---- rotations, caches ----

void CpuOps::rope_table(float* cos, float* sin, const int32_t* positions, int64_t tokens,
                        const float* inv_freq, int64_t dims, float scale) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < dims / 2; ++i) {
      // In f32, as the reference implementations do: at large positions the rounding of the angle
      // is part of the model.
      const float angle = static_cast<float>(positions[t]) * inv_freq[i];
      *cos++ = std::cos(angle) * scale;
      *sin++ = std::sin(angle) * scale;
    }
  }
}

void CpuOps::rope(Mat x, int64_t heads, int64_t offset, const RopeView& table, bool interleaved,
                  bool inverse) {
  const int64_t head_cols = x.cols / heads;
  const int64_t half = table.dims / 2;
  CHECK(offset >= 0 && offset + table.dims <= head_cols);
  pool_.run(x.rows, std::max<int64_t>(1, kGrainWork / (heads * table.dims)),
            [&](int64_t begin, int64_t end, int) {
              for (int64_t t = begin; t < end; ++t) {
                const float* cos = table.cos + t * half;
                const float* sin = table.sin + t * half;
                for (int64_t h = 0; h < heads; ++h) {
                  float* p = row_of(x, t) + h * head_cols + offset;
                  for (int64_t i = 0; i < half; ++i) {
                    float& a = p[interleaved ? 2 * i : i];
                    float& b = p[interleaved ? 2 * i + 1 : i + half];
                    const float s = inverse ? -sin[i] : sin[i];
                    const float rotated = a * cos[i] - b * s;
                    b = b * cos[i] + a * s;
                    a = rotated;
                  }
                }
              }
            });
}

void CpuOps::kv_append(const KvView& kv, Mat x, const StepView& step) {
  CHECK(kv.width == x.cols);
  for (int64_t t = 0; t < x.rows; ++t) {
    t_.store_kv(kv_address(kv, step, step.token_seq[t], step.positions[t]), kv.dtype, row_of(x, t),
                kv.width);
  }
}

void CpuOps::swiglu(Mat out, Mat gate, Mat up, float limit) {
  pool_.run(out.rows * ceil_div(out.cols, 1024), 4, [&](int64_t begin, int64_t end, int) {
    const int64_t pieces = ceil_div(out.cols, 1024);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i / pieces;
      const int64_t c = i % pieces * 1024;
      t_.swiglu(row_of(out, t) + c, row_of(gate, t) + c, row_of(up, t) + c, limit,
                std::min<int64_t>(1024, out.cols - c));
    }
  });
}

}  // namespace hadal::kernels::cpu
