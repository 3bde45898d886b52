#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"

namespace hadal::format {

/// What a model needs, computed from its checkpoint alone.
struct ModelSize {
  uint64_t parameters = 0;         ///< all of them
  uint64_t parameters_active = 0;  ///< those a token meets: not the experts it is not routed to
  uint64_t weight_bytes = 0;       ///< of all tensors, scales included
  /// Of the KV cache with 2-byte elements: per token, and once per sequence (V4's windows).
  uint64_t kv_bytes_per_token = 0;
  uint64_t kv_bytes_per_sequence = 0;
};
/// Errors: invalid_argument for a configuration without the keys its architecture needs.
Result<ModelSize> model_size(const Checkpoint& checkpoint);

/// The KV part alone, of a configuration. Source: engine's caches; one latent of kv_lora + rope for
/// MLA, one key per indexer, pooled rows for V4.
Status kv_size(const json::Value& config, ModelSize& out);

/// The names of tensors with numbers that are not finite, at most 100. Reads every byte.
std::vector<std::string> tensors_not_finite(const Checkpoint& checkpoint, int threads);

}  // namespace hadal::format
