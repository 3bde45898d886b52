#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "format/checkpoint.h"
#include "format/output_file.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// How rows move within each head, between Hugging Face's halves and llama.cpp's neighbours.
enum class RowOrder { as_is, to_neighbours, to_halves };

/// A matrix of the source checkpoint as rows of numbers: scales applied, rows in their new order.
struct WeightRows {
  WeightView weight;
  RowOrder order = RowOrder::as_is;
  int64_t heads = 1;
  /// Of the columns, for each of some equal blocks of rows; empty: not known.
  std::span<const float> importance;

  int64_t rows() const { return weight.data.shape.rows(); }
  int64_t cols() const { return weight.data.shape.cols(); }
  /// Which row of the source is row `r` of the result.
  int64_t source_row(int64_t r) const;
  /// Row `r` of the result, as numbers. `out` has cols() elements.
  Status read(int64_t r, std::span<float> out) const;
  /// Row `r` of the result, as the source's bytes.
  std::span<const std::byte> raw(int64_t r) const;
  /// The importance of the columns of row `r` of the result.
  std::span<const float> importance_of(int64_t r) const;
  /// Whether the bytes can be copied.
  bool stored_as(DType dtype) const { return weight.data.dtype == dtype && weight.scale.empty(); }
};

/// Writes all rows as `dtype`, in parallel and in order. `done` is told of each piece's bytes and
/// may stop the work.
Status write_rows(const WeightRows& rows, DType dtype, ThreadPool& pool, OutputFile& file,
                  const std::function<Status(uint64_t)>& done);

}  // namespace hadal::format
