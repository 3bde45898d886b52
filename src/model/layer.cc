#include "model/layer.h"

namespace hadal::model {
namespace {

std::unique_ptr<Attention> load_attention(LoadContext& context, int64_t layer) {
  switch (context.config.attention) {
    case AttentionFamily::gqa: return load_gqa_attention(context, layer);
    case AttentionFamily::mla: return load_mla_attention(context, layer);
    case AttentionFamily::compressed: return load_compressed_attention(context, layer);
  }
  CHECK(false, "an attention family without a loader");
  return nullptr;
}

}  // namespace

Residual::Residual(LoadContext& c, int64_t layer, const std::string& site) : cfg_(c.config) {
  const std::string raw = cfg_.layer_name(layer) + ".";
  const std::string at = "model." + raw;
  WeightLoader& w = c.weights;
  if (cfg_.hyper.streams == 0) {
    norm_ = w.vector(
        {at + (site == "attn" ? "input_layernorm.weight" : "post_attention_layernorm.weight")},
        cfg_.hidden);
    return;
  }
  const int64_t m = cfg_.hyper.streams;
  norm_ = w.vector({at + site + "_norm.weight", raw + site + "_norm.weight"}, cfg_.hidden);
  fn_ = w.raw_matrix({at + "hc_" + site + "_fn", raw + "hc_" + site + "_fn"}, (2 + m) * m,
                     m * cfg_.hidden, false);
  base_ = w.vector({at + "hc_" + site + "_base", raw + "hc_" + site + "_base"}, (2 + m) * m);
  scale_ = w.vector({at + "hc_" + site + "_scale", raw + "hc_" + site + "_scale"}, 3);
}

kernels::HyperArgs Residual::mix(kernels::Mat x) const {
  return {.x = x,
          .fn = fn_,
          .base = base_,
          .scale = scale_,
          .streams = cfg_.hyper.streams,
          .norm_eps = cfg_.norm_eps,
          .eps = cfg_.hyper.eps,
          .sinkhorn_iterations = cfg_.hyper.sinkhorn_iterations};
}

Layer::Layer(LoadContext& context, int64_t layer)
    : attention_residual_(context, layer, "attn"),
      attention_(load_attention(context, layer)),
      feed_forward_residual_(context, layer, "ffn"),
      feed_forward_(context, layer) {}

}  // namespace hadal::model
