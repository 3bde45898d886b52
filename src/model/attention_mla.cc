// Multi-head latent attention: V2, V2.5, V3, R1, V3.1; V3.2 adds an indexer that picks the rows to
// attend. Source: DeepSeek-V2, arXiv 2405.04434, section 2.1; DeepSeek-V3.2-Exp technical report.

#include <cmath>

#include "model/attention.h"

namespace hadal::model {
namespace {

using kernels::Mat;

// The norms inside MLA keep this epsilon whatever rms_norm_eps says. Source: DeepSeek-V3 reference
// code.
constexpr float kLatentNormEps = 1e-6f;

// Picks rows for sparse attention: scores from a small head on the queries' latent.
class Indexer {
 public:
  Indexer(LoadContext& c, const std::string& at) : cfg_(c.config), dims_(c.config.indexer) {
    WeightLoader& w = c.weights;
    q_ = w.matrix({at + "wq_b"}, dims_.heads * dims_.dim, cfg_.mla.q_lora);
    k_ = w.matrix({at + "wk"}, dims_.dim, cfg_.hidden);
    weights_ = w.matrix({at + "weights_proj"}, dims_.heads, cfg_.hidden);
    k_norm_ = w.vector({at + "k_norm.weight"}, dims_.dim);
    k_norm_bias_ = w.vector({at + "k_norm.bias"}, dims_.dim);
    stream_ = c.kv.add({.width = dims_.dim});
  }

  int64_t rows_max() const { return dims_.top_k; }

  // Extends the index by this step and selects rows for each token: [T, top_k].
  const int32_t* select(const StepContext& s, Mat x, Mat q_latent,
                        const kernels::RopeView& rope) const {
    int32_t* selected = s.scratch.ints(x.rows * dims_.top_k);
    const Workspace::Frame frame(s.scratch);
    const Mat q = s.scratch.mat(x.rows, dims_.heads * dims_.dim);
    const Mat k = s.scratch.mat(x.rows, dims_.dim);
    const Mat weights = s.scratch.mat(x.rows, dims_.heads);
    const kernels::Projection from_q[] = {{q, q_}};
    s.ops.linear(from_q, q_latent);
    const kernels::Projection from_x[] = {{k, k_}, {weights, weights_}};
    s.ops.linear(from_x, x);
    s.ops.layer_norm(k, k, k_norm_, k_norm_bias_, kLatentNormEps);
    // The first rope dims, as halves: unlike the main attention.
    s.ops.rope(q, dims_.heads, 0, rope, /*interleaved=*/false, false);
    s.ops.rope(k, 1, 0, rope, /*interleaved=*/false, false);
    const kernels::KvView& cache = s.kv[static_cast<size_t>(stream_)];
    s.ops.kv_append(cache, k, s.step);
    s.ops.indexer_top_k(
        {.q = q,
         .weights = weights,
         .k = cache,
         .heads = dims_.heads,
         .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dims_.dim))),
         .weight_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dims_.heads))),
         .selected = selected,
         .selected_max = dims_.top_k},
        s.step);
    return selected;
  }

 private:
  const ModelConfig& cfg_;
  const IndexerConfig& dims_;
  WeightView q_, k_, weights_;
  const float* k_norm_ = nullptr;
  const float* k_norm_bias_ = nullptr;
  int stream_ = 0;
};

class MlaAttention final : public Attention {
 public:
  MlaAttention(LoadContext& c, int64_t layer) : cfg_(c.config), mla_(c.config.mla) {
    const std::string at = "model.layers." + std::to_string(layer) + ".self_attn.";
    WeightLoader& w = c.weights;
    const int64_t h = cfg_.heads;
    const int64_t q_cols = h * (mla_.nope + mla_.rope);
    if (mla_.q_lora > 0) {
      q_a_ = w.matrix({at + "q_a_proj"}, mla_.q_lora, cfg_.hidden);
      q_a_bias_ = w.optional_vector({at + "q_a_proj.bias"}, mla_.q_lora);
      q_norm_ = w.vector({at + "q_a_layernorm.weight"}, mla_.q_lora);
      q_b_ = w.matrix({at + "q_b_proj"}, q_cols, mla_.q_lora);
    } else {
      q_b_ = w.matrix({at + "q_proj"}, q_cols, cfg_.hidden);
    }
    kv_a_ = w.matrix({at + "kv_a_proj_with_mqa"}, mla_.kv_lora + mla_.rope, cfg_.hidden);
    kv_a_bias_ = w.optional_vector({at + "kv_a_proj_with_mqa.bias"}, mla_.kv_lora + mla_.rope);
    kv_norm_ = w.vector({at + "kv_a_layernorm.weight"}, mla_.kv_lora);
    if (w.has(at + "k_b_proj.weight")) {
      k_b_t_ = w.matrix({at + "k_b_proj"}, h * mla_.kv_lora, mla_.nope);
      v_b_ = w.matrix({at + "v_b_proj"}, h * mla_.v_dim, mla_.kv_lora);
    } else {
      kv_b_ = w.matrix({at + "kv_b_proj"}, h * (mla_.nope + mla_.v_dim), mla_.kv_lora);
    }
    o_ = w.matrix({at + "o_proj"}, cfg_.hidden, h * mla_.v_dim);
    o_bias_ = w.optional_vector({at + "o_proj.bias"}, cfg_.hidden);
    rope_ = c.ropes.add(cfg_.rope, mla_.rope);
    stream_ = c.kv.add({.width = mla_.kv_lora + mla_.rope});
    if (cfg_.indexer.heads > 0) indexer_ = std::make_unique<Indexer>(c, at + "indexer.");
    scale_ = static_cast<float>(rope_softmax_factor(cfg_.rope) /
                                std::sqrt(static_cast<double>(mla_.nope + mla_.rope)));
  }

