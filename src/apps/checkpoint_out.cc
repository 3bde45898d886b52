#include "apps/checkpoint_out.h"

namespace hadal::apps {

Result<CheckpointOut> checkpoint_out(const config::Flags& flags) {
  CheckpointOut out;
  out.path = flags.text("out");
  if (out.path.empty()) return invalid_argument("--out PATH is missing").about("out");
  const std::string& to = flags.text("to");
  const bool gguf = to == "gguf" || (to == "auto" && out.path.ends_with(".gguf"));
  if (gguf && out.path.ends_with(".safetensors")) {
    return invalid_argument("--to gguf, but " + out.path + " is a .safetensors file").about("out");
  }
  if (!gguf && out.path.ends_with(".gguf")) {
    return invalid_argument("--to safetensors, but " + out.path + " is a .gguf file").about("out");
  }
  if (!gguf) out.kind = format::CheckpointKind::safetensors;
  out.dtype = gguf || flags.given("dtype") ? *dtype_from_name(flags.text("dtype")) : DType::bf16;
  return out;
}

}  // namespace hadal::apps
