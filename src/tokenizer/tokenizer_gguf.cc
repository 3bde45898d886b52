#include <string_view>

#include "base/utf8.h"
#include "tokenizer/internal/spec.h"

namespace hadal::tokenizer {
namespace {

// Source: enum llama_token_type of the GGUF specification.
enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5 };

Status read_tokens(const format::TokenizerSource& source, Spec& out) {
  if (source.token_types.size() > source.tokens.size()) {
    return corrupt("there are " + std::to_string(source.token_types.size()) + " token types for " +
                   std::to_string(source.tokens.size()) + " tokens");
  }
  for (size_t i = 0; i < source.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(std::min<size_t>(i, INT32_MAX));
    const std::string& text = source.tokens[i];
    const int32_t type = i < source.token_types.size() ? source.token_types[i] : kNormal;
    if (type == kNormal) {
      const auto bytes = unspell(text);
      TRY_VOID(out.tokens.add(id, bytes ? *bytes : text, bytes.has_value()));
      continue;
    }
    TRY_VOID(out.tokens.add(id, text, false));
    if (type == kControl || type == kUserDefined) {
      AddedToken token;
      token.id = id;
      token.text = text;
      token.special = type == kControl;
      out.added.push_back(std::move(token));
    }
  }
  out.tokens.finish();
  return {};
}

Result<std::optional<int32_t>> read_id(const std::optional<int64_t>& id, std::string_view name,
                                       const TokenTable& tokens) {
  if (!id) return std::optional<int32_t>();
  if (*id < 0 || *id > kTokenIdMax || !tokens.has(static_cast<int32_t>(*id))) {
    return corrupt("tokenizer.ggml." + std::string(name) + " is " + std::to_string(*id) +
                   ", but there are " + std::to_string(tokens.size()) + " tokens");
  }
  return std::optional<int32_t>(static_cast<int32_t>(*id));
}

}  // namespace

Result<Spec> read_tokenizer_gguf(const format::TokenizerSource& source) {
  if (source.gguf_model != "gpt2") {
    return unsupported("tokenizer.ggml.model is \"" +
                       to_valid_utf8(source.gguf_model.substr(0, 100)) +
                       "\"; byte-level BPE (\"gpt2\") is what DeepSeek models use");
  }
  Spec out;
  TRY(out.rules, split_rules_of_gguf(source.gguf_pre));
  // The name stands for all settings of that family, Qwen 2's NFC among them; the distilled models
  // kept it.
  out.nfc = source.gguf_pre == "qwen2" || source.gguf_pre == "deepseek-r1-qwen";
  TRY_VOID(read_tokens(source, out));
  std::vector<Bpe::Merge> merges;
  merges.reserve(source.merges.size());
  for (const std::string& line : source.merges) {
    const std::string_view text = line;
    const size_t blank = text.find(' ', 1);
    if (blank == std::string_view::npos) {
      return corrupt("merge " + std::to_string(merges.size()) + " (\"" +
                     to_valid_utf8(text.substr(0, 80)) + "\") is not two tokens");
    }
    merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
  }
  const bool llama3 = source.gguf_pre.starts_with("llama");
  TRY(out.bpe, Bpe::build(out.tokens, merges, llama3));
  TRY(out.bos_id, read_id(source.bos_id, "bos_token_id", out.tokens));
  TRY(out.eos_id, read_id(source.eos_id, "eos_token_id", out.tokens));
  out.add_bos = source.add_bos.value_or(llama3) && out.bos_id;
  return out;
}

}  // namespace hadal::tokenizer
