#include "model/weights.h"

#include <cstring>

#include "format/weight_scale.h"
#include "tensor/float_types.h"

namespace hadal::model {
namespace {

std::string list(WeightLoader::Names names) {
  std::string out;
  for (const std::string& n : names) out += (out.empty() ? "'" : " or '") + n + "'";
  return out;
}

bool plain_floats(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

std::vector<float> to_floats(ConstTensorView view) {
  std::vector<float> out(static_cast<size_t>(view.shape.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (view.dtype == DType::f32) {
      std::memcpy(&out[i], view.data + i * 4, 4);
      continue;
    }
    uint16_t half = 0;
    std::memcpy(&half, view.data + i * 2, 2);
    out[i] = view.dtype == DType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
  return out;
}

}  // namespace

WeightLoader::WeightLoader(const format::Checkpoint& checkpoint, kernels::Device& device,
                           int64_t block_rows, int64_t block_cols)
    : checkpoint_(checkpoint), device_(device), block_rows_(block_rows), block_cols_(block_cols) {}

const format::CheckpointTensor* WeightLoader::find(Names names, bool required) {
  for (const std::string& n : names) {
    if (const auto* t = checkpoint_.find(n); t != nullptr) {
      used_.insert(n);
      return t;
    }
  }
  if (required) problems_.push_back("missing tensor " + list(names));
  return nullptr;
}

bool WeightLoader::shape_is(const format::CheckpointTensor& t, int64_t n, int64_t k) {
  if (t.view.shape.cols() == k && t.view.shape.rows() == n) return true;
  problems_.push_back("tensor '" + t.name + "' has shape " + t.view.shape.to_string() +
                      ", the config needs " + Shape{n, k}.to_string());
  return false;
}

WeightView WeightLoader::load_matrix(Names names, int64_t n, int64_t k, const How& how) {
  const auto* t = find(names, true);
  if (t == nullptr || !shape_is(*t, n, k)) return {};
  auto scaled = format::with_scale(checkpoint_, *t, block_rows_, block_cols_);
  if (!scaled) {
    problems_.push_back("tensor '" + t->name + "': " + scaled.error().message);
    return {};
  }
  WeightView weight = scaled->view;
  weight.data = weight.data.reshaped({n, k});
  if (!weight.scale.empty()) {
    if (!how.may_scale) {
      problems_.push_back("tensor '" + t->name + "' is " +
                          std::string(dtype_name(weight.data.dtype)) +
                          " where scales are not known");
      return {};
    }
    used_.insert(scaled->scale_name);
  }
  if (how.product) weight.name = t->name;
  weight.mapped = t->mapped;
  auto imported = device_.import_weight(weight);
  if (!imported) {
    problems_.push_back("tensor '" + t->name + "': " + imported.error().message);
    return {};
  }
  parameters_ += static_cast<uint64_t>(n) * static_cast<uint64_t>(k);
  matrix_bytes_ += static_cast<uint64_t>(weight.bytes());
  return *imported;
}

WeightView WeightLoader::matrix(Names names, int64_t n, int64_t k) {
  std::vector<std::string> full;
  for (const std::string& name : names) full.push_back(name + ".weight");
  return load_matrix(full, n, k, {});
}

WeightView WeightLoader::raw_matrix(Names names, int64_t n, int64_t k, bool product) {
  return load_matrix(names, n, k, {.may_scale = false, .product = product});
}

std::byte* WeightLoader::upload(const void* host, size_t bytes) {
  auto buffer = device_.allocate(bytes);
  if (!buffer) {
    problems_.push_back(buffer.error().message);
    return nullptr;
  }
  device_.copy_to_device(buffer->data(), host, bytes);
  buffers_.push_back(*std::move(buffer));
  return buffers_.back().data();
}

const float* WeightLoader::load_vector(Names names, int64_t n, bool required) {
  const auto* t = find(names, required);
  if (t == nullptr) return nullptr;
  if (t->view.shape.elements() != n || !plain_floats(t->view.dtype)) {
    problems_.push_back("tensor '" + t->name + "' is " + std::string(dtype_name(t->view.dtype)) +
                        " " + t->view.shape.to_string() + ", expected " + std::to_string(n) +
                        " plain numbers");
    return nullptr;
  }
  parameters_ += static_cast<uint64_t>(n);
  const std::vector<float> host = to_floats(t->view);
  return reinterpret_cast<const float*>(upload(host.data(), host.size() * 4));
}

const float* WeightLoader::vector(Names names, int64_t n) { return load_vector(names, n, true); }

const float* WeightLoader::optional_vector(Names names, int64_t n) {
  return load_vector(names, n, false);
}

std::vector<float> WeightLoader::host_vector(std::string_view name, int64_t n) {
  const auto* t = find({std::string(name)}, true);
  if (t == nullptr) return {};
  if (t->view.shape.elements() != n || !plain_floats(t->view.dtype)) {
    problems_.push_back("tensor '" + t->name + "' should be " + std::to_string(n) +
                        " plain numbers");
    return {};
  }
  return to_floats(t->view);
}

const int32_t* WeightLoader::int_table(Names names, int64_t rows, int64_t cols, int64_t limit) {
  const auto* t = find(names, true);
  if (t == nullptr || !shape_is(*t, rows, cols)) return nullptr;
  const bool wide = t->view.dtype == DType::i64;
  if (!wide && t->view.dtype != DType::i32) {
    problems_.push_back("tensor '" + t->name + "' has dtype " +
                        std::string(dtype_name(t->view.dtype)) + ", expected i32 or i64");
    return nullptr;
  }
  std::vector<int32_t> host(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < host.size(); ++i) {
    int64_t v = 0;
    int32_t narrow = 0;
    if (wide) {
      std::memcpy(&v, t->view.data + i * 8, 8);
    } else {
      std::memcpy(&narrow, t->view.data + i * 4, 4);
      v = narrow;
    }
    if (v < 0 || v >= limit) {
      problems_.push_back("tensor '" + t->name + "' element " + std::to_string(i) + " is " +
                          std::to_string(v) + ", expected 0 to " + std::to_string(limit - 1));
      return nullptr;
    }
    host[i] = static_cast<int32_t>(v);
  }
  return reinterpret_cast<const int32_t*>(upload(host.data(), host.size() * 4));
}

void WeightLoader::import_experts(ExpertWeights& e) {
  auto view = device_.import_experts(e.gate, e.up, e.down);
  if (!view) {
    problems_.push_back(view.error().message);
    return;
  }
  e.view = *view;
}

Status WeightLoader::status() const {
  if (problems_.empty()) return {};
  constexpr size_t kShown = 5;
  std::string message = checkpoint_.name() + ": " + problems_[0];
  for (size_t i = 1; i < problems_.size() && i < kShown; ++i) message += "; " + problems_[i];
  if (problems_.size() > kShown)
    message += "; and " + std::to_string(problems_.size() - kShown) + " more";
  return corrupt(std::move(message))
      .with_hint("`hadal inspect` lists all problems; was the download complete?");
}

}  // namespace hadal::model
