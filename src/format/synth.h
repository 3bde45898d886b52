#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/convert.h"

namespace hadal::format {

struct SynthOptions {
  std::string shape;  ///< a name of synth_shapes()
  CheckpointKind to = CheckpointKind::gguf;
  /// Of matrices: f32, f16, bf16; for GGUF also its block types; for safetensors also f8_e4m3,
  /// which stores them as the official checkpoints do (V4's experts as FP4), and i8 with a scale
  /// per row.
  DType dtype = DType::q8_0;
  int64_t layers = 0;   ///< 0: all of them
  int64_t vocab = 0;    ///< 0: as the shape has it
  int64_t experts = 0;  ///< 0: as the shape has it
  /// Multi-token prediction layers. Errors: invalid_argument for shapes before V3.
  int64_t draft_layers = 0;
  uint64_t seed = 1;
  int threads = 0;
  Progress progress;
};

/// The names of shapes that can be made: "deepseek-r1-distill-qwen-1.5b", "deepseek-v3", ...
std::vector<std::string_view> synth_shapes();
/// The configuration of a shape with the options applied. Errors: not_found with the known names.
Result<json::Value> synth_config(const SynthOptions& options);

/// Writes a checkpoint of a real model's shape with random weights, for measuring speed and memory
/// where the real weights are not at hand. Activations stay near magnitude 1 through all layers.
/// The tokenizer has the 256 bytes, the special tokens, and words made up for the rest.
/// The same options give the same bytes on every machine.
/// Errors: as convert().
Result<ConvertReport> synthesize(const SynthOptions& options, const std::filesystem::path& out);

}  // namespace hadal::format
