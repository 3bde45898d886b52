// Grouped-query attention: DeepSeek-LLM, Coder, MoE-16B and the distilled Llama and Qwen models.
// Source: GQA, arXiv 2305.13245; tensor names as Hugging Face's LlamaForCausalLM.

#include <cmath>

#include "model/attention.h"

namespace hadal::model {
namespace {

using kernels::Mat;

class GqaAttention final : public Attention {
 public:
  GqaAttention(LoadContext& c, int64_t layer) : cfg_(c.config) {
    const std::string at = "model.layers." + std::to_string(layer) + ".self_attn.";
    const int64_t d = cfg_.hidden;
    const int64_t q_cols = cfg_.heads * cfg_.head_dim;
    const int64_t kv_cols = cfg_.kv_heads * cfg_.head_dim;
    WeightLoader& w = c.weights;
    q_ = w.matrix({at + "q_proj"}, q_cols, d);
    k_ = w.matrix({at + "k_proj"}, kv_cols, d);
    v_ = w.matrix({at + "v_proj"}, kv_cols, d);
    o_ = w.matrix({at + "o_proj"}, d, q_cols);
    q_bias_ = w.optional_vector({at + "q_proj.bias"}, q_cols);
    k_bias_ = w.optional_vector({at + "k_proj.bias"}, kv_cols);
    v_bias_ = w.optional_vector({at + "v_proj.bias"}, kv_cols);
    o_bias_ = w.optional_vector({at + "o_proj.bias"}, d);
    if (cfg_.architecture == "Qwen3ForCausalLM") {
      q_norm_ = w.vector({at + "q_norm.weight"}, cfg_.head_dim);
      k_norm_ = w.vector({at + "k_norm.weight"}, cfg_.head_dim);
    }
    std::vector<float> factors;
    if (w.has("rope_freqs.weight")) factors = w.host_vector("rope_freqs.weight", cfg_.head_dim / 2);
    rope_ = c.ropes.add(cfg_.rope, cfg_.head_dim, factors);
    k_stream_ = c.kv.add({.width = kv_cols, .part = cfg_.head_dim});
    v_stream_ = c.kv.add({.width = kv_cols, .part = cfg_.head_dim});
    scale_ = static_cast<float>(1 / std::sqrt(static_cast<double>(cfg_.head_dim)));
  }

  void forward(const StepContext& s, Mat x, Mat out) const override {
    const Workspace::Frame frame(s.scratch);
    const int64_t t = x.rows;
    const kernels::KvView& k_cache = s.kv[static_cast<size_t>(k_stream_)];
    const kernels::KvView& v_cache = s.kv[static_cast<size_t>(v_stream_)];
    const kernels::RopeView& rope = s.rope_tables[static_cast<size_t>(rope_)];

    const Mat q = s.scratch.mat(t, cfg_.heads * cfg_.head_dim);
    const Mat k = s.scratch.mat(t, cfg_.kv_heads * cfg_.head_dim);
    const Mat v = s.scratch.mat(t, cfg_.kv_heads * cfg_.head_dim);
    const kernels::Projection qkv[] = {{q, q_, q_bias_}, {k, k_, k_bias_}, {v, v_, v_bias_}};
    s.ops.linear(qkv, x);
    if (q_norm_ != nullptr) {
      const Mat q_heads = q.split_rows(cfg_.head_dim);
      const Mat k_heads = k.split_rows(cfg_.head_dim);
      s.ops.rms_norm(q_heads, q_heads, q_norm_, cfg_.norm_eps);
      s.ops.rms_norm(k_heads, k_heads, k_norm_, cfg_.norm_eps);
    }
    s.ops.rope(q, cfg_.heads, 0, rope, cfg_.rope_interleaved, false);
    s.ops.rope(k, cfg_.kv_heads, 0, rope, cfg_.rope_interleaved, false);
    s.ops.kv_append(k_cache, k, s.step);
    s.ops.kv_append(v_cache, v, s.step);
    const Mat heads = s.scratch.mat(t, cfg_.heads * cfg_.head_dim);
    s.ops.attention({.out = heads,
                     .q = q,
                     .k = k_cache,
                     .v = v_cache,
                     .heads = cfg_.heads,
                     .kv_heads = cfg_.kv_heads,
                     .scale = scale_},
                    s.step);
    const kernels::Projection o[] = {{out, o_, o_bias_}};
    s.ops.linear(o, heads);
  }

 private:
  const ModelConfig& cfg_;
  WeightView q_, k_, v_, o_;
  const float* q_bias_ = nullptr;
  const float* k_bias_ = nullptr;
  const float* v_bias_ = nullptr;
  const float* o_bias_ = nullptr;
  const float* q_norm_ = nullptr;
  const float* k_norm_ = nullptr;
  int rope_ = 0;
  int k_stream_ = 0;
  int v_stream_ = 0;
  float scale_ = 1;
};

}  // namespace

std::unique_ptr<Attention> load_gqa_attention(LoadContext& context, int64_t layer) {
  return std::make_unique<GqaAttention>(context, layer);
}

}  // namespace hadal::model
