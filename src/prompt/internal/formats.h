#pragma once

#include "prompt/prompt_format.h"

namespace hadal::prompt {

// The formats, one function each; the objects live as long as the program.

const PromptFormat& deepseek_coder();  // coder.cc
const PromptFormat& deepseek_llm();    // llm_v2.cc
const PromptFormat& deepseek_v2();
const PromptFormat& deepseek_v25();  // v3.cc
const PromptFormat& deepseek_v3();
const PromptFormat& deepseek_r1();
const PromptFormat& deepseek_v31();         // v31.cc
const PromptFormat& deepseek_v32();         // v32.cc
const PromptFormat& deepseek_v4_preview();  // v4.cc
const PromptFormat& deepseek_v4();
const PromptFormat& deepseek_v41();

/// bos, prefix, the hole, suffix: the order that all generations with these tokens share.
/// Source: README of DeepSeek-Coder and of DeepSeek-Coder-V2.
Rendered fim_prompt(std::string_view prefix, std::string_view suffix);

}  // namespace hadal::prompt
