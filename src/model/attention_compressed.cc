// V4's attention: a window of recent rows, rows pooled from older tokens, and a sink. Keys are the
// values. Source: DeepSeek-V4 report (CSA, HCA). Tensor names: the official checkpoint's, and
// Hugging Face's with "model." in front.

#include <cmath>

#include "model/attention.h"

namespace hadal::model {
namespace {

using kernels::Mat;

// Pools every `ratio` tokens into one cached row of `width`.
class Compressor {
 public:
  Compressor(LoadContext& c, const std::vector<std::string>& stems, int64_t width, int64_t ratio,
             bool overlap, int rope)
      : cfg_(c.config), width_(width), ratio_(ratio), overlap_(overlap), rope_(rope) {
    const int64_t cols = (overlap ? 2 : 1) * width;
    WeightLoader& w = c.weights;
    const auto named = [&](const std::string& part) {
      std::vector<std::string> names;
      for (const std::string& stem : stems) names.push_back(stem + part);
      return names;
    };
    kv_ = w.matrix(named("wkv"), cols, cfg_.hidden);
    gate_ = w.matrix(named("wgate"), cols, cfg_.hidden);
    ape_ = w.vector(named("ape"), ratio * cols);
    norm_ = w.vector(named("norm.weight"), width);
    const int64_t window = (overlap ? 2 : 1) * ratio;
    state_stream_ =
        c.kv.add({.width = 2 * cols, .ring_rows = window + c.step_tokens_max, .exact = true});
    out_stream_ = c.kv.add({.width = width, .tokens_per_row = ratio});
  }

  void forward(const StepContext& s, Mat x) const {
    const Workspace::Frame frame(s.scratch);
    const int64_t cols = (overlap_ ? 2 : 1) * width_;
    const Mat kv = s.scratch.mat(x.rows, cols);
    const Mat gate = s.scratch.mat(x.rows, cols);
    const kernels::Projection projections[] = {{kv, kv_}, {gate, gate_}};
    s.ops.linear(projections, x);
    const RopeSet::Entry& rope = s.ropes.entries()[static_cast<size_t>(rope_)];
    s.ops.compress({.kv = kv,
                    .gate = gate,
                    .ape = ape_,
                    .norm = norm_,
                    .eps = cfg_.norm_eps,
                    .ratio = ratio_,
                    .overlap = overlap_,
                    .inv_freq = rope.device_inv_freq,
                    .rope_dims = rope.dims,
                    .rope_scale = rope.scale,
                    .state = s.kv[static_cast<size_t>(state_stream_)],
                    .out = rows(s)},
                   s.step);
  }

  const kernels::KvView& rows(const StepContext& s) const {
    return s.kv[static_cast<size_t>(out_stream_)];
  }

 private:
  const ModelConfig& cfg_;
  int64_t width_;
  int64_t ratio_;
  bool overlap_;
  int rope_;
  WeightView kv_, gate_;
  const float* ape_ = nullptr;
  const float* norm_ = nullptr;
  int state_stream_ = 0;
  int out_stream_ = 0;
};

class CompressedAttention final : public Attention {
 public:
  CompressedAttention(LoadContext& c, int64_t layer) : cfg_(c.config), dims_(c.config.compressed) {
    const std::string raw = cfg_.layer_name(layer) + ".attn.";
    const std::string at = "model." + raw;
    WeightLoader& w = c.weights;
    const int64_t q_cols = cfg_.heads * cfg_.head_dim;
    q_a_ = w.matrix({at + "wq_a", raw + "wq_a"}, dims_.q_lora, cfg_.hidden);
    q_norm_ = w.vector({at + "q_norm.weight", raw + "q_norm.weight"}, dims_.q_lora);
    q_b_ = w.matrix({at + "wq_b", raw + "wq_b"}, q_cols, dims_.q_lora);
    kv_ = w.matrix({at + "wkv", raw + "wkv"}, cfg_.head_dim, cfg_.hidden);
    kv_norm_ = w.vector({at + "kv_norm.weight", raw + "kv_norm.weight", at + "norm.weight"},
                        cfg_.head_dim);
    sink_ = w.vector({at + "attn_sink", raw + "attn_sink"}, cfg_.heads);
    o_a_ = w.matrix({at + "wo_a", raw + "wo_a"}, dims_.o_groups * dims_.o_lora,
                    q_cols / dims_.o_groups);
    o_b_ = w.matrix({at + "wo_b", raw + "wo_b"}, cfg_.hidden, dims_.o_groups * dims_.o_lora);
    recent_stream_ =
        c.kv.add({.width = cfg_.head_dim, .ring_rows = dims_.window + c.step_tokens_max});
    scale_ = static_cast<float>(1 / std::sqrt(static_cast<double>(cfg_.head_dim)));

    // Draft layers see the window alone.
    ratio_ = layer < cfg_.layers ? dims_.ratios[static_cast<size_t>(layer)] : 0;
    rope_ = c.ropes.add(ratio_ > 0 ? dims_.rope_config : cfg_.rope, dims_.rope);
    if (ratio_ == 0) return;
    const bool overlap = dims_.overlap[static_cast<size_t>(layer)];
    compressor_ = std::make_unique<Compressor>(
        c, std::vector<std::string>{at + "compressor.", raw + "compressor."}, cfg_.head_dim, ratio_,
        overlap, rope_);
    if (!overlap) return;
    const IndexerConfig& index = cfg_.indexer;
    index_q_ = w.matrix({at + "indexer.wq_b", raw + "indexer.wq_b"}, index.heads * index.dim,
                        dims_.q_lora);
    index_weights_ = w.matrix({at + "indexer.weights_proj", raw + "indexer.weights_proj"},
                              index.heads, cfg_.hidden);
    index_compressor_ = std::make_unique<Compressor>(
        c, std::vector<std::string>{at + "indexer.compressor.", raw + "indexer.compressor."},
        index.dim, ratio_, true, rope_);
  }

