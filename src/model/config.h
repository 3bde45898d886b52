#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "json/json.h"
#include "kernels/ops.h"
#include "model/rope.h"

namespace hadal::model {

/// How a generation attends; each is one file, attention_<family>.cc.
enum class AttentionFamily {
  gqa,         ///< LLM, Coder, MoE-16B and the distilled Llama and Qwen: grouped queries
  mla,         ///< V2 to V3.2: a cached latent; V3.2 adds an indexer
  compressed,  ///< V4: a window, pooled rows, a sink
};

struct MlaConfig {
  int64_t q_lora = 0;  ///< 0: queries come from x directly
  int64_t kv_lora = 0;
  int64_t nope = 0;
  int64_t rope = 0;
  int64_t v_dim = 0;
};

/// The indexer that picks rows for sparse attention (V3.2, V4).
struct IndexerConfig {
  int64_t heads = 0;  ///< 0: none
  int64_t dim = 0;
  int64_t top_k = 0;
};

struct CompressedConfig {
  int64_t q_lora = 0;
  int64_t rope = 0;
  int64_t o_groups = 0;
  int64_t o_lora = 0;
  int64_t window = 0;
  std::vector<int64_t> ratios;  ///< per layer, tokens per pooled row; 0: none
  std::vector<bool> overlap;    ///< per layer, the CSA form with an indexer
  RopeConfig rope_config;       ///< of layers with pooled rows
};

struct MoeConfig {
  int64_t experts = 0;  ///< 0: every layer is dense
  int64_t per_token = 0;
  int64_t shared = 0;
  int64_t intermediate = 0;
  int64_t first_dense = 0;  ///< layers before this one are dense
  int64_t layer_freq = 1;
  kernels::GateScore score = kernels::GateScore::softmax;
  int groups = 1;
  int groups_kept = 1;
  int group_score_top = 1;
  bool normalize = false;
  float scale = 1;
  int64_t hash_layers = 0;  ///< the first layers that route by token id
};

/// Hyper-connections between layers (V4).
struct HyperConfig {
  int64_t streams = 0;  ///< 0: a plain residual
  int sinkhorn_iterations = 0;
  float eps = 0;
};

/// A model's shape, read and checked once; the only place that knows architecture names.
struct ModelConfig {
  std::string architecture;
  AttentionFamily attention = AttentionFamily::gqa;
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate = 0;  ///< of dense layers
  int64_t context_max = 0;
  float norm_eps = 0;
  bool tied_embeddings = false;
  bool rope_interleaved = false;
  float swiglu_limit = 0;  ///< 0: none
  RopeConfig rope;
  MlaConfig mla;
  IndexerConfig indexer;
  CompressedConfig compressed;
  MoeConfig moe;
  HyperConfig hyper;
  int64_t draft_layers = 0;  ///< multi-token prediction: layers after the last that guess ahead
  int64_t weight_block_rows = 128;  ///< of FP8 block scales
  int64_t weight_block_cols = 128;
  std::vector<int32_t> eos_ids;
  int32_t bos_id = -1;

  /// How tensors of a layer begin, without "model.": "layers.3"; V4's draft layers are "mtp.0".
  std::string layer_name(int64_t layer) const {
    const bool apart = attention == AttentionFamily::compressed && layer >= layers;
    return apart ? "mtp." + std::to_string(layer - layers) : "layers." + std::to_string(layer);
  }
  bool is_moe_layer(int64_t layer) const {
    return moe.experts > 0 && layer >= moe.first_dense && layer % moe.layer_freq == 0;
  }
};

/// The config of a checkpoint. Every extent is positive and below a sane limit afterwards.
/// Errors: unsupported architecture, missing or senseless values, with the key.
Result<ModelConfig> read_model_config(const json::Value& config);

}  // namespace hadal::model
