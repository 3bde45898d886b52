#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/constraint.h"
#include "engine/speculation.h"
#include "format/checkpoint.h"
#include "format/mapped_file.h"
#include "kernels/device.h"
#include "kvcache/kv_cache.h"
#include "kvcache/prefix_cache.h"
#include "model/model.h"
#include "prompt/prompt_format.h"
#include "tensor/dtype.h"
#include "tokenizer/tokenizer.h"

namespace hadal::engine {

/// How a model is set up for serving.
struct LoadOptions {
  std::string model_id;            ///< the name clients use; empty: from the checkpoint's path
  std::string prompt_format;       ///< empty: detected from the checkpoint
  int64_t context_tokens_max = 0;  ///< 0: the model's
  uint64_t kv_cache_bytes_max =
      0;  ///< 0: full contexts for all sequences, at most a quarter of the machine's memory
  DType kv_dtype = DType::f16;    ///< f16, bf16, f32, q8_0 (int8) or f8_e4m3 (fp8)
  int64_t step_tokens_max = 512;  ///< tokens of one step
  int64_t sequences_max = 1;      ///< answers at a time
  bool prefix_cache = true;
  bool packed_cache = false;  ///< keep the packed weights in a file: see model/packed_cache.h
  std::filesystem::path packed_cache_directory;  ///< where the model's own cannot be written
  SpeculationOptions speculation;
};

/// Everything that answering with one checkpoint needs, opened and checked together.
/// Threading: immutable parts (config, tokenizer, format) from any thread; kv, prefixes and model
/// on the engine's thread.
struct LoadedModel {
  std::unique_ptr<const format::Checkpoint> checkpoint;
  format::MappedFile packed_weights;  ///< that the device reads, if they are kept
  std::unique_ptr<kernels::Device> device;
  std::unique_ptr<model::Model> model;
  std::unique_ptr<const tokenizer::Tokenizer> tokenizer;
  const prompt::PromptFormat* prompt_format = nullptr;  ///< null: the checkpoint is no chat model
  std::unique_ptr<Constraints> constraints;  ///< what requests ask of the form of answers
  std::optional<kvcache::KvCache> kv;
  std::unique_ptr<kvcache::PrefixCache> prefixes;  ///< null when the model's cache cannot be shared
  std::vector<int32_t> end_ids;                    ///< tokens that end an answer
  size_t token_bytes_max = 0;                      ///< of the vocabulary's longest token
  std::string id;
  int64_t context_tokens_max = 0;
  int64_t sequences_max = 1;  ///< answers at a time
  SpeculationOptions speculation;

  /// Errors: those of the parts; invalid_argument for an unknown prompt format or too small a
  /// cache.
  static Result<std::unique_ptr<LoadedModel>> load(
      std::unique_ptr<const format::Checkpoint> checkpoint, std::unique_ptr<kernels::Device> device,
      const LoadOptions& options);
};

}  // namespace hadal::engine
