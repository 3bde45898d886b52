#pragma once

#include "base/result.h"
#include "format/gguf.h"
#include "json/json.h"

namespace hadal::format {

/// config.json as GGUF metadata tells it: hyper-parameters by their Hugging Face names.
///
/// A file of ours carries the original text as "hadal.config_json"; it is used when it agrees with
/// the metadata. Every number is held to a range in which the engine's arithmetic is safe.
/// Errors: unsupported for other architectures; corrupt for missing keys and impossible values.
/// Source: llama.cpp's gguf-py keys; Hugging Face configuration files.
Result<json::Value> hf_config_of_gguf(const Gguf& gguf);

/// rope.scaling.yarn_log_multiplier / mscale_all_dim. Source: llama.cpp's deepseek2 conversion.
inline constexpr double kYarnLogMultiplier = 0.1;

}  // namespace hadal::format
