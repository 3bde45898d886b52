#pragma once

#include "model/layer.h"

namespace hadal::model {

/// What turns residual streams into what the head reads: one stream, normalised.
class FinalNorm {
 public:
  /// `norm` and `hyper`: the spellings of the weight's name and of V4's "...hc_head_".
  FinalNorm(LoadContext& context, WeightLoader::Names norm, WeightLoader::Names hyper);

  /// Shapes: x [n, M * D], out [n, D], which may be x where there are no streams.
  void forward(const StepContext& step, kernels::Mat x, kernels::Mat out) const;

 private:
  const ModelConfig& cfg_;
  const float* norm_ = nullptr;
  WeightView fn_;
  const float* base_ = nullptr;
  const float* scale_ = nullptr;
};

/// Multi-token prediction: a layer that guesses the token after the next one from a token's hidden
/// state and the next token's embedding. Embedding and head are the model's own.
/// Source: DeepSeek-V3 technical report, arXiv 2412.19437, 2.2; README_WEIGHTS.md beside V3's
/// weights. A hidden state of V3 is taken after the final norm, as the engines do that publish how
/// many guesses come true; V4's is the residual streams.
class DraftLayer {
 public:
  /// Whether the checkpoint has one. (V4's later draft blocks, "DSpark", are something else.)
  static bool is_there(const LoadContext& context);
  explicit DraftLayer(LoadContext& context);

  /// Shapes: embedded [T, D], hidden [T, M * D], x [T, M * D] (out).
  void forward(const StepContext& step, kernels::Mat embedded, kernels::Mat hidden,
               kernels::Mat x) const;
  const FinalNorm& final_norm() const { return final_norm_; }
  const Layer& layer() const { return layer_; }

 private:
  const ModelConfig& cfg_;
  const float* embedding_norm_;
  const float* hidden_norm_;
  WeightView joint_;                         ///< V3: [D, 2 D] of the two side by side
  WeightView from_embedding_, from_hidden_;  ///< V4: [D, D] each, added
  Layer layer_;
  FinalNorm final_norm_;
};

}  // namespace hadal::model
