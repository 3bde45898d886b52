#pragma once

// What the parity tests share: devices to compare, matrices and weights with known numbers, and a
// paged cache with sequences in it. Expected values are computed in double.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "format/quantize.h"
#include "kernels/device.h"
#include "tensor/float_types.h"

namespace hadal::kernels {

/// One way to run the ops.
struct Variant {
  CpuIsa isa = CpuIsa::ref;
  bool pack = true;
  int threads = 1;
};

inline std::string variant_name(const Variant& v) {
  constexpr const char* kNames[] = {"automatic", "ref", "avx2", "avx512"};
  return std::string(kNames[static_cast<int>(v.isa)]) + (v.pack ? "Packed" : "Stored") +
         std::to_string(v.threads);
}
inline void PrintTo(const Variant& v, std::ostream* out) { *out << variant_name(v); }

inline constexpr Variant kVariants[] = {
    {CpuIsa::ref, false, 1},   {CpuIsa::ref, false, 2},    {CpuIsa::avx2, false, 1},
    {CpuIsa::avx2, true, 2},   {CpuIsa::avx512, false, 2}, {CpuIsa::avx512, true, 1},
    {CpuIsa::avx512, true, 3},
};

/// Numbers row by row.
struct Table2 {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<double> v;

  Table2(int64_t r, int64_t c) : rows(r), cols(c), v(static_cast<size_t>(r * c)) {}
  double& at(int64_t r, int64_t c) { return v[static_cast<size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return v[static_cast<size_t>(r * cols + c)]; }
};

/// A weight, its bytes, and the numbers they stand for.
struct TestWeight {
  std::vector<std::byte> data;
  std::vector<std::byte> scale;
  WeightView view;
  Table2 values{0, 0};
};

class Normal {
 public:
  explicit Normal(uint64_t seed) : rng_(seed) {}
  double next() {
    const double u = 1 - rng_.next_double();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * rng_.next_double());
  }
  Rng& rng() { return rng_; }

 private:
  Rng rng_;
};

class Bed : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    const Variant& v = GetParam();
    auto opened = open_cpu({.threads = v.threads, .isa = v.isa, .pack_weights = v.pack});
    if (!opened) GTEST_SKIP() << opened.error().message;
    device_ = *std::move(opened);
  }
  Ops& ops() { return device_->ops(); }

  /// A matrix on the device; `stride` 0 is dense.
  Mat mat(int64_t rows, int64_t cols, int64_t stride = 0) {
    if (stride == 0) stride = cols;
    floats_.push_back(std::vector<float>(static_cast<size_t>(rows * stride), -77.0f));
    return {reinterpret_cast<std::byte*>(floats_.back().data()), DType::f32, rows, cols, stride};
  }
  Mat mat(const Table2& t, int64_t stride = 0) {
    const Mat m = mat(t.rows, t.cols, stride);
    for (int64_t r = 0; r < t.rows; ++r) {
      for (int64_t c = 0; c < t.cols; ++c) at(m, r, c) = static_cast<float>(t.at(r, c));
    }
    return m;
  }
  float* numbers(const std::vector<double>& v) {
    floats_.emplace_back(v.begin(), v.end());
    return floats_.back().data();
  }
  int32_t* ints(std::vector<int32_t> v) {
    ints_.push_back(std::move(v));
    return ints_.back().data();
  }
  static float& at(const Mat& m, int64_t r, int64_t c) {
    return reinterpret_cast<float*>(m.data)[r * m.stride + c];
  }
  static std::vector<float> copy(const Mat& m) {
    std::vector<float> out;
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) out.push_back(at(m, r, c));
    }
    return out;
  }

  /// Normal numbers that f32 holds exactly.
  static Table2 normal(int64_t rows, int64_t cols, uint64_t seed, double scale = 1) {
    Normal n(seed);
    Table2 t(rows, cols);
    for (double& v : t.v) v = static_cast<float>(n.next() * scale);
    return t;
  }

  static void expect_near(const Mat& got, const Table2& want, double tolerance,
                          const std::string& what = "") {
    ASSERT_EQ(got.rows, want.rows);
    ASSERT_EQ(got.cols, want.cols);
    for (int64_t r = 0; r < want.rows; ++r) {
      for (int64_t c = 0; c < want.cols; ++c) {
        ASSERT_NEAR(at(got, r, c), want.at(r, c), tolerance)
            << what << " row " << r << " column " << c;
      }
    }
  }

  /// A random weight. FP8 gets scales per scale_rows x scale_cols, FP4 per 32,
  /// i8 per row.
  static std::unique_ptr<TestWeight> weight(DType dtype, int64_t n, int64_t k, uint64_t seed,
                                            DType scale_dtype = DType::f32, int scale_rows = 128,
                                            int scale_cols = 128);
  WeightView import(const TestWeight& w) {
    auto imported = device_->import_weight(w.view);
    EXPECT_TRUE(imported) << imported.error().message;
    return *imported;
  }

  std::unique_ptr<Device> device_;

 private:
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<int32_t>> ints_;
};

