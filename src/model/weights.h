#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "kernels/device.h"

namespace hadal::model {

/// The weights of a layer's routed experts, and the views that ExpertsView borrows.
struct ExpertWeights {
  std::vector<WeightView> gate, up, down;
  kernels::ExpertsView view;
};

/// Takes tensors out of a checkpoint by name and shape and puts them on a device. It does not stop
/// at the first problem: it notes each one and returns an empty weight, so that a user learns of
/// all missing shards at once. Nothing may be computed unless status() is good. Several spellings
/// of a name may be given; the first that exists counts.
class WeightLoader {
 public:
  using Names = const std::vector<std::string>&;

  WeightLoader(const format::Checkpoint& checkpoint, kernels::Device& device, int64_t block_rows,
               int64_t block_cols);

  /// A matrix [n, k] named `<name>.weight`, with `<name>.weight_scale_inv` or `<name>.scale` for
  /// FP8 and FP4.
  WeightView matrix(Names names, int64_t n, int64_t k);
  /// A matrix under its full tensor name, without companion scales. `product`: it is multiplied as
  /// a whole; of others only rows are read.
  WeightView raw_matrix(Names names, int64_t n, int64_t k, bool product);
  /// A vector of n elements under its full tensor name ("...norm.weight"), as f32 on the device.
  const float* vector(Names names, int64_t n);
  const float* optional_vector(Names names, int64_t n);
  /// The same on the host.
  std::vector<float> host_vector(std::string_view name, int64_t n);
  /// An integer table [rows, cols] as i32 on the device, every value in [0, limit).
  const int32_t* int_table(Names names, int64_t rows, int64_t cols, int64_t limit);
  /// The experts: gate and up [inter, hidden], down [hidden, inter]; `names(e)` gives the name of
  /// expert e's three matrices.
  struct ExpertNames {
    std::string gate, up, down;
  };
  template <class NamesOf>
  ExpertWeights experts(int64_t count, int64_t inter, int64_t hidden, NamesOf names) {
    ExpertWeights out;
    for (int64_t e = 0; e < count; ++e) {
      const ExpertNames n = names(e);
      out.gate.push_back(matrix({n.gate}, inter, hidden));
      out.up.push_back(matrix({n.up}, inter, hidden));
      out.down.push_back(matrix({n.down}, hidden, inter));
    }
    import_experts(out);
    return out;
  }

  bool has(std::string_view name) const { return checkpoint_.find(name) != nullptr; }

  /// Good, or an error that lists the problems.
  Status status() const;
  const std::vector<std::string>& problems() const { return problems_; }
  const std::unordered_set<std::string>& used() const { return used_; }
  /// Device memory that the loader made for converted vectors; it must live as long as the model.
  std::vector<Buffer> take_buffers() { return std::move(buffers_); }
  uint64_t parameters() const { return parameters_; }
  /// Bytes of all matrices taken so far.
  uint64_t matrix_bytes() const { return matrix_bytes_; }

 private:
  const format::CheckpointTensor* find(Names names, bool required);
  bool shape_is(const format::CheckpointTensor& t, int64_t n, int64_t k);
  struct How {
    bool may_scale = true;
    bool product = true;
  };
  WeightView load_matrix(Names names, int64_t n, int64_t k, const How& how);
  const float* load_vector(Names names, int64_t n, bool required);
  void import_experts(ExpertWeights& experts);
  std::byte* upload(const void* host, size_t bytes);

  const format::Checkpoint& checkpoint_;
  kernels::Device& device_;
  int64_t block_rows_;
  int64_t block_cols_;
  std::vector<Buffer> buffers_;
  std::vector<std::string> problems_;
  std::unordered_set<std::string> used_;
  uint64_t parameters_ = 0;
  uint64_t matrix_bytes_ = 0;
};

}  // namespace hadal::model
