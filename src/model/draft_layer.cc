#include "model/draft_layer.h"

namespace hadal::model {

using kernels::Mat;

namespace {

// How the names of the draft layer's own tensors may begin.
std::vector<std::string> named(const ModelConfig& config, const std::string& part) {
  const std::string raw = config.layer_name(config.layers) + "." + part;
  return {"model." + raw, raw};
}

}  // namespace

FinalNorm::FinalNorm(LoadContext& c, WeightLoader::Names norm, WeightLoader::Names hyper)
    : cfg_(c.config) {
  WeightLoader& w = c.weights;
  norm_ = w.vector(norm, cfg_.hidden);
  const int64_t m = cfg_.hyper.streams;
  if (m == 0) return;
  const auto with = [&](const char* part) {
    std::vector<std::string> names;
    for (const std::string& stem : hyper) names.push_back(stem + part);
    return names;
  };
  fn_ = w.raw_matrix(with("fn"), m, m * cfg_.hidden, false);
  base_ = w.vector(with("base"), m);
  scale_ = w.vector(with("scale"), 1);
}

void FinalNorm::forward(const StepContext& s, Mat x, Mat out) const {
  const bool streams = cfg_.hyper.streams > 0;
  if (streams) {
    s.ops.hyper_head({.x = x,
                      .fn = fn_,
                      .base = base_,
                      .scale = scale_,
                      .streams = cfg_.hyper.streams,
                      .norm_eps = cfg_.norm_eps,
                      .eps = cfg_.hyper.eps},
                     out);
  }
  s.ops.rms_norm(out, streams ? out : x, norm_, cfg_.norm_eps);
}

bool DraftLayer::is_there(const LoadContext& c) {
  if (c.config.draft_layers == 0) return false;
  const bool v4 = c.config.hyper.streams > 0;
  for (const std::string& name : named(c.config, v4 ? "e_proj.weight" : "eh_proj.weight")) {
    if (c.weights.has(name)) return true;
  }
  return false;
}

DraftLayer::DraftLayer(LoadContext& c)
    : cfg_(c.config),
      embedding_norm_(c.weights.vector(named(cfg_, "enorm.weight"), cfg_.hidden)),
      hidden_norm_(c.weights.vector(named(cfg_, "hnorm.weight"), cfg_.hidden)),
      layer_(c, cfg_.layers),
      final_norm_(c,
                  named(cfg_, cfg_.hyper.streams > 0 ? "norm.weight" : "shared_head.norm.weight"),
                  named(cfg_, "hc_head_")) {
  if (cfg_.hyper.streams > 0) {
    from_embedding_ = c.weights.matrix(named(cfg_, "e_proj"), cfg_.hidden, cfg_.hidden);
    from_hidden_ = c.weights.matrix(named(cfg_, "h_proj"), cfg_.hidden, cfg_.hidden);
  } else {
    joint_ = c.weights.matrix(named(cfg_, "eh_proj"), cfg_.hidden, 2 * cfg_.hidden);
  }
}

void DraftLayer::forward(const StepContext& s, Mat embedded, Mat hidden, Mat x) const {
  const int64_t d = cfg_.hidden;
  {
    const Workspace::Frame frame(s.scratch);
    if (cfg_.hyper.streams == 0) {
      const Mat both = s.scratch.mat(x.rows, 2 * d);
      s.ops.rms_norm(both.slice_cols(0, d), embedded, embedding_norm_, cfg_.norm_eps);
      s.ops.rms_norm(both.slice_cols(d, d), hidden, hidden_norm_, cfg_.norm_eps);
      const kernels::Projection joint[] = {{x, joint_}};
      s.ops.linear(joint, both);
    } else {
      // Every stream gets the same of the embedding.
      const Mat normed = s.scratch.mat(x.rows, x.cols);
      s.ops.rms_norm(normed.split_rows(d), hidden.split_rows(d), hidden_norm_, cfg_.norm_eps);
      const kernels::Projection from_hidden[] = {{x.split_rows(d), from_hidden_}};
      s.ops.linear(from_hidden, normed.split_rows(d));
      s.ops.rms_norm(embedded, embedded, embedding_norm_, cfg_.norm_eps);
      const Mat once = s.scratch.mat(x.rows, d);
      const kernels::Projection from_embedding[] = {{once, from_embedding_}};
      s.ops.linear(from_embedding, embedded);
      s.ops.repeat_cols(normed, once);
      s.ops.add(x, normed);
    }
  }
  layer_.forward(s, x);
}

}  // namespace hadal::model