inline float store_scale(std::byte* to, DType dtype, double v) {
  const auto f = static_cast<float>(v);
  if (dtype == DType::f8_e8m0) {
    const int e = std::ilogb(f);
    *to = static_cast<std::byte>(e + 127);
    return std::ldexp(1.0f, e);
  }
  if (dtype == DType::bf16 || dtype == DType::f16) {
    const uint16_t half = dtype == DType::f16 ? f32_to_f16(f) : f32_to_bf16(f);
    std::memcpy(to, &half, 2);
    return dtype == DType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
  std::memcpy(to, &f, 4);
  return f;
}

inline std::unique_ptr<TestWeight> Bed::weight(DType dtype, int64_t n, int64_t k, uint64_t seed,
                                               DType scale_dtype, int scale_rows, int scale_cols) {
  auto w = std::make_unique<TestWeight>();
  Normal random(seed);
  const DTypeInfo& info = dtype_info(dtype);
  w->data.resize(static_cast<size_t>(n * k / info.block_elems * info.block_bytes));
  const bool scaled = dtype == DType::f8_e4m3 || dtype == DType::f4_e2m1 || dtype == DType::i8;
  if (scaled) {
    for (std::byte& b : w->data) {
      b = static_cast<std::byte>(random.rng().next_below(256));
      if (dtype == DType::f8_e4m3 && (b & std::byte{0x7F}) == std::byte{0x7F}) b ^= std::byte{1};
    }
  } else {
    std::vector<float> values(static_cast<size_t>(n * k));
    for (float& v : values) v = static_cast<float>(random.next() * 0.1);
    EXPECT_TRUE(format::quantize(dtype, values, w->data));
  }
  std::vector<float> plain(static_cast<size_t>(n * k));
  EXPECT_TRUE(format::dequantize(dtype, w->data, plain));
  w->values = Table2(n, k);
  for (size_t i = 0; i < plain.size(); ++i) w->values.v[i] = plain[i];
  w->view.data = {w->data.data(), dtype, {n, k}};
  if (!scaled) return w;

  if (dtype == DType::f4_e2m1 || dtype == DType::i8) {
    scale_rows = 1;
    scale_cols = dtype == DType::i8 ? static_cast<int>(k) : 32;
  }
  const int64_t rows = (n + scale_rows - 1) / scale_rows;
  const int64_t cols = (k + scale_cols - 1) / scale_cols;
  const auto bytes = static_cast<size_t>(dtype_info(scale_dtype).block_bytes);
  w->scale.resize(static_cast<size_t>(rows * cols) * bytes);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const double s = store_scale(w->scale.data() + static_cast<size_t>(r * cols + c) * bytes,
                                   scale_dtype, 0.01 * (0.5 + random.rng().next_double()));
      for (int64_t i = r * scale_rows; i < std::min<int64_t>(n, (r + 1) * scale_rows); ++i) {
        for (int64_t j = c * scale_cols; j < std::min<int64_t>(k, (c + 1) * scale_cols); ++j)
          w->values.at(i, j) *= s;
      }
    }
  }
  w->view.scale = {w->scale.data(), scale_dtype, {rows, cols}};
  w->view.scale_rows = scale_rows;
  w->view.scale_cols = scale_cols;
  return w;
}

/// A step over sequences with a history, and a paged cache whose pages are shuffled.
class TestStep {
 public:
  struct Sequence {
    int64_t past = 0;
    int64_t tokens = 1;
  };
  TestStep(std::vector<Sequence> sequences, int64_t page_tokens, uint64_t seed = 5)
      : sequences_(std::move(sequences)), page_tokens_(page_tokens) {
    Rng rng(seed);
    int64_t longest = 0;
    for (const Sequence& s : sequences_) longest = std::max(longest, s.past + s.tokens);
    blocks_max_ = (longest + page_tokens - 1) / page_tokens;
    pages_ = blocks_max_ * static_cast<int64_t>(sequences_.size()) + 3;
    std::vector<int32_t> pages(static_cast<size_t>(pages_));
    std::iota(pages.begin(), pages.end(), 0);
    for (size_t i = pages.size() - 1; i > 0; --i) std::swap(pages[i], pages[rng.next_below(i + 1)]);
    for (size_t s = 0; s < sequences_.size(); ++s) {
      seq_begin_.push_back(static_cast<int32_t>(token_seq_.size()));
      for (int64_t i = 0; i < sequences_[s].tokens; ++i) {
        token_seq_.push_back(static_cast<int32_t>(s));
        positions_.push_back(static_cast<int32_t>(sequences_[s].past + i));
        token_ids_.push_back(static_cast<int32_t>(rng.next_below(50)));
      }
      for (int64_t b = 0; b < blocks_max_; ++b)
        table_.push_back(pages[s * static_cast<size_t>(blocks_max_) + static_cast<size_t>(b)]);
      slots_.push_back(static_cast<int32_t>(sequences_.size() - 1 - s));
    }
    seq_begin_.push_back(static_cast<int32_t>(token_seq_.size()));
    context_max_ = longest;
  }
  StepView view() const {
    return {.tokens = static_cast<int64_t>(token_seq_.size()),
            .sequences = static_cast<int64_t>(sequences_.size()),
            .token_ids = token_ids_.data(),
            .positions = positions_.data(),
            .token_seq = token_seq_.data(),
            .seq_begin = seq_begin_.data(),
            .block_table = table_.data(),
            .blocks_max = blocks_max_,
            .slots = slots_.data(),
            .context_max = context_max_};
  }
  const std::vector<Sequence>& sequences() const { return sequences_; }
  int64_t pages() const { return pages_; }
  int64_t page_tokens() const { return page_tokens_; }
  int64_t tokens() const { return static_cast<int64_t>(token_seq_.size()); }
  int64_t seq(int64_t t) const { return token_seq_[static_cast<size_t>(t)]; }
  int64_t position(int64_t t) const { return positions_[static_cast<size_t>(t)]; }
  int32_t token_id(int64_t t) const { return token_ids_[static_cast<size_t>(t)]; }

