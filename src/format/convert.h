#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "format/importance.h"
#include "format/type_mix.h"

namespace hadal::format {

/// Told how far a long work is; false stops it, with Error cancelled.
using Progress = std::function<bool(uint64_t done, uint64_t total)>;

struct ConvertOptions {
  CheckpointKind to = CheckpointKind::gguf;
  DType dtype = DType::q8_0;                     ///< of matrices
  const TypeMix* mix = nullptr;                  ///< chooses types instead of `dtype`
  const ImportanceMatrix* importance = nullptr;  ///< lowers the errors that count, where known
  bool requantize = true;  ///< whether a quantized matrix may become another quantized type
  int threads = 0;         ///< 0: all
  Progress progress;       ///< may be empty
};

/// The tensors of one type in a file.
struct TypeShare {
  uint64_t tensors = 0;
  uint64_t numbers = 0;
  uint64_t bytes = 0;
};

struct ConvertReport {
  uint64_t tensors = 0;
  uint64_t bytes = 0;  ///< of the file
  std::map<DType, TypeShare> types;
  std::vector<std::string> notes;  ///< what was not as asked, one line each
};

/// Writes `checkpoint` as one .gguf file `out`, or as a Hugging Face directory `out` (or as the
/// .safetensors file `out`, with the small files beside it).
///
/// Matrices become `dtype`, with the exceptions of storage_dtype, or what `mix` chooses. FP8 and
/// FP4 weights are multiplied with their scales. What has the right type already is copied bit by
/// bit. The result does not depend on threads. Tokenizer, chat template and configuration go along.
/// Errors: cancelled; unsupported (safetensors has no block types); conflict (the directory holds
/// another checkpoint); invalid_argument (an override that matches nothing, an importance matrix of
/// another model, a quantized source where `requantize` is off); what writing can give. Nothing is
/// left behind on an error.
Result<ConvertReport> convert(const Checkpoint& checkpoint, const std::filesystem::path& out,
                              const ConvertOptions& options);

}  // namespace hadal::format
