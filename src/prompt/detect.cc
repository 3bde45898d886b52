#include <cctype>
#include <string>

#include "prompt/prompt_format.h"

namespace hadal::prompt {
namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// The template that a checkpoint ships says most: each generation writes something of its own.
std::string_view from_template(const ModelFacts& facts) {
  const std::string_view t = facts.chat_template;
  if (has(t, "DSML")) {
    if (has(t, "<｜System｜>") || has(t, " calls>")) return "deepseek-v4.1";
    return has(t, "function_calls") ? "deepseek-v3.2" : "deepseek-v4";
  }
  const bool v2 = has(facts.architecture, "DeepseekV2") || facts.model_type == "deepseek_v2";
  if (has(t, "<｜User｜>") && has(t, "<｜Assistant｜>")) {
    if (has(t, "thinking is defined")) return "deepseek-v3.1";
    if (has(t, "</think>") || has(t, "<think>")) return "deepseek-r1";
    return v2 ? "deepseek-v2.5" : "deepseek-v3";
  }
  if (has(t, "### Instruction:") && has(t, "<|EOT|>")) return "deepseek-coder";
  if (has(t, "'User: '") && has(t, "'Assistant:")) return v2 ? "deepseek-v2" : "deepseek-llm";
  return {};
}

// V3 and later have one format a model_type, but for what only the name tells apart.
std::string_view from_architecture(const ModelFacts& facts, const std::string& name) {
  const auto is = [&](std::string_view architecture, std::string_view model_type) {
    return facts.architecture == architecture || facts.model_type == model_type;
  };
  const auto has_token = [&](std::string_view token) {
    return facts.has_token && facts.has_token(token);
  };
  if (is("DeepseekV41ForCausalLM", "deepseek_v41")) return "deepseek-v4.1";
  if (is("DeepseekV4ForCausalLM", "deepseek_v4")) {
    return has(name, "preview") || has(name, "0424") ? "deepseek-v4-preview" : "deepseek-v4";
  }
  if (is("DeepseekV32ForCausalLM", "deepseek_v32")) return "deepseek-v3.2";
  const bool family_tokens = has_token("<｜User｜>") && has_token("<｜Assistant｜>");
  if (is("DeepseekV3ForCausalLM", "deepseek_v3")) {
    if (has(name, "v3.1")) return "deepseek-v3.1";
    if (has(name, "r1")) return "deepseek-r1";
    return family_tokens ? "deepseek-v3" : "";
  }
  const bool chat = has(name, "chat") || has(name, "instruct");
  if (is("DeepseekV2ForCausalLM", "deepseek_v2")) {
    if (family_tokens) return "deepseek-v2.5";
    return chat ? "deepseek-v2" : "";
  }
  // Among Llama and Qwen models only R1's distillates have these tokens.
  if (family_tokens) return "deepseek-r1";
  if (!has(name, "deepseek")) return {};
  if (chat && has(name, "coder")) return "deepseek-coder";
  return chat && has_token("<｜begin▁of▁sentence｜>") ? "deepseek-llm" : "";
}

}  // namespace

std::string_view detect_format(const ModelFacts& facts) {
  if (!facts.chat_template.empty()) {
    const std::string_view name = from_template(facts);
    if (!name.empty()) return name;
  }
  const std::string name = lower(facts.name);
  // Base models share their vocabulary with the chat models made of them.
  const size_t base = name.rfind("-base");
  if (base != std::string::npos &&
      (base + 5 == name.size() || !std::isalnum(static_cast<unsigned char>(name[base + 5])))) {
    return {};
  }
  return from_architecture(facts, name);
}

}  // namespace hadal::prompt
