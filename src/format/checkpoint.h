#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "json/json.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// Where a checkpoint's bytes come from.
enum class CheckpointKind { safetensors, gguf };

/// One tensor of a checkpoint, under its Hugging Face name.
struct CheckpointTensor {
  std::string name;
  ConstTensorView
      view;  ///< shape as Hugging Face stores it: outermost first, [N, K] for a linear layer
  bool mapped = false;  ///< in a mapped file; otherwise in memory of the checkpoint's
};

/// What a tokenizer is built from: the text of tokenizer.json, or GGUF's lists.
struct TokenizerSource {
  std::string tokenizer_json;         ///< empty for GGUF
  std::string tokenizer_config_json;  ///< empty when absent
  std::string chat_template;          ///< Jinja text; empty when absent
  // GGUF only:
  std::string gguf_model;  ///< tokenizer.ggml.model: "gpt2"
  std::string gguf_pre;    ///< tokenizer.ggml.pre: "deepseek-v3", "qwen2", "llama-bpe", ...
  std::vector<std::string> tokens;   ///< by id, in byte-level spelling
  std::vector<int32_t> token_types;  ///< 1 normal, 3 control, 4 user-defined, ...
  std::vector<std::string> merges;   ///< "left right"
  std::optional<int64_t> bos_id;
  std::optional<int64_t> eos_id;
  std::optional<bool> add_bos;
};

/// An opened, validated, memory-mapped checkpoint. A directory with config.json and safetensors
/// (one file or shards with an index), one .safetensors file with config.json beside it, one .gguf
/// file, or any part of a split GGUF. GGUF is presented in Hugging Face terms: config() is
/// translated from its metadata, tensors carry Hugging Face names, stacked experts appear as one
/// tensor per expert.
///
/// Differences that translation cannot hide are config keys of ours, which model/ reads:
///  - "hadal_rope_interleaved": true  q and k rows are permuted for rotation of neighbours (GGUF
///  llama);
///  - tensors "...self_attn.k_b_proj.weight" [H, C, nope] and "...self_attn.v_b_proj.weight" [H, v,
///  C] instead of
///    kv_b_proj (GGUF deepseek2 with MLA).
///
/// Threading: immutable after open; any thread.
/// Errors: not_found, corrupt (with file and offset), unsupported.
class Checkpoint {
 public:
  static Result<std::unique_ptr<const Checkpoint>> open(const std::filesystem::path& path);
  /// A GGUF image that is already in memory (the embedded demo model); `image` must outlive the
  /// checkpoint.
  static Result<std::unique_ptr<const Checkpoint>> open_image(std::span<const std::byte> image,
                                                              std::string_view name);
  virtual ~Checkpoint() = default;

  virtual CheckpointKind kind() const = 0;
  /// The path or the image's name, for messages.
  virtual const std::string& name() const = 0;
  /// config.json, or what GGUF metadata says in its terms.
  virtual const json::Value& config() const = 0;
  /// generation_config.json, or null.
  virtual const json::Value& generation_config() const = 0;
  virtual Result<TokenizerSource> tokenizer_source() const = 0;
  /// All tensors, sorted by name.
  virtual std::span<const CheckpointTensor> tensors() const = 0;
  /// The tensor `name`, or nullptr.
  virtual const CheckpointTensor* find(std::string_view name) const = 0;
  /// The files it consists of.
  virtual std::vector<std::filesystem::path> files() const = 0;
  /// Bytes of all files.
  virtual uint64_t bytes() const = 0;
};

}  // namespace hadal::format
