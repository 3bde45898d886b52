#include "model/importance.h"

#include <unordered_map>

#include "format/gguf_names.h"
#include "kernels/observed_device.h"
#include "model/model.h"
#include "model/score.h"

namespace hadal::model {
namespace {

/// Adds up what the linear layers of one checkpoint meet, under the weights' GGUF names.
class Collector final : public kernels::LinearObserver {
 public:
  Collector(const format::Checkpoint& checkpoint, std::string_view arch, int64_t experts)
      : experts_(experts) {
    for (const format::CheckpointTensor& t : checkpoint.tensors())
      names_.emplace(t.view.data, format::gguf_name_of_hf(arch, t.name));
  }

  void observe(const WeightView& weight, int64_t block, int64_t blocks,
               std::span<const float> input) override {
    const auto it = names_.find(weight.data.data);
    if (it == names_.end()) return;
    const format::GgufName& name = it->second;
    if (name.expert) {
      block = *name.expert;
      blocks = experts_;
    }
    matrix.entry(name.name, blocks, weight.k()).add(block, input);
  }

  format::ImportanceMatrix matrix;

 private:
  int64_t experts_;
  std::unordered_map<const std::byte*, format::GgufName> names_;
};

int64_t count_unseen(const format::ImportanceMatrix& matrix) {
  int64_t unseen = 0;
  for (const auto& [name, entry] : matrix.entries()) {
    if (!name.ends_with("ffn_down_exps.weight")) continue;
    for (const float count : entry.counts) unseen += count > 0 ? 0 : 1;
  }
  return unseen;
}

}  // namespace

Result<Importance> measure_importance(const format::Checkpoint& checkpoint, kernels::Device& device,
                                      std::span<const std::vector<int32_t>> pieces,
                                      const std::function<bool(int64_t)>& go_on) {
  TRY(const std::string type, checkpoint.config().string_or("model_type", ""));
  TRY(const int64_t experts, checkpoint.config().int_or("n_routed_experts", 1));
  Collector collector(checkpoint, format::gguf_arch_of_model_type(type), experts);
  const auto observed = kernels::observe_linears(device, collector);
  TRY(const auto model, Model::load(checkpoint, *observed));
  int64_t done = 0;
  for (const std::vector<int32_t>& piece : pieces) {
    const int64_t width = model->config().vocab;
    TRY_VOID(score_tokens(*model, *observed, piece, {},
                          [&](int64_t, std::span<const float> logits) -> Status {
                            done += static_cast<int64_t>(logits.size()) / width;
                            if (go_on(done)) return {};
                            return make_error(ErrorCode::cancelled, "stopped; nothing was written");
                          }));
  }
  const int64_t unseen = count_unseen(collector.matrix);
  return Importance{std::move(collector.matrix), unseen};
}

}  // namespace hadal::model
