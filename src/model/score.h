#pragma once

#include <cstdint>
#include <span>

#include "base/function_ref.h"
#include "base/result.h"
#include "model/model.h"

namespace hadal::model {

struct ScoreOptions {
  int64_t chunk = 0;            ///< tokens per step; 0: as many as the model takes
  DType kv_dtype = DType::f32;  ///< of the cache
};

/// Runs `ids` as one sequence and hands out the logits of every position, in order: `sink(first,
/// logits)` gets the rows from position `first` on, [n, V]. Errors: invalid_argument for ids
/// outside the vocabulary or too many of them; resource_exhausted; what `sink` returns.
Status score_tokens(Model& model, kernels::Device& device, std::span<const int32_t> ids,
                    const ScoreOptions& options,
                    FunctionRef<Status(int64_t first, std::span<const float> logits)> sink);

}  // namespace hadal::model
