#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "format/gguf_writer.h"

namespace hadal::format {

/// The model part of GGUF metadata for a Hugging Face configuration: llama.cpp's keys, from which
/// gguf_config.h reads the same model, and the configuration itself as "hadal.config_json".
/// `latent_split`: the checkpoint has k_b and v_b instead of kv_b. `file_dtype` is what most
/// weights are stored as.
/// Errors: unsupported for a model_type GGUF has no architecture for; invalid_argument for a
/// configuration without the keys its architecture needs.
struct MetadataOptions {
  std::string name;  ///< general.name
  DType file_dtype = DType::bf16;
  bool medium = false;  ///< with more bits for some, as in Q4_K_M
  bool latent_split = false;
};
Status put_model_metadata(GgufWriter& writer, const json::Value& config,
                          const MetadataOptions& options);

/// The tokenizer part, from tokenizer.json or from a GGUF file's lists; ids without a token up to
/// `vocab` become unused ones.
/// Errors: unsupported when it is not a byte-level BPE; corrupt when its parts do not fit.
Status put_tokenizer_metadata(GgufWriter& writer, const TokenizerSource& source,
                              const json::Value& config, int64_t vocab);

/// tokenizer.json for a GGUF file's lists, or "" when its pre-tokenizer is not one we can spell
/// out. Source: Hugging Face tokenizers' file format; the models' published pre-tokenizers.
Result<std::string> tokenizer_json_of(const TokenizerSource& source);
/// tokenizer_config.json for them: bos, eos, add_bos_token, chat_template.
std::string tokenizer_config_json_of(const TokenizerSource& source);

/// The configuration without what conversion makes untrue: our own keys, FP8 quantisation.
json::Value plain_config(const json::Value& config);

/// The rope scaling of a configuration, under either of its names; null when there is none.
const json::Value* rope_scaling_of(const json::Value& config);

/// The factors that llama.cpp's "rope_freqs.weight" holds for llama3 scaling; empty for other
/// scalings. Source: Llama 3.1's apply_scaling.
Result<std::vector<float>> llama3_rope_factors(const json::Value& config);

}  // namespace hadal::format
