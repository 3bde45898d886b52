#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"

namespace hadal::format {

/// Told how far a long work is; false stops it, with Error cancelled.
using Progress = std::function<bool(uint64_t done, uint64_t total)>;

struct ConvertOptions {
  CheckpointKind to = CheckpointKind::gguf;
  DType dtype = DType::q8_0;  ///< of matrices
  int threads = 0;            ///< 0: all
  Progress progress;          ///< may be empty
};

struct ConvertReport {
  uint64_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<std::string> notes;  ///< what was not as asked, one line each
};

/// Writes `checkpoint` as one .gguf file `out`, or as a Hugging Face directory `out` (or as the
/// .safetensors file `out`, with the small files beside it).
///
/// Matrices become `dtype`. Left at f32: vectors, router and hyper-connection matrices, compressor
/// positions. Embedding and head are q6_k when `dtype` has fewer bits. A row that is not whole
/// blocks falls back to q8_0, then f16. FP8 and FP4 weights are multiplied with their scales.
/// What has the right type already is copied bit by bit. The result does not depend on threads.
/// Tokenizer, chat template and configuration go along.
/// Errors: cancelled; unsupported (safetensors has no block types); conflict (the directory holds
/// another checkpoint); what writing can give. Nothing
/// is left behind on an error.
Result<ConvertReport> convert(const Checkpoint& checkpoint, const std::filesystem::path& out,
                              const ConvertOptions& options);

/// The type a tensor is stored as when most are `dtype`.
DType storage_dtype(std::string_view hf_name, const Shape& shape, DType dtype);

}  // namespace hadal::format
