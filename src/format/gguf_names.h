#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hadal::format {

/// A Hugging Face tensor name as GGUF stores it: its name there, and which of the stacked experts
/// it is.
struct GgufName {
  std::string name;
  std::optional<int64_t> expert;  ///< the tensor is row block `expert` of the 3-D tensor `name`
};

/// Whether GGUF's `arch` is one we translate.
bool gguf_arch_known(std::string_view arch);
/// The GGUF architecture of a Hugging Face model_type, or "" when there is none.
std::string_view gguf_arch_of_model_type(std::string_view model_type);

/// The Hugging Face name of GGUF tensor `name`; "{e}" stands for the expert in the name of a stack.
/// Names without a translation come back as they are ("rope_freqs.weight").
/// Source: llama.cpp's gguf-py tensor names for llama, qwen2, qwen3, deepseek, deepseek2,
/// deepseek32, deepseek4; Hugging Face's model files.
std::string hf_name_of_gguf(std::string_view arch, std::string_view name);

/// The GGUF name of Hugging Face tensor `name`, the inverse of the above. DeepSeek V4's names are
/// accepted with and without "model." in front.
GgufName gguf_name_of_hf(std::string_view arch, std::string_view name);

}  // namespace hadal::format
