#include "model/model.h"

#include <algorithm>

#include "model/layer.h"

namespace hadal::model {

using kernels::Mat;

struct Model::Impl {
  explicit Impl(kernels::Device& d) : device(d), scratch(d) {}

  kernels::Device& device;
  ModelConfig config;
  int64_t step_tokens_max = 0;
  std::vector<Buffer> buffers;
  uint64_t decode_weight_bytes = 0;
  RopeSet ropes;
  kvcache::KvLayout kv;
  WeightView embedding, head;
  const float* final_norm = nullptr;
  WeightView hyper_fn;
  const float* hyper_base = nullptr;
  const float* hyper_scale = nullptr;
  std::vector<std::unique_ptr<Layer>> layers;
  Workspace scratch;
  std::vector<kernels::RopeView> rope_tables;

  void load(WeightLoader& weights);
  void make_rope_tables(const kernels::StepView& step);
  Mat collapse(Mat x);
};

void Model::Impl::load(WeightLoader& w) {
  const int64_t m = config.hyper.streams;
  const bool tied = config.tied_embeddings && !w.has("lm_head.weight") && !w.has("head.weight");
  embedding = w.raw_matrix({"model.embed_tokens.weight", "model.embed.weight", "embed.weight"},
                           config.vocab, config.hidden, tied);
  LoadContext context{config, w, ropes, kv, step_tokens_max};
  for (int64_t i = 0; i < config.layers; ++i) layers.push_back(std::make_unique<Layer>(context, i));
  if (m > 0) {
    hyper_fn = w.raw_matrix({"model.hc_head.hc_fn", "model.hc_head_fn", "hc_head_fn"}, m,
                            m * config.hidden, false);
    hyper_base = w.vector({"model.hc_head.hc_base", "model.hc_head_base", "hc_head_base"}, m);
    hyper_scale = w.vector({"model.hc_head.hc_scale", "model.hc_head_scale", "hc_head_scale"}, 1);
  }
  final_norm = w.vector({"model.norm.weight", "norm.weight"}, config.hidden);
  head = tied ? embedding : w.matrix({"lm_head", "head"}, config.vocab, config.hidden);
}

void Model::Impl::make_rope_tables(const kernels::StepView& step) {
  rope_tables.clear();
  for (const RopeSet::Entry& e : ropes.entries()) {
    const int64_t n = step.tokens * (e.dims / 2);
    float* cos = scratch.floats(n);
    float* sin = scratch.floats(n);
    device.ops().rope_table(cos, sin, step.positions, step.tokens, e.device_inv_freq, e.dims,
                            e.scale);
    rope_tables.push_back({cos, sin, e.dims});
  }
}

// The residual streams of the chosen rows as one: [n, M * D] -> [n, D].
Mat Model::Impl::collapse(Mat x) {
  if (config.hyper.streams == 0) return x;
  const Mat out = scratch.mat(x.rows, config.hidden);
  device.ops().hyper_head({.x = x,
                           .fn = hyper_fn,
                           .base = hyper_base,
                           .scale = hyper_scale,
                           .streams = config.hyper.streams,
                           .norm_eps = config.norm_eps,
                           .eps = config.hyper.eps},
                          out);
  return out;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

Result<std::unique_ptr<Model>> Model::load(const format::Checkpoint& checkpoint,
                                           kernels::Device& device, const LoadOptions& options) {
  auto impl = std::make_unique<Impl>(device);
  auto config = read_model_config(checkpoint.config());
  if (!config) return std::move(config).error().in(checkpoint.name());
  impl->config = *std::move(config);
  impl->step_tokens_max = options.step_tokens_max;
  WeightLoader weights(checkpoint, device, impl->config.weight_block_rows,
                       impl->config.weight_block_cols);
  impl->load(weights);
  TRY_VOID(weights.status());
  impl->buffers = weights.take_buffers();
  // All matrices but the embedding, of which one row is read, and the experts that a token does not
  // use.
  impl->decode_weight_bytes = weights.matrix_bytes();
  const bool shared_head = impl->head.data.data == impl->embedding.data.data;
  if (!shared_head) impl->decode_weight_bytes -= static_cast<uint64_t>(impl->embedding.bytes());
  for (const auto& layer : impl->layers)
    impl->decode_weight_bytes -= static_cast<uint64_t>(layer->idle_bytes());
  TRY_VOID(impl->ropes.upload(device, impl->buffers));
  return std::unique_ptr<Model>(new Model(std::move(impl)));
}

const ModelConfig& Model::config() const { return impl_->config; }
const kvcache::KvLayout& Model::kv_layout() const { return impl_->kv; }
int64_t Model::step_tokens_max() const { return impl_->step_tokens_max; }
uint64_t Model::decode_weight_bytes() const { return impl_->decode_weight_bytes; }

void Model::forward(const kernels::StepView& step, std::span<const kernels::KvView> kv,
                    const int32_t* rows, Mat logits) {
  Impl& m = *impl_;
  CHECK(step.tokens > 0 && step.tokens <= m.step_tokens_max);
  kernels::Ops& ops = m.device.ops();
  const Workspace::Frame frame(m.scratch);
  m.make_rope_tables(step);
  const StepContext s{ops, step, kv, m.rope_tables, m.ropes, m.scratch};

  const int64_t streams = std::max<int64_t>(m.config.hyper.streams, 1);
  const Mat x = m.scratch.mat(step.tokens, streams * m.config.hidden);
  if (streams == 1) {
    ops.embed(x, m.embedding, step.token_ids);
  } else {
    const Mat embedded = m.scratch.mat(step.tokens, m.config.hidden);
    ops.embed(embedded, m.embedding, step.token_ids);
    ops.repeat_cols(x, embedded);
  }
  for (const auto& layer : m.layers) layer->forward(s, x);

  if (logits.rows == 0) return;
  const Mat last = m.scratch.mat(logits.rows, x.cols);
  ops.gather_rows(last, x, rows);
  const Mat hidden = m.collapse(last);
  ops.rms_norm(hidden, hidden, m.final_norm, m.config.norm_eps);
  const kernels::Projection head[] = {{logits, m.head}};
  ops.linear(head, hidden);
}

Result<ModelSummary> summarize(const format::Checkpoint& checkpoint, kernels::Device& device) {
  ModelSummary out;
  TRY(out.config, read_model_config(checkpoint.config()));
  Model::Impl impl(device);
  impl.config = out.config;
  impl.step_tokens_max = LoadOptions{}.step_tokens_max;
  WeightLoader weights(checkpoint, device, out.config.weight_block_rows,
                       out.config.weight_block_cols);
  impl.load(weights);
  out.kv = impl.kv;
  out.problems = weights.problems();
  out.parameters = weights.parameters();
  uint64_t idle = 0;
  for (const auto& layer : impl.layers) idle += static_cast<uint64_t>(layer->idle_parameters());
  out.active_parameters = out.parameters - std::min(idle, out.parameters);
  for (const format::CheckpointTensor& t : checkpoint.tensors()) {
    if (!weights.used().contains(t.name)) out.unused.push_back(t.name);
  }
  return out;
}

}  // namespace hadal::model
