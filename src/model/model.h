#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "kernels/device.h"
#include "kvcache/kv_layout.h"
#include "model/config.h"

namespace hadal::model {

struct LoadOptions {
  int64_t step_tokens_max = 512;  ///< the most tokens of one step; longer prompts take several
  bool draft_layer = false;       ///< load it where there is one, for Model::draft
};

/// What a checkpoint holds, without running it.
struct ModelSummary {
  ModelConfig config;
  uint64_t parameters = 0;
  uint64_t active_parameters = 0;  ///< that one token uses
  kvcache::KvLayout kv;
  std::vector<std::string> problems;  ///< missing tensors, wrong shapes
  std::vector<std::string> unused;    ///< tensors that the forward pass does not read
};

/// What of a step is wanted besides logits.
/// Shapes: hidden [T, hidden_width()]; rows [k] device indices into the step's tokens; last [k, D].
struct States {
  kernels::Mat hidden;            ///< of all tokens, as Model::draft takes them; empty: not wanted
  const int32_t* rows = nullptr;  ///< chosen tokens
  kernels::Mat last;              ///< their states after the last norm
};

/// A DeepSeek model on a device: weights and the forward pass. It knows no requests, tokens' text
/// or sampling. Threading: the engine's thread.
class Model {
 public:
  /// The checkpoint must outlive the model: a device that reads host memory computes from the
  /// mapped file. Errors: unsupported architecture or dtype; corrupt with all missing or misshapen
  /// tensors.
  static Result<std::unique_ptr<Model>> load(const format::Checkpoint& checkpoint,
                                             kernels::Device& device,
                                             const LoadOptions& options = {});
  ~Model();

  const ModelConfig& config() const;
  /// What it caches, in the order of `kv` in forward.
  const kvcache::KvLayout& kv_layout() const;
  int64_t step_tokens_max() const;
  /// Bytes of weights that computing one token reads.
  uint64_t decode_weight_bytes() const;

  /// Runs one step: extends the caches by its tokens and writes the logits of the chosen ones, and
  /// the states that are wanted.
  /// Shapes: rows [n] device indices into the step's tokens; logits [n, V].
  void forward(const kernels::StepView& step, std::span<const kernels::KvView> kv,
               const int32_t* rows, kernels::Mat logits, const States& states = {});

  /// Whether draft may be called: a draft layer was wanted and found.
  bool can_draft() const;
  /// Elements of a token's hidden state.
  int64_t hidden_width() const;
  /// What draft computes with; all on the device.
  struct DraftArgs {
    kernels::Mat hidden;               ///< [n, hidden_width()], of tokens
    const int32_t* sources = nullptr;  ///< [T], whose state each token of the step comes after
    const int32_t* rows = nullptr;     ///< [k], the step's tokens whose guesses are wanted
    kernels::Mat logits;               ///< out [k, V]
    kernels::Mat next;                 ///< out [k, hidden_width()]: states to guess on from
  };
  /// Guesses ahead with the draft layer, which extends its own caches. Token t of the step is the
  /// one after the token of its hidden state, and stands at that token's position; its logits are
  /// those of the token after it.
  void draft(const kernels::StepView& step, std::span<const kernels::KvView> kv,
             const DraftArgs& args);

 private:
  friend Result<ModelSummary> summarize(const format::Checkpoint& checkpoint,
                                        kernels::Device& device);
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Reads a checkpoint's shape and checks every tensor it needs. Errors: an unknown architecture or
/// a senseless config; missing tensors are listed, not errors.
Result<ModelSummary> summarize(const format::Checkpoint& checkpoint, kernels::Device& device);

}  // namespace hadal::model
