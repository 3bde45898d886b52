#pragma once

#include <memory>
#include <vector>

#include "model/attention.h"
#include "model/feed_forward.h"

namespace hadal::model {

/// Where a sub-layer's input comes from and its output goes: a plain residual x += f(norm(x)), or
/// V4's hyper-connections, which mix M residual streams around it. Shapes: x [T, M * D], M = 1 for
/// the plain one. Source: Manifold-Constrained Hyper-Connections, arXiv 2512.24880.
class Residual {
 public:
  /// `site` is "attn" or "ffn".
  Residual(LoadContext& context, int64_t layer, const std::string& site);

  /// x -> the normalised input of the sub-layer [T, D], runs `body(input, output)`, and adds its
  /// output back into x.
  template <class Body>
  void around(const StepContext& s, kernels::Mat x, Body body) const {
    const Workspace::Frame frame(s.scratch);
    const kernels::Mat input = s.scratch.mat(x.rows, cfg_.hidden);
    const kernels::Mat output = s.scratch.mat(x.rows, cfg_.hidden);
    if (cfg_.hyper.streams == 0) {
      s.ops.rms_norm(input, x, norm_, cfg_.norm_eps);
      body(input, output);
      s.ops.add(x, output);
      return;
    }
    const int64_t m = cfg_.hyper.streams;
    float* post = s.scratch.floats(x.rows * m);
    float* comb = s.scratch.floats(x.rows * m * m);
    s.ops.hyper_pre(mix(x), input, post, comb);
    s.ops.rms_norm(input, input, norm_, cfg_.norm_eps);
    body(input, output);
    s.ops.hyper_post(x, output, post, comb, m);
  }

 private:
  kernels::HyperArgs mix(kernels::Mat x) const;

  const ModelConfig& cfg_;
  const float* norm_ = nullptr;
  WeightView fn_;
  const float* base_ = nullptr;
  const float* scale_ = nullptr;
};

/// One layer: attention, then feed-forward, each inside its residual.
class Layer {
 public:
  Layer(LoadContext& context, int64_t layer);

  void forward(const StepContext& s, kernels::Mat x) const {
    attention_residual_.around(
        s, x, [&](kernels::Mat in, kernels::Mat out) { attention_->forward(s, in, out); });
    feed_forward_residual_.around(
        s, x, [&](kernels::Mat in, kernels::Mat out) { feed_forward_.forward(s, in, out); });
  }

  int64_t idle_parameters() const { return feed_forward_.idle_parameters(); }
  int64_t idle_bytes() const { return feed_forward_.idle_bytes(); }

 private:
  Residual attention_residual_;
  std::unique_ptr<Attention> attention_;
  Residual feed_forward_residual_;
  FeedForward feed_forward_;
};

}  // namespace hadal::model
