#include "model/model.h"

#include <algorithm>

#include "base/check.h"
#include "model/draft_layer.h"
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
  std::vector<std::unique_ptr<Layer>> layers;
  std::unique_ptr<FinalNorm> final_norm;
  std::unique_ptr<DraftLayer> draft;  ///< null: none, or not wanted
  Workspace scratch;
  std::vector<kernels::RopeView> rope_tables;

  void load(WeightLoader& weights, bool draft_layer);
  StepContext begin(const kernels::StepView& step, std::span<const kernels::KvView> kv);
  void make_rope_tables(const kernels::StepView& step);
  void apply_head(Mat logits, Mat x);
  int64_t streams() const { return std::max<int64_t>(config.hyper.streams, 1); }
};

void Model::Impl::load(WeightLoader& w, bool draft_layer) {
  const bool tied = config.tied_embeddings && !w.has("lm_head.weight") && !w.has("head.weight");
  embedding = w.raw_matrix({"model.embed_tokens.weight", "model.embed.weight", "embed.weight"},
                           config.vocab, config.hidden, tied);
  LoadContext context{config, w, ropes, kv, step_tokens_max};
  for (int64_t i = 0; i < config.layers; ++i) layers.push_back(std::make_unique<Layer>(context, i));
  final_norm = std::make_unique<FinalNorm>(
      context, std::vector<std::string>{"model.norm.weight", "norm.weight"},
      std::vector<std::string>{"model.hc_head.hc_", "model.hc_head_", "hc_head_"});
  if (draft_layer && DraftLayer::is_there(context)) draft = std::make_unique<DraftLayer>(context);
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

StepContext Model::Impl::begin(const kernels::StepView& step,
                               std::span<const kernels::KvView> caches) {
  CHECK(step.tokens > 0 && step.tokens <= step_tokens_max);
  make_rope_tables(step);
  return {device.ops(), step, caches, rope_tables, ropes, scratch};
}

void Model::Impl::apply_head(Mat logits, Mat x) {
  const kernels::Projection projections[] = {{logits, head}};
  device.ops().linear(projections, x);
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
  impl->load(weights, options.draft_layer);
  TRY_VOID(weights.status());
  impl->buffers = weights.take_buffers();
  // All matrices but the embedding, of which one row is read, and the experts that a token does not
  // use.
  impl->decode_weight_bytes = weights.matrix_bytes();
  const bool shared_head = impl->head.data.data == impl->embedding.data.data;
  if (!shared_head) impl->decode_weight_bytes -= static_cast<uint64_t>(impl->embedding.bytes());
  for (const auto& layer : impl->layers)
    impl->decode_weight_bytes -= static_cast<uint64_t>(layer->idle_bytes());
  if (impl->draft)
    impl->decode_weight_bytes -= static_cast<uint64_t>(impl->draft->layer().idle_bytes());
  TRY_VOID(impl->ropes.upload(device, impl->buffers));
  return std::unique_ptr<Model>(new Model(std::move(impl)));
}

const ModelConfig& Model::config() const { return impl_->config; }
const kvcache::KvLayout& Model::kv_layout() const { return impl_->kv; }
int64_t Model::step_tokens_max() const { return impl_->step_tokens_max; }
uint64_t Model::decode_weight_bytes() const { return impl_->decode_weight_bytes; }

bool Model::can_draft() const { return impl_->draft != nullptr; }
int64_t Model::hidden_width() const { return impl_->streams() * impl_->config.hidden; }

void Model::forward(const kernels::StepView& step, std::span<const kernels::KvView> kv,
                    const int32_t* rows, Mat logits, const States& states) {
  Impl& m = *impl_;
  kernels::Ops& ops = m.device.ops();
  const Workspace::Frame frame(m.scratch);
  const StepContext s = m.begin(step, kv);
  const Mat hidden = states.hidden;
  const Mat x = hidden.empty() ? m.scratch.mat(step.tokens, hidden_width()) : hidden;
  if (m.streams() == 1) {
    ops.embed(x, m.embedding, step.token_ids);
  } else {
    const Mat embedded = m.scratch.mat(step.tokens, m.config.hidden);
    ops.embed(embedded, m.embedding, step.token_ids);
    ops.repeat_cols(x, embedded);
  }
  for (const auto& layer : m.layers) layer->forward(s, x);

  // Hidden states are kept normalised, but for V4's streams.
  const bool all = !hidden.empty() && m.streams() == 1;
  if (all) m.final_norm->forward(s, x, x);
  if (states.last.rows > 0) {
    const Mat chosen = m.scratch.mat(states.last.rows, x.cols);
    ops.gather_rows(all ? states.last : chosen, x, states.rows);
    if (!all) m.final_norm->forward(s, chosen, states.last);
  }
  if (logits.rows == 0) return;
  const Mat last = m.scratch.mat(logits.rows, x.cols);
  ops.gather_rows(last, x, rows);
  if (all) return m.apply_head(logits, last);
  const Mat normed = m.scratch.mat(logits.rows, m.config.hidden);
  m.final_norm->forward(s, last, normed);
  m.apply_head(logits, normed);
}

void Model::draft(const kernels::StepView& step, std::span<const kernels::KvView> kv,
                  const DraftArgs& args) {
  Impl& m = *impl_;
  CHECK(m.draft != nullptr);
  kernels::Ops& ops = m.device.ops();
  const Workspace::Frame frame(m.scratch);
  const StepContext s = m.begin(step, kv);
  const Mat embedded = m.scratch.mat(step.tokens, m.config.hidden);
  ops.embed(embedded, m.embedding, step.token_ids);
  const Mat hidden = m.scratch.mat(step.tokens, hidden_width());
  ops.gather_rows(hidden, args.hidden, args.sources);
  const Mat x = m.scratch.mat(step.tokens, hidden_width());
  m.draft->forward(s, embedded, hidden, x);
  if (args.logits.rows == 0) return;
  ops.gather_rows(args.next, x, args.rows);
  const Mat normed = m.streams() == 1 ? args.next : m.scratch.mat(args.next.rows, m.config.hidden);
  m.draft->final_norm().forward(s, args.next, normed);
  m.apply_head(args.logits, normed);
}

Result<ModelSummary> summarize(const format::Checkpoint& checkpoint, kernels::Device& device) {
  ModelSummary out;
  TRY(out.config, read_model_config(checkpoint.config()));
  Model::Impl impl(device);
  impl.config = out.config;
  impl.step_tokens_max = LoadOptions{}.step_tokens_max;
  WeightLoader weights(checkpoint, device, out.config.weight_block_rows,
                       out.config.weight_block_cols);
  impl.load(weights, true);
  out.kv = impl.kv;
  out.problems = weights.problems();
  out.parameters = weights.parameters();
  uint64_t idle = 0;
  for (const auto& layer : impl.layers) idle += static_cast<uint64_t>(layer->idle_parameters());
  if (impl.draft) idle += static_cast<uint64_t>(impl.draft->layer().idle_parameters());
  out.active_parameters = out.parameters - std::min(idle, out.parameters);
  for (const format::CheckpointTensor& t : checkpoint.tensors()) {
    if (!weights.used().contains(t.name)) out.unused.push_back(t.name);
  }
  return out;
}

}  // namespace hadal::model
