#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "json/json.h"

namespace hadal::model {

/// How positions become angles, as a config states it.
struct RopeConfig {
  std::string type = "default";  ///< default, linear, llama3, yarn
  double theta = 10000;
  double factor = 1;
  double original_context = 0;  ///< original_max_position_embeddings
  // yarn
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 0;
  double mscale_all_dim = 0;
  double attention_factor = 0;  ///< 0: derived
  bool truncate = true;
  // llama3
  double low_freq_factor = 1;
  double high_freq_factor = 4;
};

/// Reads the old spelling (`rope_theta`, `rope_scaling`) or the new one (`rope_parameters`);
/// `section` picks a part of a nested `rope_parameters` ("main", "compress"; empty for flat ones).
/// Errors: unsupported for an unknown type, invalid_argument for wrong values.
Result<RopeConfig> read_rope_config(const json::Value& config, std::string_view section = {});

/// The angle per position of each rotated pair, [dims / 2].
/// Source: RoPE, arXiv 2104.09864; YaRN, arXiv 2309.00071; llama3 scaling as in Llama 3.1's
/// reference code.
std::vector<float> rope_inv_freq(const RopeConfig& rope, int64_t dims);
/// What YaRN multiplies cos and sin with (1 for other types).
double rope_attention_factor(const RopeConfig& rope);
/// What DeepSeek multiplies the softmax scale with: yarn_mscale(factor, mscale_all_dim)^2.
/// Source: DeepSeek-V2 and V3 reference code.
double rope_softmax_factor(const RopeConfig& rope);

}  // namespace hadal::model
