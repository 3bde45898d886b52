#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tensor/dtype.h"

namespace hadal {

/// The extents of a tensor, outermost first; at most 5. Rank 0 is a scalar with one element.
class Shape {
 public:
  static constexpr int kRankMax = 5;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<int64_t> dims) {
    CHECK(dims.size() <= kRankMax);
    for (const int64_t d : dims) dims_[static_cast<size_t>(rank_++)] = d;
  }

  constexpr int rank() const { return rank_; }
  constexpr int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }
  constexpr void push_back(int64_t d) {
    CHECK(rank_ < kRankMax);
    dims_[static_cast<size_t>(rank_++)] = d;
  }
  /// The product of the extents. Their product was checked against overflow where the shape came
  /// in.
  constexpr int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[static_cast<size_t>(i)];
    return n;
  }
  /// The innermost extent (1 for a scalar) and the product of the others.
  constexpr int64_t cols() const { return rank_ == 0 ? 1 : dims_[static_cast<size_t>(rank_ - 1)]; }
  constexpr int64_t rows() const { return cols() == 0 ? 0 : elements() / cols(); }
  constexpr bool operator==(const Shape&) const = default;
  /// "[2, 3]".
  std::string to_string() const;

 private:
  std::array<int64_t, kRankMax> dims_{};
  int rank_ = 0;
};

/// A borrowed, dense, row-major tensor on some device. It never owns; the Buffer or the mapped file
/// that it looks into must outlive it. `data` is an address on that device: only kernels
/// dereference it.
template <class Byte>
struct BasicTensorView {
  Byte* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  bool empty() const { return data == nullptr; }
  /// Bytes of one row (the innermost extent), whole blocks.
  int64_t row_bytes() const {
    const DTypeInfo& info = dtype_info(dtype);
    return shape.cols() / info.block_elems * info.block_bytes;
  }
  int64_t bytes() const { return shape.rows() * row_bytes(); }
  /// Rows [begin, begin + count) of the tensor seen as [rows, cols].
  BasicTensorView rows(int64_t begin, int64_t count) const {
    CHECK(begin >= 0 && count >= 0 && begin + count <= shape.rows());
    return {data + begin * row_bytes(), dtype, Shape{count, shape.cols()}};
  }
  /// The same bytes with another shape of as many elements.
  BasicTensorView reshaped(Shape to) const {
    CHECK(to.elements() == shape.elements());
    return {data, dtype, to};
  }

  operator BasicTensorView<const std::byte>() const { return {data, dtype, shape}; }
};

using TensorView = BasicTensorView<std::byte>;
using ConstTensorView = BasicTensorView<const std::byte>;

/// A weight matrix as a checkpoint stores it: [N, K], y = W x. FP8, FP4 and i8 come with one scale
/// per block of `scale_rows` x `scale_cols` weights: w[n][k] = data[n][k] * scale[n / scale_rows][k
/// / scale_cols]. Shapes: data [N, K]; scale [ceil(N / scale_rows), ceil(K / scale_cols)], f32,
/// bf16, f16 or f8_e8m0.
struct WeightView {
  ConstTensorView data;
  ConstTensorView scale;  ///< empty when the dtype carries its own scales or needs none
  int scale_rows = 0;
  int scale_cols = 0;
  std::string_view name;  ///< of the tensor, where products use it; empty: nobody asks for it
  bool mapped = false;    ///< `data` lies in a mapped file: its pages may go, and come back

  bool empty() const { return data.empty(); }
  int64_t n() const { return data.shape.rows(); }
  int64_t k() const { return data.shape.cols(); }
  /// Bytes a decode step reads of it.
  int64_t bytes() const { return data.bytes() + (scale.empty() ? 0 : scale.bytes()); }
};

}  // namespace hadal
