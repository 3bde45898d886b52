#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "kvcache/kv_cache.h"
#include "model/model.h"
#include "model/step_batch.h"

namespace hadal::model {

struct ScoreOptions {
  int64_t chunk = 0;            ///< tokens per step; 0: as many as the model takes
  DType kv_dtype = DType::f32;  ///< of the cache
};

/// The logits of every position of one sequence after another.
/// Threading: the model's. `model` and `device` must outlive it.
class Scorer {
 public:
  /// For sequences of up to `tokens_max`. Errors: resource_exhausted.
  static Result<Scorer> create(Model& model, kernels::Device& device, int64_t tokens_max,
                               const ScoreOptions& options);

  /// Begins a sequence; `ids` must outlive it. Errors: invalid_argument for ids outside the
  /// vocabulary or none; too_large for more than the context or tokens_max.
  Status begin(std::span<const int32_t> ids);
  /// The logits of the positions from position() on, [n, V], good until the next call; empty at
  /// the end. Two models with one vocabulary give as many at a time.
  Result<std::span<const float>> next();
  /// The first position that next() will give.
  int64_t position() const { return position_; }

 private:
  Scorer(Model& model, kernels::Device& device, kvcache::KvCache kv)
      : model_(&model), device_(&device), kv_(std::move(kv)) {}

  Model* model_;
  kernels::Device* device_;
  kvcache::KvCache kv_;
  Buffer buffer_;
  std::vector<float> host_;
  std::vector<int32_t> pages_;
  StepBatch batch_;
  std::span<const int32_t> ids_;
  int64_t tokens_max_ = 0;
  int64_t chunk_ = 0;
  int64_t position_ = 0;
};

/// Runs `ids` as one sequence and hands out the logits of every position, in order: `sink(first,
/// logits)` gets the rows from position `first` on, [n, V]. Errors: invalid_argument for ids
/// outside the vocabulary or too many of them; resource_exhausted; what `sink` returns.
Status score_tokens(Model& model, kernels::Device& device, std::span<const int32_t> ids,
                    const ScoreOptions& options,
                    FunctionRef<Status(int64_t first, std::span<const float> logits)> sink);

/// How far the predictions of a model are from those of another, over the tokens of a text.
struct Divergence {
  int64_t tokens = 0;     ///< predictions compared
  double kl_mean = 0;     ///< Kullback-Leibler divergence to the source, nats a token
  double kl_error = 0;    ///< the standard error of that mean
  double kl_99 = 0;       ///< what 99 % of the tokens stay below
  double same_top = 0;    ///< share of the tokens where both find the same one most likely
  double perplexity = 0;  ///< of the text, for the model
  double perplexity_of_source = 0;
};

/// A loaded model and where it computes.
struct PlacedModel {
  Model& model;
  kernels::Device& device;
  DType kv_dtype = DType::f32;  ///< of its cache
};

/// Compares `other` to `source` over pieces of text of up to `tokens_max` tokens, each from its
/// beginning. `go_on(tokens)` is told how many are done and may stop the work.
/// Errors: invalid_argument for models of two vocabularies; as Scorer; cancelled.
Result<Divergence> compare_models(PlacedModel source, PlacedModel other,
                                  std::span<const std::vector<int32_t>> pieces,
                                  FunctionRef<bool(int64_t tokens)> go_on);

}  // namespace hadal::model
