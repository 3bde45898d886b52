#pragma once

#include <cstdint>

#include "model/attention.h"

namespace hadal::model {

/// The feed-forward part of a layer: a SwiGLU, or routed experts beside shared ones. Shapes: x, out
/// [T, D].
class FeedForward {
 public:
  /// Problems are noted in context.weights.
  FeedForward(LoadContext& context, int64_t layer);
  void forward(const StepContext& step, kernels::Mat x, kernels::Mat out) const;

  /// Parameters of the experts that a token does not use.
  int64_t idle_parameters() const;
  /// Bytes of those.
  int64_t idle_bytes() const;

 private:
  struct Swiglu {
    WeightView gate, up, down;
    const float* gate_bias = nullptr;  ///< null: none, as in every DeepSeek model
    const float* up_bias = nullptr;
    const float* down_bias = nullptr;
    int64_t inter = 0;
  };
  static Swiglu load_swiglu(WeightLoader& weights, const WeightLoader::ExpertNames& names,
                            int64_t inter, int64_t hidden);
  void swiglu(const StepContext& step, const Swiglu& w, kernels::Mat x, kernels::Mat out) const;
  void load_moe(LoadContext& context, int64_t layer);
  void route(const StepContext& step, kernels::Mat x, kernels::Mat out) const;

  const ModelConfig& cfg_;
  Swiglu dense_;  ///< the whole layer, or the shared experts
  WeightView router_;
  const float* router_bias_ = nullptr;
  const int32_t* hash_table_ = nullptr;
  ExpertWeights experts_;
};

}  // namespace hadal::model
