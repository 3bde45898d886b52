#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "json/json.h"

namespace hadal::format {

/// A tensor that a model of some configuration consists of.
struct TensorSpec {
  std::string name;  ///< as Hugging Face names it; V4 as the official files do
  Shape shape;
  bool integer = false;   ///< token-id tables
  std::string only_with;  ///< needed only where this tensor is; empty: always
};

/// Every tensor of the model that `config` describes, without scales. Draft layers (multi-token
/// prediction) are needed only where a checkpoint has them: many leave them out. Errors:
/// unsupported model_type; invalid_argument for a configuration without the keys its architecture
/// needs or with more than 2^18 tensors. Source: the models' modeling files and README_WEIGHTS.md.
Result<std::vector<TensorSpec>> expected_tensors(const json::Value& config);

/// What is wrong with a checkpoint's tensors against its configuration: one line each, at most 100.
/// Knows the names that variants use (k_b and v_b for kv_b, a tied head, "model." in front of
/// V4's).
Result<std::vector<std::string>> tensor_problems(const Checkpoint& checkpoint);

}  // namespace hadal::format
