// Ops on rows and matrices: embeddings, norms, rotations, and the linear layers where the time
// goes.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"
#include "tensor/float_types.h"

namespace hadal::kernels::cpu {
namespace {

// Up to this many tokens a weight row is used as it is stored; beyond, a tile of rows is turned
// into f32 once for all tokens.
constexpr int64_t kFewTokens = 8;
// Weight rows of one tile: with k = 4096 about 256 KiB of f32, which stays in a core's L2.
constexpr int64_t kTileRows = 16;
// The least multiply-adds worth waking another thread for.
constexpr int64_t kGrainWork = 1 << 15;

float scale_at(const WeightView& w, int64_t n, int64_t block) {
  const int64_t at = n / w.scale_rows * w.scale.shape.cols() + block;
  if (w.scale.dtype == DType::f8_e8m0)
    return e8m0_to_f32(std::to_integer<uint8_t>(w.scale.data[at]));
  if (w.scale.dtype == DType::bf16) {
    uint16_t half = 0;
    std::memcpy(&half, w.scale.data + at * 2, 2);
    return bf16_to_f32(half);
  }
  float v = 0;
  std::memcpy(&v, w.scale.data + at * 4, 4);
  return v;
}

bool plain_float(DType d) { return d == DType::f32 || d == DType::f16 || d == DType::bf16; }

}  // namespace

void CpuOps::weight_row(float* out, const WeightView& w, int64_t n) const {
  const int64_t k = w.k();
  t_.dequantize(out, w.data.dtype, w.data.data + n * w.data.row_bytes(), k);
  if (w.scale.empty()) return;
  for (int64_t begin = 0, block = 0; begin < k; begin += w.scale_cols, ++block) {
    const int64_t count = std::min<int64_t>(w.scale_cols, k - begin);
    t_.scale(out + begin, out + begin, scale_at(w, n, block), nullptr, count);
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

// ---- linear ----

CpuOps::Input CpuOps::quantize(Mat x, Quantized& memory) const {
  const int64_t k = x.cols;
  const auto n = static_cast<size_t>(x.rows * k);
  if (memory.q.size() < n) {
    memory.q.resize(n);
    memory.scale.resize(n / 32);
    memory.bias.resize(n / 32);
  }
  for (int64_t t = 0; t < x.rows; ++t) {
    t_.quantize_q8(memory.q.data() + t * k, memory.scale.data() + t * k / 32,
                   memory.bias.data() + t * k / 32, row_of(x, t), k);
  }
  return {x, memory.q.data(), memory.scale.data(), memory.bias.data()};
}

void CpuOps::few_tokens(const Mat& out, const WeightView& w, const Input& in, int64_t begin,
                        int64_t end, int64_t first, int thread) {
  const int64_t k = in.x.cols;
  const int64_t row_bytes = w.data.row_bytes();
  const DType dtype = w.data.dtype;
  if (dtype != DType::q8_0 && !plain_float(dtype)) {
    float* row = scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(k));
    for (int64_t n = begin; n < end; ++n) {
      weight_row(row, w, first + n);
      for (int64_t t = 0; t < in.x.rows; ++t) row_of(out, t)[n] = t_.dot(row, row_of(in.x, t), k);
    }
    return;
  }
  // A few rows at a time, so that with several tokens the rows come from the cache after the first.
  constexpr int64_t kRows = 8;
  for (int64_t n = begin; n < end; n += kRows) {
    const int64_t count = std::min(kRows, end - n);
    const std::byte* rows = w.data.data + (first + n) * row_bytes;
    for (int64_t t = 0; t < in.x.rows; ++t) {
      float* to = row_of(out, t) + n;
      if (dtype == DType::q8_0) {
        const Q8Row x{in.q + t * k, in.scale + t * k / 32, in.bias + t * k / 32};
        t_.gemv_q8_0(to, rows, row_bytes, count, x, k);
      } else {
        t_.gemv(to, dtype, rows, row_bytes, count, row_of(in.x, t), k);
      }
    }
  }
}

void CpuOps::many_tokens(const Mat& out, const WeightView& w, const Input& in, int64_t begin,
                         int64_t end, int64_t first, int thread) {
  const int64_t k = in.x.cols;
  float* tile = scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(kTileRows * k));
  for (int64_t n = begin; n < end; n += kTileRows) {
    const int64_t count = std::min(kTileRows, end - n);
    for (int64_t r = 0; r < count; ++r) weight_row(tile + r * k, w, first + n + r);
    t_.gemm(row_of(out, 0) + n, out.stride, row_of(in.x, 0), in.x.stride, in.x.rows, tile, count,
            k);
  }
}

void CpuOps::linear_rows(const Mat& out, const WeightView& w, const float* bias, const Input& in,
                         int64_t begin, int64_t end, int64_t first, int thread) {
  if (in.x.rows <= kFewTokens) {
    few_tokens(out, w, in, begin, end, first, thread);
  } else {
    many_tokens(out, w, in, begin, end, first, thread);
  }
  if (bias == nullptr) return;
  for (int64_t t = 0; t < in.x.rows; ++t)
    t_.axpy(row_of(out, t) + begin, 1, bias + begin, end - begin);
}

void CpuOps::linear(std::span<const Projection> projections, Mat x) {
  if (x.rows == 0) return;
  Input in{x};
  int64_t total = 0;
  for (const Projection& p : projections) {
    CHECK(p.weight.k() == x.cols && p.weight.n() == p.out.cols && p.out.rows == x.rows);
    if (p.weight.data.dtype == DType::q8_0 && x.rows <= kFewTokens && in.q == nullptr)
      in = quantize(x, quantized_[0]);
    total += p.out.cols;
  }
  // All projections are one range of rows, so that small ones share a wake-up. Pieces are whole
  // tiles.
  const int64_t work = std::max<int64_t>(1, kGrainWork / (x.cols * x.rows));
  const int64_t fair = ceil_div(total, 8 * pool_.threads());
  const int64_t grain = round_up(std::max(work, fair), kTileRows);
  pool_.run(total, grain, [&](int64_t begin, int64_t end, int thread) {
    int64_t offset = 0;
    for (const Projection& p : projections) {
      const int64_t b = std::max<int64_t>(begin - offset, 0);
      const int64_t e = std::min(end - offset, p.out.cols);
      if (b < e) linear_rows(p.out, p.weight, p.bias, in, b, e, 0, thread);
      offset += p.out.cols;
    }
  });
}

void CpuOps::linear_grouped(Mat out, Mat x, const WeightView& weight, int64_t groups) {
  const int64_t rows = out.cols / groups;
  const int64_t k = x.cols / groups;
  CHECK(rows * groups == out.cols && k * groups == x.cols && weight.k() == k &&
        weight.n() == out.cols);
  const bool wants_q8 = weight.data.dtype == DType::q8_0 && x.rows <= kFewTokens;
  if (static_cast<int64_t>(quantized_.size()) < groups)
    quantized_.resize(static_cast<size_t>(groups));
  group_inputs_.clear();
  for (int64_t g = 0; g < groups; ++g) {
    const Mat part = x.slice_cols(g * k, k);
    group_inputs_.push_back(wants_q8 ? quantize(part, quantized_[static_cast<size_t>(g)])
                                     : Input{part});
  }
  pool_.run(groups, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t g = begin; g < end; ++g) {
      linear_rows(out.slice_cols(g * rows, rows), weight, nullptr,
                  group_inputs_[static_cast<size_t>(g)], 0, rows, g * rows, thread);
    }
  });
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
