#pragma once

#include <string>

#include "apps/command.h"
#include "format/checkpoint.h"

namespace hadal::apps {

/// Where and as what a command writes a checkpoint.
struct CheckpointOut {
  std::string path;
  format::CheckpointKind kind = format::CheckpointKind::gguf;
  DType dtype = DType::q8_0;  ///< of matrices
};

/// Reads --to, --out and --dtype. Errors: invalid_argument.
Result<CheckpointOut> checkpoint_out(const config::Flags& flags);

}  // namespace hadal::apps

// The settings of every command that writes a checkpoint; it adds its own --dtype.
#define HADAL_CHECKPOINT_OUT_FLAGS \
  {.name = "out", \
   .unit = "PATH", \
   .help = "a .gguf file, or for safetensors a directory or a .safetensors file"}, \
  { \
    .name = "to", .fallback = "auto", .help = "file format; auto: gguf where PATH ends in .gguf", \
    .choices = "auto|gguf|safetensors" \
  }
