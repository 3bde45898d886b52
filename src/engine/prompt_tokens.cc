#include "engine/prompt_tokens.h"

#include <algorithm>
#include <variant>

namespace hadal::engine {
namespace {

Error beyond_context(const LoadedModel& m, const std::string& length, const char* field) {
  return make_error(ErrorCode::context_length_exceeded,
                    "the prompt has " + length + " tokens; with room for an answer this model's " +
                        "context holds " + std::to_string(m.context_tokens_max - 1))
      .about(field)
      .with_hint("shorten the conversation or start the server with a larger --context-tokens-max");
}

// Refuses what cannot fit however it is split, before work goes into splitting it.
Status check_bytes(const LoadedModel& m, size_t bytes, const char* field) {
  const size_t least = bytes / std::max<size_t>(m.token_bytes_max, 1);
  if (least < static_cast<size_t>(m.context_tokens_max)) return {};
  return beyond_context(m, "at least " + std::to_string(least), field);
}

std::vector<int32_t> encode(const tokenizer::Tokenizer& tokenizer,
                            const prompt::Rendered& rendered) {
  std::vector<tokenizer::Piece> pieces;
  pieces.reserve(rendered.pieces.size());
  for (const prompt::Piece& p : rendered.pieces) pieces.push_back({p.special, p.text});
  return tokenizer.encode_prompt(pieces);
}

Result<PromptTokens> from_chat(const LoadedModel& m, const engine_api::Chat& chat) {
  if (m.prompt_format == nullptr) {
    return unsupported("this checkpoint has no chat format")
        .with_hint("use /v1/completions or --prompt-format");
  }
  PromptTokens out;
  TRY(out.rendered, m.prompt_format->render(chat));
  size_t bytes = 0;
  for (const prompt::Piece& p : out.rendered->pieces) bytes += p.text.size();
  TRY_VOID(check_bytes(m, bytes, "messages"));
  out.ids = encode(*m.tokenizer, *out.rendered);
  return out;
}

Result<PromptTokens> from_text(const LoadedModel& m, const engine_api::TextPrompt& prompt) {
  TRY_VOID(check_bytes(m, prompt.text.size() + prompt.suffix.size(), "prompt"));
  PromptTokens out;
  if (prompt.echo) out.echo = prompt.text;
  if (!prompt.suffix.empty()) {
    if (m.prompt_format == nullptr)
      return unsupported("this model has no fill-in-the-middle format").about("suffix");
    TRY(const prompt::Rendered rendered, m.prompt_format->render_fim(prompt.text, prompt.suffix));
    for (const prompt::Piece& p : rendered.pieces) {
      if (p.special && !m.tokenizer->token_id(p.text)) {
        return unsupported("this model's vocabulary has no " + p.text + " to fill in the middle")
            .about("suffix");
      }
    }
    out.ids = encode(*m.tokenizer, rendered);
    return out;
  }
  out.ids = m.tokenizer->encode(prompt.text);
  const auto bos = m.tokenizer->bos_id();
  if (bos && (m.tokenizer->add_bos() || out.ids.empty())) out.ids.insert(out.ids.begin(), *bos);
  return out;
}

Status check(const LoadedModel& m, const PromptTokens& prompt, const char* field) {
  if (prompt.ids.empty()) return invalid_argument("the prompt is empty").about("prompt");
  const int64_t vocab = m.model->config().vocab;
  for (const int32_t id : prompt.ids) {
    if (id < 0 || id >= vocab) {
      return invalid_argument("token id " + std::to_string(id) + " is outside the vocabulary of " +
                              std::to_string(vocab))
          .about("prompt");
    }
  }
  const auto length = static_cast<int64_t>(prompt.ids.size());
  if (length >= m.context_tokens_max) {
    return beyond_context(m, std::to_string(length), field);
  }
  return {};
}

}  // namespace

Result<PromptTokens> make_prompt(const LoadedModel& m, const engine_api::Request& request) {
  PromptTokens out;
  if (const auto* chat = std::get_if<engine_api::Chat>(&request.prompt)) {
    TRY(out, from_chat(m, *chat));
  } else if (const auto* text = std::get_if<engine_api::TextPrompt>(&request.prompt)) {
    TRY(out, from_text(m, *text));
  } else {
    out.ids = std::get<engine_api::TokenPrompt>(request.prompt).ids;
  }
  TRY_VOID(check(m, out, out.rendered ? "messages" : "prompt"));
  return out;
}

}  // namespace hadal::engine