  void forward(const StepContext& s, Mat x, Mat out) const override {
    const Workspace::Frame frame(s.scratch);
    const int64_t t = x.rows;
    const kernels::RopeView& rope = s.rope_tables[static_cast<size_t>(rope_)];
    const kernels::KvView& cache = s.kv[static_cast<size_t>(stream_)];

    const Mat kv = s.scratch.mat(t, mla_.kv_lora + mla_.rope);
    const Mat q = s.scratch.mat(t, cfg_.heads * (mla_.nope + mla_.rope));
    Mat q_latent;
    if (mla_.q_lora > 0) {
      q_latent = s.scratch.mat(t, mla_.q_lora);
      const kernels::Projection down[] = {{q_latent, q_a_, q_a_bias_}, {kv, kv_a_, kv_a_bias_}};
      s.ops.linear(down, x);
      s.ops.rms_norm(q_latent, q_latent, q_norm_, kLatentNormEps);
      const kernels::Projection up[] = {{q, q_b_}};
      s.ops.linear(up, q_latent);
    } else {
      const kernels::Projection down[] = {{q, q_b_}, {kv, kv_a_, kv_a_bias_}};
      s.ops.linear(down, x);
    }
    const Mat latent = kv.slice_cols(0, mla_.kv_lora);
    s.ops.rms_norm(latent, latent, kv_norm_, kLatentNormEps);
    s.ops.rope(kv.slice_cols(mla_.kv_lora, mla_.rope), 1, 0, rope, cfg_.rope_interleaved, false);
    s.ops.rope(q, cfg_.heads, mla_.nope, rope, cfg_.rope_interleaved, false);
    s.ops.kv_append(cache, kv, s.step);

    const int32_t* selected = nullptr;
    if (indexer_) selected = indexer_->select(s, x, q_latent, rope);
    const Mat heads = s.scratch.mat(t, cfg_.heads * mla_.v_dim);
    s.ops.mla_attention({.out = heads,
                         .q = q,
                         .kv = cache,
                         .kv_b = kv_b_,
                         .k_b_t = k_b_t_,
                         .v_b = v_b_,
                         .heads = cfg_.heads,
                         .nope = mla_.nope,
                         .latent = mla_.kv_lora,
                         .rope = mla_.rope,
                         .v_dim = mla_.v_dim,
                         .scale = scale_,
                         .selected = selected,
                         .selected_max = indexer_ ? indexer_->rows_max() : 0},
                        s.step);
    const kernels::Projection o[] = {{out, o_, o_bias_}};
    s.ops.linear(o, heads);
  }

 private:
  const ModelConfig& cfg_;
  const MlaConfig& mla_;
  WeightView q_a_, q_b_, kv_a_, kv_b_, k_b_t_, v_b_, o_;
  const float* q_a_bias_ = nullptr;
  const float* q_norm_ = nullptr;
  const float* kv_a_bias_ = nullptr;
  const float* kv_norm_ = nullptr;
  const float* o_bias_ = nullptr;
  std::unique_ptr<Indexer> indexer_;
  int rope_ = 0;
  int stream_ = 0;
  float scale_ = 1;
};

}  // namespace

std::unique_ptr<Attention> load_mla_attention(LoadContext& context, int64_t layer) {
  return std::make_unique<MlaAttention>(context, layer);
}

}  // namespace hadal::model
