#include "format/internal/weight_rows.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "base/units.h"
#include "format/quantize.h"

namespace hadal::format {
namespace {

/// Elements per piece: large enough for the threads, small enough for the memory.
constexpr int64_t kPieceElements = 4 << 20;

Status apply_scales(const WeightView& w, int64_t row, std::span<float> values) {
  if (w.scale.empty()) return {};
  const int64_t per_row = w.scale.shape.cols();
  const DTypeInfo& info = dtype_info(w.scale.dtype);
  std::vector<float> scales(static_cast<size_t>(per_row));
  const std::byte* at = w.scale.data + row / w.scale_rows * per_row * info.block_bytes;
  TRY_VOID(
      dequantize(w.scale.dtype, {at, static_cast<size_t>(per_row * info.block_bytes)}, scales));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] *= scales[i / static_cast<size_t>(w.scale_cols)];
  }
  return {};
}

bool is_integer(DType dtype) {
  return dtype == DType::i8 || dtype == DType::u8 || dtype == DType::i16 || dtype == DType::i32 ||
         dtype == DType::i64;
}

/// i64 as i32, which is what GGUF readers take.
Status narrow(std::span<const std::byte> in, std::span<std::byte> out) {
  for (size_t i = 0; i < out.size() / 4; ++i) {
    int64_t wide = 0;
    std::memcpy(&wide, in.data() + 8 * i, 8);
    const auto value = static_cast<int32_t>(wide);
    if (value != wide) return unsupported("an integer beyond 32 bits");
    std::memcpy(out.data() + 4 * i, &value, 4);
  }
  return {};
}

Status convert_row(const WeightRows& rows, int64_t r, DType dtype, std::span<float> numbers,
                   std::span<std::byte> out) {
  if (rows.stored_as(dtype)) {
    const auto raw = rows.raw(r);
    std::copy(raw.begin(), raw.end(), out.begin());
    return {};
  }
  if (is_integer(rows.weight.data.dtype) && rows.weight.scale.empty()) {
    CHECK(rows.weight.data.dtype == DType::i64 && dtype == DType::i32);
    return narrow(rows.raw(r), out);
  }
  TRY_VOID(rows.read(r, numbers));
  return quantize(dtype, numbers, out, rows.importance_of(r));
}

}  // namespace

int64_t WeightRows::source_row(int64_t r) const {
  if (order == RowOrder::as_is) return r;
  const int64_t head = rows() / heads, half = head / 2;
  const int64_t first = r / head * head, in_head = r % head;
  if (order == RowOrder::to_neighbours) return first + in_head % 2 * half + in_head / 2;
  return first + in_head % half * 2 + in_head / half;
}

std::span<const std::byte> WeightRows::raw(int64_t r) const {
  const auto bytes = static_cast<size_t>(weight.data.row_bytes());
  return {weight.data.data + static_cast<size_t>(source_row(r)) * bytes, bytes};
}

Status WeightRows::read(int64_t r, std::span<float> out) const {
  TRY_VOID(dequantize(weight.data.dtype, raw(r), out));
  return apply_scales(weight, source_row(r), out);
}

std::span<const float> WeightRows::importance_of(int64_t r) const {
  if (importance.empty()) return {};
  const int64_t blocks = static_cast<int64_t>(importance.size()) / cols();
  const int64_t block = r / (rows() / blocks);
  return importance.subspan(static_cast<size_t>(block * cols()), static_cast<size_t>(cols()));
}

Status write_rows(const WeightRows& rows, DType dtype, ThreadPool& pool, OutputFile& file,
                  const std::function<Status(uint64_t)>& done) {
  const int64_t cols = rows.cols();
  const DTypeInfo& info = dtype_info(dtype);
  const auto row_bytes = static_cast<size_t>(cols / info.block_elems * info.block_bytes);
  const int64_t piece = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(cols, 1));
  std::vector<std::byte> out;
  std::mutex mutex;
  Status failed;
  for (int64_t at = 0; at < rows.rows(); at += piece) {
    const int64_t count = std::min(piece, rows.rows() - at);
    out.resize(static_cast<size_t>(count) * row_bytes);
    const int64_t grain = std::max<int64_t>(1, count / (4 * pool.threads()));
    pool.run(count, grain, [&](int64_t begin, int64_t end, int) {
      std::vector<float> numbers(static_cast<size_t>(cols));
      for (int64_t r = begin; r < end; ++r) {
        Status one =
            convert_row(rows, at + r, dtype, numbers,
                        std::span(out).subspan(static_cast<size_t>(r) * row_bytes, row_bytes));
        if (one) continue;
        const std::lock_guard lock(mutex);
        failed = std::move(one);
        return;
      }
    });
    TRY_VOID(Status(failed));
    TRY_VOID(file.write(out));
    TRY_VOID(done(out.size()));
  }
  return {};
}

}  // namespace hadal::format