 private:
  std::vector<Sequence> sequences_;
  int64_t page_tokens_;
  int64_t blocks_max_ = 0;
  int64_t pages_ = 0;
  int64_t context_max_ = 0;
  std::vector<int32_t> token_ids_, positions_, token_seq_, seq_begin_, table_, slots_;
};

/// A stream of cached rows and what they hold: rows[s] is a table of all rows of sequence s.
struct TestCache {
  std::vector<std::byte> data;
  KvView view;
  std::vector<Table2> rows;
};

/// The numbers that a cached row of `dtype` holds of `row`.
inline std::vector<float> stored_row(DType dtype, std::vector<float> row) {
  if (dtype == DType::q8_0) {
    std::vector<std::byte> blocks(row.size() / 32 * 34);
    EXPECT_TRUE(format::quantize(dtype, row, blocks));
    EXPECT_TRUE(format::dequantize(dtype, blocks, row));
    return row;
  }
  for (float& f : row) {
    if (dtype == DType::f16) f = f16_to_f32(f32_to_f16(f));
    if (dtype == DType::bf16) f = bf16_to_f32(f32_to_bf16(f));
    if (dtype == DType::f8_e4m3) f = e4m3_to_f32(f32_to_e4m3(f));
  }
  return row;
}

/// An empty stream; ring_rows 0: growing, one row per tokens_per_row tokens.
inline TestCache test_cache(const TestStep& step, int64_t width, DType dtype, int64_t ring_rows = 0,
                            int64_t tokens_per_row = 1) {
  TestCache c;
  const int64_t page_rows = step.page_tokens() / tokens_per_row;
  const auto sequences = static_cast<int64_t>(step.sequences().size());
  const int64_t rows = ring_rows > 0 ? ring_rows * sequences : step.pages() * page_rows;
  // What nobody wrote is NaN: reading it shows.
  const DTypeInfo& info = dtype_info(dtype);
  EXPECT_EQ(width % info.block_elems, 0);
  c.data.assign(static_cast<size_t>(rows * width / info.block_elems * info.block_bytes),
                std::byte{0xFF});
  c.view = {c.data.data(), dtype, width, page_rows, ring_rows};
  return c;
}

/// Fills a stream with random rows 0 ... of every sequence, `count(s)` each, through the op.
template <class Count>
void fill_cache(Ops& ops, TestCache& c, const TestStep& step, uint64_t seed, Count count) {
  Normal random(seed);
  for (size_t s = 0; s < step.sequences().size(); ++s) {
    const int64_t n = count(s);
    c.rows.emplace_back(n, c.view.width);
    std::vector<float> row(static_cast<size_t>(c.view.width));
    for (int64_t r = 0; r < n; ++r) {
      for (float& v : row) v = static_cast<float>(random.next());
      const std::vector<float> stored = stored_row(c.view.dtype, row);
      for (int64_t i = 0; i < c.view.width; ++i)
        c.rows[s].at(r, i) = stored[static_cast<size_t>(i)];
      StepView one = step.view();
      const auto position = static_cast<int32_t>(r);
      const auto seq = static_cast<int32_t>(s);
      one.tokens = 1;
      one.positions = &position;
      one.token_seq = &seq;
      ops.kv_append(
          c.view,
          {reinterpret_cast<std::byte*>(row.data()), DType::f32, 1, c.view.width, c.view.width},
          one);
    }
  }
}

/// softmax(scores) . values, with an optional sink; scores and rows of values in order.
inline std::vector<double> attend(std::vector<double> scores, const std::vector<const double*>& v,
                                  int64_t dim, double sink = -INFINITY) {
  double largest = sink;
  for (const double s : scores) largest = std::max(largest, s);
  double sum = std::exp(sink - largest);
  for (double& s : scores) sum += s = std::exp(s - largest);
  std::vector<double> out(static_cast<size_t>(dim));
  for (size_t r = 0; r < scores.size(); ++r) {
    for (int64_t i = 0; i < dim; ++i)
      out[static_cast<size_t>(i)] += scores[r] / sum * v[r][static_cast<size_t>(i)];
  }
  return out;
}

}  // namespace hadal::kernels
