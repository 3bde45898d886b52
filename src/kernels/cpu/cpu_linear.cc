// The linear layers, where the time goes. A weight is read in its packed form (packed.h) when the
// store has one, and as the checkpoint has it otherwise. Decode is bound by the bytes of the
// weights; prefill by multiply-adds. See avx512/NOTES.md.

#include <algorithm>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"

namespace hadal::kernels::cpu {
namespace {

// The least multiply-adds worth waking another thread for.
constexpr int64_t kGrainWork = 1 << 15;
// Packed tiles that share a pass over the tokens: they stay in a core's L2 (1 MiB; a tile of 4096
// columns of q8_0 is 68 KiB) while the activations come from further away once, not once a tile.
int64_t panel_tiles(int64_t k) { return k <= 4096 ? 4 : 2; }

bool plain_float(DType d) { return d == DType::f32 || d == DType::f16 || d == DType::bf16; }

template <class T>
T* grown(std::vector<T>& memory, int64_t n) {
  if (memory.size() < static_cast<size_t>(n)) memory.resize(static_cast<size_t>(n));
  return memory.data();
}

// One group of tokens as [k][g]. By pieces of k, so that the strided writes stay in L1.
void transpose(float* out, const Mat& x, const int32_t* source, int64_t first, int64_t g) {
  constexpr int64_t kPiece = 128;
  for (int64_t c = 0; c < x.cols; c += kPiece) {
    const int64_t end = std::min(c + kPiece, x.cols);
    for (int64_t t = 0; t < g; ++t) {
      const float* row = row_of(x, source != nullptr ? source[first + t] : first + t);
      for (int64_t i = c; i < end; ++i) out[i * g + t] = row[i];
    }
  }
}

}  // namespace

CpuOps::Input CpuOps::Input::rows(int64_t begin, int64_t count) const {
  Input part;
  const int64_t k = x.cols;
  if (!x.empty()) {
    part.x = x.slice_rows(begin, count);
  } else {
    part.x = Mat{nullptr, DType::f32, count, k, k};
  }
  if (blocks != nullptr) part.blocks = blocks + begin * (k / 32) * kGroupBlockBytes;
  if (whole != nullptr) part.whole = whole + begin * (k / 32) * kGroupBlockBytes;
  if (columns != nullptr) part.columns = columns + begin * k;
  if (q != nullptr) {
    part.q = q + begin * k;
    part.scale = scale + begin * k / 32;
    part.bias = bias + begin * k / 32;
  }
  return part;
}

// Stored weights: up to this many tokens a row is used as it is; beyond, a tile of rows is turned
// into f32 once for all tokens. The two round differently.
bool CpuOps::few(int64_t tokens) const {
  constexpr int64_t kFewTokens = 8;
  return tokens <= kFewTokens && !invariant_;
}

void CpuOps::want(Forms& forms, const WeightView& w, const PackedWeight* packed,
                  int64_t tokens) const {
  if (packed != nullptr) {
    const bool blocks = is_block_type(packed->dtype);
    (packed->dtype == DType::i8 ? forms.whole : blocks ? forms.blocks : forms.columns) = true;
  } else {
    forms.plain = true;
    if (w.data.dtype == DType::q8_0 && few(tokens) && !exact_) forms.rows_q8 = true;
  }
}

CpuOps::Input CpuOps::prepare(const Forms& forms, Mat x, const int32_t* source,
                              std::span<const int32_t> segments, InputMemory& m) {
  const int64_t k = x.cols;
  const int64_t rows = segments.back();
  Input in{x};
  if (source != nullptr) {
    in.x = Mat{nullptr, DType::f32, rows, k, k};
    if (forms.plain) {
      in.x.data = reinterpret_cast<std::byte*>(shared_.floats(0, static_cast<size_t>(rows * k)));
      for (int64_t i = 0; i < rows; ++i) std::copy_n(row_of(x, source[i]), k, row_of(in.x, i));
    }
  }
  std::byte* blocks = nullptr;
  std::byte* whole = nullptr;
  float* columns = nullptr;
  const int64_t block_bytes = rows * (k / 32) * kGroupBlockBytes + kGroupSlack;
  if (forms.blocks) in.blocks = blocks = grown(m.blocks, block_bytes);
  if (forms.whole) in.whole = whole = grown(m.whole, block_bytes);
  if (forms.columns) in.columns = columns = grown(m.columns, rows * k + kGroupTokens);
  if (forms.rows_q8) {
    in.q = grown(m.q, rows * k);
    in.scale = grown(m.scale, rows * k / 32);
    in.bias = grown(m.bias, rows * k / 32);
    for (int64_t t = 0; t < rows; ++t) {
      t_.quantize_q8(m.q.data() + t * k, m.scale.data() + t * k / 32, m.bias.data() + t * k / 32,
                     row_of(in.x, t), k);
    }
  }
  if (blocks == nullptr && whole == nullptr && columns == nullptr) return in;
  // A piece is one segment, or for a single one a group of tokens.
  const bool single = segments.size() == 2;
  const auto pieces =
      single ? ceil_div(rows, kGroupTokens) : static_cast<int64_t>(segments.size()) - 1;
  const int64_t work = std::max<int64_t>(1, kGrainWork / std::max<int64_t>(1, k * rows / pieces));
  pool_.run(pieces, work, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      const int64_t from = single ? i * kGroupTokens : segments[at];
      const int64_t to = single ? std::min(rows, from + kGroupTokens) : segments[at + 1];
      for (int64_t r = from; r < to; r += kGroupTokens) {
        const int64_t g = std::min<int64_t>(kGroupTokens, to - r);
        for (int64_t t = 0; t < g; ++t) {
          const float* row = row_of(x, source != nullptr ? source[r + t] : r + t);
          const int64_t at_bytes = r * (k / 32) * kGroupBlockBytes;
          if (blocks != nullptr) t_.quantize_token(blocks + at_bytes, g, t, row, k);
          if (whole != nullptr) t_.quantize_whole_token(whole + at_bytes, g, t, row, k);
        }
        if (columns != nullptr) transpose(columns + r * k, x, source, r, g);
      }
    }
  });
  return in;
}