  void forward(const StepContext& s, Mat x, Mat out) const override {
    const Workspace::Frame frame(s.scratch);
    const int64_t t = x.rows;
    const int64_t nope = cfg_.head_dim - dims_.rope;
    const kernels::RopeView& rope = s.rope_tables[static_cast<size_t>(rope_)];
    const kernels::KvView& recent = s.kv[static_cast<size_t>(recent_stream_)];

    const Mat q_latent = s.scratch.mat(t, dims_.q_lora);
    const Mat kv = s.scratch.mat(t, cfg_.head_dim);
    const kernels::Projection down[] = {{q_latent, q_a_}, {kv, kv_}};
    s.ops.linear(down, x);
    s.ops.rms_norm(q_latent, q_latent, q_norm_, cfg_.norm_eps);
    s.ops.rms_norm(kv, kv, kv_norm_, cfg_.norm_eps);
    const Mat q = s.scratch.mat(t, cfg_.heads * cfg_.head_dim);
    const kernels::Projection up[] = {{q, q_b_}};
    s.ops.linear(up, q_latent);
    const Mat q_heads = q.split_rows(cfg_.head_dim);
    s.ops.rms_norm(q_heads, q_heads, nullptr, cfg_.norm_eps);
    s.ops.rope(q, cfg_.heads, nope, rope, /*interleaved=*/true, false);
    s.ops.rope(kv, 1, nope, rope, /*interleaved=*/true, false);
    s.ops.kv_append(recent, kv, s.step);

    if (compressor_) compressor_->forward(s, x);
    const int32_t* selected = index_compressor_ ? select(s, x, q_latent, rope) : nullptr;
    const Mat heads = s.scratch.mat(t, cfg_.heads * cfg_.head_dim);
    s.ops.sink_attention({.out = heads,
                          .q = q,
                          .recent = recent,
                          .compressed = compressor_ ? compressor_->rows(s) : kernels::KvView{},
                          .sink = sink_,
                          .heads = cfg_.heads,
                          .window = dims_.window,
                          .ratio = ratio_ > 0 ? ratio_ : 1,
                          .scale = scale_,
                          .selected = selected,
                          .selected_max = selected != nullptr ? cfg_.indexer.top_k : 0},
                         s.step);
    // Values carry their position; the answer is turned back by the query's.
    s.ops.rope(heads, cfg_.heads, nope, rope, /*interleaved=*/true, /*inverse=*/true);
    const Mat groups = s.scratch.mat(t, dims_.o_groups * dims_.o_lora);
    s.ops.linear_grouped(groups, heads, o_a_, dims_.o_groups);
    const kernels::Projection o[] = {{out, o_b_}};
    s.ops.linear(o, groups);
  }

 private:
  const int32_t* select(const StepContext& s, Mat x, Mat q_latent,
                        const kernels::RopeView& rope) const {
    const IndexerConfig& index = cfg_.indexer;
    int32_t* selected = s.scratch.ints(x.rows * index.top_k);
    const Workspace::Frame frame(s.scratch);
    index_compressor_->forward(s, x);
    const Mat q = s.scratch.mat(x.rows, index.heads * index.dim);
    const kernels::Projection from_q[] = {{q, index_q_}};
    s.ops.linear(from_q, q_latent);
    s.ops.rope(q, index.heads, index.dim - dims_.rope, rope, /*interleaved=*/true, false);
    const Mat weights = s.scratch.mat(x.rows, index.heads);
    const kernels::Projection from_x[] = {{weights, index_weights_}};
    s.ops.linear(from_x, x);
    s.ops.indexer_top_k(
        {.q = q,
         .weights = weights,
         .k = index_compressor_->rows(s),
         .heads = index.heads,
         .ratio = ratio_,
         .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(index.dim))),
         .weight_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(index.heads))),
         .selected = selected,
         .selected_max = index.top_k},
        s.step);
    return selected;
  }

  const ModelConfig& cfg_;
  const CompressedConfig& dims_;
  WeightView q_a_, q_b_, kv_, o_a_, o_b_, index_q_, index_weights_;
  const float* q_norm_ = nullptr;
  const float* kv_norm_ = nullptr;
  const float* sink_ = nullptr;
  std::unique_ptr<Compressor> compressor_;
  std::unique_ptr<Compressor> index_compressor_;
  int rope_ = 0;
  int recent_stream_ = 0;
  int64_t ratio_ = 0;
  float scale_ = 1;
};

}  // namespace

std::unique_ptr<Attention> load_compressed_attention(LoadContext& context, int64_t layer) {
  return std::make_unique<CompressedAttention>(context, layer);
}

}  // namespace hadal::model
