#include "format/weight_scale.h"

#include "base/units.h"

namespace hadal::format {
namespace {

constexpr const char* kTails[] = {".weight_scale_inv", ".scale", ".weight_scale"};

std::string stem_of(const CheckpointTensor& t) { return t.name.substr(0, t.name.rfind('.')); }

const CheckpointTensor* find_scale(const Checkpoint& checkpoint, const CheckpointTensor& t) {
  for (const char* tail : kTails) {
    if (const auto* s = checkpoint.find(stem_of(t) + tail); s != nullptr) return s;
  }
  return nullptr;
}

Status lay_out(WeightView& w, const ConstTensorView& scale, int64_t block_rows,
               int64_t block_cols) {
  const int64_t n = w.n(), k = w.k(), count = scale.shape.elements();
  const bool fp4 = w.data.dtype == DType::f4_e2m1;
  int64_t rows = fp4 ? 1 : block_rows, cols = fp4 ? 32 : block_cols;
  const Shape blocks{ceil_div(n, rows), ceil_div(k, cols)};
  if (!(scale.shape == blocks) && !fp4) {
    if (count == 1) {
      rows = n;
      cols = k;
    } else if (count == n && (scale.shape.rank() == 1 || scale.shape.cols() == 1)) {
      rows = 1;
      cols = k;
    }
  }
  const Shape expected{ceil_div(n, rows), ceil_div(k, cols)};
  const bool column = expected.elements() == count && expected[1] == 1;
  if (!(scale.shape == expected) && !column) {
    return corrupt("its scale is " + scale.shape.to_string() + ", expected " + blocks.to_string() +
                   (fp4 ? "" : " or one per row"));
  }
  w.scale = scale.reshaped(expected);
  w.scale_rows = static_cast<int>(rows);
  w.scale_cols = static_cast<int>(cols);
  return {};
}

}  // namespace

bool is_scale_name(std::string_view name) {
  for (const std::string_view tail : kTails) {
    if (name.ends_with(tail)) return name.find("hc_") == std::string_view::npos;
  }
  return false;
}

bool is_int8_weight(const Checkpoint& checkpoint, const CheckpointTensor& t) {
  return t.view.dtype == DType::i8 && t.name.ends_with(".weight") && t.view.shape.rank() == 2 &&
         find_scale(checkpoint, t) != nullptr;
}

Result<ScaledWeight> with_scale(const Checkpoint& checkpoint, const CheckpointTensor& t,
                                int64_t block_rows, int64_t block_cols) {
  ScaledWeight out;
  out.view.data = t.view;
  const DType d = t.view.dtype;
  if (d != DType::f8_e4m3 && d != DType::f4_e2m1 && !is_int8_weight(checkpoint, t)) return out;
  const CheckpointTensor* scale = find_scale(checkpoint, t);
  if (scale == nullptr) return corrupt("it is " + std::string(dtype_name(d)) + " without a scale");
  if (checkpoint.find(stem_of(t) + ".weight_zero_point") != nullptr) {
    return unsupported("it has zero points; only symmetric integers are computed with");
  }
  const DType s = scale->view.dtype;
  if (s != DType::f32 && s != DType::bf16 && s != DType::f16 && s != DType::f8_e8m0) {
    return unsupported("its scale '" + scale->name + "' is " + std::string(dtype_name(s)));
  }
  TRY_VOID(lay_out(out.view, scale->view, block_rows, block_cols));
  out.scale_name = scale->name;
  return out;
}

}  // namespace hadal::format