// ---- weights as they are stored ----

void CpuOps::few_tokens(const Mat& out, const WeightView& w, const Input& in, int64_t begin,
                        int64_t end, int thread) {
  const int64_t k = in.x.cols;
  const int64_t row_bytes = w.data.row_bytes();
  const DType dtype = w.data.dtype;
  if (dtype != DType::q8_0 && !plain_float(dtype)) {
    float* row = scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(k));
    for (int64_t n = begin; n < end; ++n) {
      weight_row(row, w, n);
      for (int64_t t = 0; t < in.x.rows; ++t)
        row_of(out, t)[n - begin] = t_.dot(row, row_of(in.x, t), k);
    }
    return;
  }
  // A few rows at a time, so that with several tokens the rows come from the cache after the first.
  constexpr int64_t kRows = 8;
  for (int64_t n = begin; n < end; n += kRows) {
    const int64_t count = std::min(kRows, end - n);
    const std::byte* rows = w.data.data + n * row_bytes;
    for (int64_t t = 0; t < in.x.rows; ++t) {
      float* to = row_of(out, t) + (n - begin);
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
                         int64_t end, int thread) {
  const int64_t k = in.x.cols;
  float* tile = scratch_[static_cast<size_t>(thread)].floats(0, static_cast<size_t>(kTileRows * k));
  for (int64_t n = begin; n < end; n += kTileRows) {
    const int64_t count = std::min<int64_t>(kTileRows, end - n);
    for (int64_t r = 0; r < count; ++r) weight_row(tile + r * k, w, n + r);
    t_.gemm(row_of(out, 0) + (n - begin), out.stride, row_of(in.x, 0), in.x.stride, in.x.rows, tile,
            count, k);
  }
}

void CpuOps::stored_rows(const Mat& out, const WeightView& w, const Input& in, int64_t begin,
                         int64_t end, int thread) {
  if (few(in.x.rows) && (w.data.dtype != DType::q8_0 || in.q != nullptr)) {
    few_tokens(out, w, in, begin, end, thread);
  } else {
    many_tokens(out, w, in, begin, end, thread);
  }
}

// ---- packed weights ----

void CpuOps::packed_tiles(const Mat& out, const PackedWeight& w, const Input& in, int64_t begin,
                          int64_t end) {
  const int64_t tokens = in.x.rows;
  const std::byte* blocks = w.dtype == DType::i8 ? in.whole : in.blocks;
  float spare[kTileRows * kGroupTokens];
  const auto tile = [&](float* to, int64_t ldo, int64_t i, int64_t t0, int64_t g) {
    if (is_block_type(w.dtype)) {
      t_.packed_q8(to, ldo, w, w.tiles + i * w.tile_bytes,
                   blocks + t0 * (w.k / 32) * kGroupBlockBytes, g);
    } else {
      t_.packed_f32(to, ldo, w, w.tiles + i * w.tile_bytes, in.columns + t0 * w.k, g);
    }
  };
  const int64_t panel = panel_tiles(w.k);
  for (int64_t p = begin; p < end; p += panel) {
    for (int64_t t0 = 0; t0 < tokens; t0 += kGroupTokens) {
      const int64_t g = std::min<int64_t>(kGroupTokens, tokens - t0);
      for (int64_t i = p; i < std::min(p + panel, end); ++i) {
        float* to = row_of(out, t0) + (i - begin) * kTileRows;
        const int64_t rows = std::min<int64_t>(kTileRows, w.n - i * kTileRows);
        if (rows == kTileRows) {
          tile(to, out.stride, i, t0, g);
          continue;
        }
        tile(spare, kTileRows, i, t0, g);
        for (int64_t t = 0; t < g; ++t)
          std::copy_n(spare + t * kTileRows, rows, to + t * out.stride);
      }
    }
  }
}

void CpuOps::product_rows(const Mat& out, const WeightView& w, const PackedWeight* packed,
                          const Input& in, int64_t row, int64_t end, int thread) {
  const Mat to = out.slice_cols(row, out.cols - row);
  if (packed != nullptr) {
    packed_tiles(to, *packed, in, row / kTileRows, ceil_div(end, kTileRows));
  } else {
    stored_rows(to, w, in, row, end, thread);
  }
}

void CpuOps::linear(std::span<const Projection> projections, Mat x) {
  if (x.rows == 0) return;
  Forms forms;
  packed_.clear();
  int64_t tiles = 0;
  for (const Projection& p : projections) {
    CHECK(p.weight.k() == x.cols && p.weight.n() == p.out.cols && p.out.rows == x.rows);
    packed_.push_back(weights_.find(p.weight));
    want(forms, p.weight, packed_.back(), x.rows);
    tiles += ceil_div(p.out.cols, kTileRows);
  }
  const int32_t all[] = {0, static_cast<int32_t>(x.rows)};
  const Input in = prepare(forms, x, nullptr, all, memory_[0]);
  // All projections are one range of tiles, so that small ones share a wake-up.
  const int64_t work = std::max<int64_t>(1, kGrainWork / (x.cols * x.rows * kTileRows));
  const int64_t fair = ceil_div(tiles, 8 * pool_.threads());
  const int64_t grain = round_up(std::max(work, fair), x.rows > 1 ? panel_tiles(x.cols) : 1);
  pool_.run(tiles, grain, [&](int64_t begin, int64_t end, int thread) {
    int64_t offset = 0;
    for (size_t i = 0; i < projections.size(); ++i) {
      const Projection& p = projections[i];
      const int64_t count = ceil_div(p.out.cols, kTileRows);
      const int64_t b = std::max<int64_t>(begin - offset, 0) * kTileRows;
      const int64_t e = std::min(std::min(end - offset, count) * kTileRows, p.out.cols);
      offset += count;
      if (b >= e) continue;
      product_rows(p.out, p.weight, packed_[i], in, b, e, thread);
      for (int64_t t = 0; t < x.rows && p.bias != nullptr; ++t)
        t_.axpy(row_of(p.out, t) + b, 1, p.bias + b, e - b);
    }
  });
}

void CpuOps::linear_grouped(Mat out, Mat x, const WeightView& weight, int64_t groups) {
  const int64_t rows = out.cols / groups;
  const int64_t k = x.cols / groups;
  CHECK(rows * groups == out.cols && k * groups == x.cols && weight.k() == k &&
        weight.n() == out.cols);
  product_groups(
      weight, groups, rows, [&](int64_t g) { return g * rows; },
      [&](int64_t g) { return x.slice_cols(g * k, k); },
      [&](int64_t g) { return out.slice_cols(g * rows, rows); });
}

void CpuOps::product_groups(const WeightView& w, int64_t groups, int64_t rows,
                            FunctionRef<int64_t(int64_t)> first_row, FunctionRef<Mat(int64_t)> x_of,
                            FunctionRef<Mat(int64_t)> out_of) {
  const int64_t tokens = x_of(0).rows;
  if (tokens == 0) return;
  bool whole_tiles = rows % kTileRows == 0;
  for (int64_t g = 0; g < groups; ++g) whole_tiles &= first_row(g) % kTileRows == 0;
  const PackedWeight* packed = whole_tiles ? weights_.find(w) : nullptr;
  Forms forms;
  want(forms, w, packed, tokens);
  if (static_cast<int64_t>(memory_.size()) < groups) memory_.resize(static_cast<size_t>(groups));
  const int32_t all[] = {0, static_cast<int32_t>(tokens)};
  group_inputs_.clear();
  for (int64_t g = 0; g < groups; ++g)
    group_inputs_.push_back(prepare(forms, x_of(g), nullptr, all, memory_[static_cast<size_t>(g)]));
  // A piece is some tiles of one group; few groups are cut so that every thread has some.
  const int64_t tiles = ceil_div(rows, kTileRows);
  const int64_t pieces = std::min(tiles, ceil_div(8 * pool_.threads(), groups));
  pool_.run(groups * pieces, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t g = i / pieces;
      const int64_t b = tiles * (i % pieces) / pieces * kTileRows;
      const int64_t e = std::min(tiles * (i % pieces + 1) / pieces * kTileRows, rows);
      const Mat to = out_of(g).slice_cols(b, e - b);
      const Input& in = group_inputs_[static_cast<size_t>(g)];
      const int64_t first = first_row(g);
      if (packed != nullptr) {
        packed_tiles(to, *packed, in, (first + b) / kTileRows, (first + e) / kTileRows);
      } else {
        stored_rows(to, w, in, first + b, first + e, thread);
      }
    }
  });
}

}  // namespace hadal::kernels::cpu
