#include "model/feed_forward.h"

namespace hadal::model {

using kernels::Mat;

FeedForward::FeedForward(LoadContext& c, int64_t layer) : cfg_(c.config) {
  if (cfg_.is_moe_layer(layer)) {
    load_moe(c, layer);
    return;
  }
  const std::string at = "model.layers." + std::to_string(layer) + ".mlp.";
  dense_ = load_swiglu(c.weights, {at + "gate_proj", at + "up_proj", at + "down_proj"},
                       cfg_.intermediate, cfg_.hidden);
}

FeedForward::Swiglu FeedForward::load_swiglu(WeightLoader& w, const WeightLoader::ExpertNames& n,
                                             int64_t inter, int64_t hidden) {
  return {.gate = w.matrix({n.gate}, inter, hidden),
          .up = w.matrix({n.up}, inter, hidden),
          .down = w.matrix({n.down}, hidden, inter),
          .gate_bias = w.optional_vector({n.gate + ".bias"}, inter),
          .up_bias = w.optional_vector({n.up + ".bias"}, inter),
          .down_bias = w.optional_vector({n.down + ".bias"}, hidden),
          .inter = inter};
}

void FeedForward::load_moe(LoadContext& c, int64_t layer) {
  const MoeConfig& moe = cfg_.moe;
  WeightLoader& w = c.weights;
  const std::string l = cfg_.layer_name(layer);
  // V4 calls the same things ffn, w1, w3, w2; official files have no "model." in front.
  const std::string v3 = "model." + l + ".mlp.";
  const std::string v4 = (w.has(l + ".ffn.gate.weight") ? "" : "model.") + l + ".ffn.";
  const bool is_v4 = cfg_.attention == AttentionFamily::compressed;
  const auto names = [&](const std::string& what) -> WeightLoader::ExpertNames {
    if (is_v4) return {v4 + what + ".w1", v4 + what + ".w3", v4 + what + ".w2"};
    return {v3 + what + ".gate_proj", v3 + what + ".up_proj", v3 + what + ".down_proj"};
  };
  const std::string gate = (is_v4 ? v4 : v3) + "gate";
  router_ = w.matrix({gate}, moe.experts, cfg_.hidden);
  router_bias_ =
      w.optional_vector({gate + ".e_score_correction_bias", gate + ".bias"}, moe.experts);
  if (layer < moe.hash_layers) {
    hash_table_ = w.int_table({gate + ".tid2eid"}, cfg_.vocab, moe.per_token, moe.experts);
  }
  if (moe.shared > 0) {
    dense_ = load_swiglu(w, names("shared_experts"), moe.shared * moe.intermediate, cfg_.hidden);
  }
  experts_ = w.experts(moe.experts, moe.intermediate, cfg_.hidden,
                       [&](int64_t e) { return names("experts." + std::to_string(e)); });
}

void FeedForward::forward(const StepContext& s, Mat x, Mat out) const {
  const Workspace::Frame frame(s.scratch);
  if (dense_.inter > 0) {
    swiglu(s, dense_, x, out);
  } else {
    s.ops.clear(out);
  }
  if (!router_.empty()) route(s, x, out);
}

void FeedForward::swiglu(const StepContext& s, const Swiglu& w, Mat x, Mat out) const {
  const Mat gate = s.scratch.mat(x.rows, w.inter);
  const Mat up = s.scratch.mat(x.rows, w.inter);
  const kernels::Projection in[] = {{gate, w.gate, w.gate_bias}, {up, w.up, w.up_bias}};
  s.ops.linear(in, x);
  s.ops.swiglu(gate, gate, up, cfg_.swiglu_limit);
  const kernels::Projection down[] = {{out, w.down, w.down_bias}};
  s.ops.linear(down, gate);
}

void FeedForward::route(const StepContext& s, Mat x, Mat out) const {
  const MoeConfig& moe = cfg_.moe;
  const Mat logits = s.scratch.mat(x.rows, moe.experts);
  const kernels::Projection gate[] = {{logits, router_}};
  s.ops.linear(gate, x);
  int32_t* ids = s.scratch.ints(x.rows * moe.per_token);
  float* weights = s.scratch.floats(x.rows * moe.per_token);
  s.ops.moe_gate({.logits = logits,
                  .bias = router_bias_,
                  .hash_table = hash_table_,
                  .score = moe.score,
                  .experts_per_token = static_cast<int>(moe.per_token),
                  .groups = moe.groups,
                  .groups_kept = moe.groups_kept,
                  .group_score_top = moe.group_score_top,
                  .normalize = moe.normalize,
                  .scale = moe.scale,
                  .ids = ids,
                  .weights = weights},
                 s.step);
  s.ops.moe_experts(out, x, experts_.view, ids, weights, moe.per_token, cfg_.swiglu_limit);
}

int64_t FeedForward::idle_parameters() const {
  if (router_.empty()) return 0;
  return (cfg_.moe.experts - cfg_.moe.per_token) * 3 * cfg_.moe.intermediate * cfg_.hidden;
}

int64_t FeedForward::idle_bytes() const {
  if (router_.empty()) return 0;
  int64_t bytes = 0;
  for (const auto* matrices : {&experts_.gate, &experts_.up, &experts_.down}) {
    for (const WeightView& w : *matrices) bytes += w.empty() ? 0 : w.bytes();
  }
  return bytes / cfg_.moe.experts * (cfg_.moe.experts - cfg_.moe.per_token);
}

}  // namespace hadal::model
