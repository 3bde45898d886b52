#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kvcache/kv_layout.h"
#include "model/config.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace hadal::model {

/// The distinct rotations of a model; their tables are made once per step and shared by its layers.
class RopeSet {
 public:
  /// Registers a rotation of `dims` columns; equal ones share an id. `freq_factors` (or empty)
  /// divide the frequencies.
  int add(const RopeConfig& rope, int64_t dims, std::span<const float> freq_factors = {});

  struct Entry {
    std::vector<float> inv_freq;
    float scale = 1;
    int64_t dims = 0;
    const float* device_inv_freq = nullptr;
  };
  /// Copies the frequencies to the device; called once after all layers are loaded. Errors:
  /// resource_exhausted.
  Status upload(kernels::Device& device, std::vector<Buffer>& buffers);
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// What a layer is loaded with.
struct LoadContext {
  const ModelConfig& config;
  WeightLoader& weights;
  RopeSet& ropes;
  kvcache::KvLayout& kv;
  int64_t step_tokens_max;  ///< rings hold a window and one whole step
};

/// What a layer computes with: one step on the device.
struct StepContext {
  kernels::Ops& ops;
  const kernels::StepView& step;
  std::span<const kernels::KvView> kv;
  std::span<const kernels::RopeView> rope_tables;  ///< by RopeSet id
  const RopeSet& ropes;
  Workspace& scratch;
};

/// An attention family: out = attention(x) over what its sequences have cached, which it extends by
/// this step. Shapes: x, out [T, D]; x is normalised.
class Attention {
 public:
  virtual ~Attention() = default;
  virtual void forward(const StepContext& step, kernels::Mat x, kernels::Mat out) const = 0;
};

/// One function per family, each in attention_<family>.cc. Problems are noted in context.weights.
std::unique_ptr<Attention> load_gqa_attention(LoadContext& context, int64_t layer);
std::unique_ptr<Attention> load_mla_attention(LoadContext& context, int64_t layer);
std::unique_ptr<Attention> load_compressed_attention(LoadContext& context, int64_t layer);

}  // namespace hadal::model
