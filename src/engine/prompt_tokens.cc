#include "engine/prompt_tokens.h"

#include <algorithm>
#include <variant>

namespace hadal::engine {
namespace {

Error beyond_context(const LoadedModel& m, const std::string& length, std::string_view field) {
  return make_error(ErrorCode::context_length_exceeded,
                    "the prompt has " + length + " tokens; with room for an answer this model's " +
                        "context holds " + std::to_string(m.context_tokens_max - 1))
      .about(field)
      .with_hint("shorten the conversation or start the server with a larger --context-tokens-max");
}

// What tokenize takes and detokenize gives at most: about the text of a million tokens.
constexpr size_t kTextBytesMax = 4 << 20;

// Refuses what cannot fit however it is split, before work goes into splitting it.
Status check_bytes(const LoadedModel& m, size_t bytes, std::string_view field) {
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

Result<prompt::Rendered> render(const LoadedModel& m, const engine_api::Chat& chat) {
  if (m.prompt_format == nullptr) {
    return unsupported("this checkpoint has no chat format")
        .with_hint("use /v1/completions or --prompt-format");
  }
  return m.prompt_format->render(chat);
}

size_t bytes_of(const prompt::Rendered& rendered) {
  size_t bytes = 0;
  for (const prompt::Piece& p : rendered.pieces) bytes += p.text.size();
  return bytes;
}

Result<PromptTokens> from_chat(const LoadedModel& m, const engine_api::Chat& chat) {
  PromptTokens out;
  TRY(out.rendered, render(m, chat));
  TRY_VOID(check_bytes(m, bytes_of(*out.rendered), "messages"));
  out.ids = encode(*m.tokenizer, *out.rendered);
  return out;
}

// What the model's settings put in front of every text.
void begin_text(const LoadedModel& m, std::vector<int32_t>& ids) {
  if (m.tokenizer->add_bos() && m.tokenizer->bos_id()) ids.push_back(*m.tokenizer->bos_id());
}

Result<PromptTokens> from_text(const LoadedModel& m, const engine_api::TextPrompt& prompt,
                               std::string_view field) {
  TRY_VOID(check_bytes(m, prompt.text.size() + prompt.suffix.size(), field));
  PromptTokens out;
  if (prompt.echo) out.echo = prompt.text;
  out.scored = prompt.echo;
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
  begin_text(m, out.ids);
  m.tokenizer->encode(prompt.text, out.ids);
  if (out.ids.empty() && m.tokenizer->bos_id()) out.ids.push_back(*m.tokenizer->bos_id());
  return out;
}

Status check_ids(const LoadedModel& m, std::span<const int32_t> ids, std::string_view field) {
  const int64_t vocab = m.model->config().vocab;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab) {
      return invalid_argument("token id " + std::to_string(id) + " is outside the vocabulary of " +
                              std::to_string(vocab))
          .about(field);
    }
  }
  return {};
}

Result<PromptTokens> from_ids(const LoadedModel& m, const engine_api::TokenPrompt& prompt,
                              std::string_view field) {
  PromptTokens out;
  out.ids = prompt.ids;
  if (!prompt.echo) return out;
  TRY_VOID(check_ids(m, prompt.ids, field));
  out.echo = m.tokenizer->decode(prompt.ids);
  out.scored = true;
  return out;
}

Status check(const LoadedModel& m, const PromptTokens& prompt, std::string_view field) {
  if (prompt.ids.empty()) return invalid_argument("the prompt is empty").about(field);
  TRY_VOID(check_ids(m, prompt.ids, field));
  const auto length = static_cast<int64_t>(prompt.ids.size());
  if (length >= m.context_tokens_max) {
    return beyond_context(m, std::to_string(length), field);
  }
  return {};
}

}  // namespace

Result<std::vector<PromptTokens>> make_prompts(const LoadedModel& m,
                                               const engine_api::Request& request) {
  std::vector<PromptTokens> out;
  // As clients call it.
  const std::string field = request.pooling == engine_api::Pooling::none ? "prompt" : "input";
  const auto add = [&](Result<PromptTokens> prompt, std::string_view place) -> Status {
    if (!prompt) return prompt.error();
    TRY_VOID(check(m, *prompt, place));
    prompt->scored &= request.sampling.logprobs >= 0;
    out.push_back(*std::move(prompt));
    return {};
  };
  const auto read = [&](const auto& prompt, std::string_view place) -> Status {
    if (const auto* text = std::get_if<engine_api::TextPrompt>(&prompt)) {
      return add(from_text(m, *text, place), place);
    }
    return add(from_ids(m, std::get<engine_api::TokenPrompt>(prompt), place), place);
  };
  if (const auto* chat = std::get_if<engine_api::Chat>(&request.prompt)) {
    TRY_VOID(add(from_chat(m, *chat), "messages"));
  } else if (const auto* list = std::get_if<engine_api::PromptList>(&request.prompt)) {
    if (list->prompts.empty()) return invalid_argument("there is no prompt").about(field);
    for (size_t i = 0; i < list->prompts.size(); ++i) {
      TRY_VOID(read(list->prompts[i], field + "[" + std::to_string(i) + "]"));
    }
  } else {
    TRY_VOID(read(request.prompt, field));
  }
  return out;
}

Result<std::vector<engine_api::Token>> tokenize(const LoadedModel& m,
                                                const engine_api::TokenizeRequest& request) {
  const auto check_size = [](size_t bytes, std::string_view field) -> Status {
    if (bytes <= kTextBytesMax) return {};
    return too_large("the text has " + std::to_string(bytes) + " bytes; at most " +
                     std::to_string(kTextBytesMax) + " are split into tokens at once")
        .about(field);
  };
  std::vector<int32_t> ids;
  if (const auto* chat = std::get_if<engine_api::Chat>(&request.prompt)) {
    TRY(const prompt::Rendered rendered, render(m, *chat));
    TRY_VOID(check_size(bytes_of(rendered), "messages"));
    ids = encode(*m.tokenizer, rendered);
  } else {
    const std::string& text = std::get<engine_api::TextPrompt>(request.prompt).text;
    TRY_VOID(check_size(text.size(), "prompt"));
    if (request.add_special) begin_text(m, ids);
    if (request.parse_special) {
      m.tokenizer->encode_with_specials(text, ids);
    } else {
      m.tokenizer->encode(text, ids);
    }
  }
  std::vector<engine_api::Token> out;
  out.reserve(ids.size());
  for (const int32_t id : ids) out.push_back({id, std::string(m.tokenizer->token_bytes(id))});
  return out;
}

Result<std::string> detokenize(const LoadedModel& m, std::span<const int32_t> ids) {
  TRY_VOID(check_ids(m, ids, "tokens"));
  size_t bytes = 0;
  for (const int32_t id : ids) bytes += m.tokenizer->token_bytes(id).size();
  if (bytes > kTextBytesMax) {
    return too_large("the tokens stand for " + std::to_string(bytes) + " bytes; at most " +
                     std::to_string(kTextBytesMax) + " are written at once")
        .about("tokens");
  }
  return m.tokenizer->decode(ids, false);
}

}  // namespace hadal::engine
