#include "protocol/tokenize.h"

#include <utility>

#include "base/utf8.h"
#include "protocol/internal/body.h"
#include "protocol/internal/chat_fields.h"
#include "protocol/internal/object_reader.h"

namespace hadal::protocol {
namespace {

using internal::ObjectReader;

/// A text as JSON; bytes that are none as an array of numbers.
void append_piece(std::string& out, std::string_view bytes) {
  if (is_utf8(bytes)) return json::append_quoted(out, bytes);
  out += '[';
  for (const char c : bytes) {
    if (out.back() != '[') out += ',';
    out += std::to_string(static_cast<unsigned char>(c));
  }
  out += ']';
}

}  // namespace

Result<ParsedTokenize> parse_tokenize_request(std::string_view text, const RequestLimits& limits) {
  TRY(const json::Value value, internal::parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  ParsedTokenize out;
  TRY(out.request.model, body.string("model"));
  int given = 0;
  for (const char* name : {"content", "prompt", "messages"}) {
    if (body.find(name) != nullptr) ++given;
  }
  if (given != 1) return body.bad("content", "is needed, or prompt, or messages: one of them");
  const bool content = body.find("content") != nullptr;
  if (body.find("messages") != nullptr) {
    TRY(out.request.prompt, internal::read_chat(body, limits));
  } else {
    engine_api::TextPrompt prompt;
    TRY(prompt.text, body.string(content ? "content" : "prompt"));
    out.request.prompt = std::move(prompt);
  }
  TRY(out.request.add_special,
      body.boolean(content ? "add_special" : "add_special_tokens", !content));
  TRY(out.request.parse_special, body.boolean("parse_special", false));
  TRY(const bool pieces, body.boolean("with_pieces", false));
  TRY(const bool strings, body.boolean("return_token_strs", false));
  if (pieces && strings) {
    return body.bad("return_token_strs", "does not go together with with_pieces");
  }
  if (pieces) out.style = TokenStyle::pieces;
  if (strings) out.style = TokenStyle::strings;
  return out;
}

std::string tokenize_answer(std::span<const engine_api::Token> tokens, TokenStyle style,
                            int64_t context_tokens_max) {
  // Written without a json::Value for each of what may be millions.
  std::string out = "{\"count\":" + std::to_string(tokens.size()) +
                    ",\"max_model_len\":" + std::to_string(context_tokens_max) + ",\"tokens\":[";
  const auto list = [&](auto append) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) out += ',';
      append(tokens[i]);
    }
    out += ']';
  };
  list([&](const engine_api::Token& t) {
    if (style != TokenStyle::pieces) {
      out += std::to_string(t.id);
      return;
    }
    out += "{\"id\":" + std::to_string(t.id) + ",\"piece\":";
    append_piece(out, t.bytes);
    out += '}';
  });
  if (style == TokenStyle::strings) {
    out += ",\"token_strs\":[";
    list([&](const engine_api::Token& t) { json::append_quoted(out, to_valid_utf8(t.bytes)); });
  }
  return out + "}";
}

Result<ParsedDetokenize> parse_detokenize_request(std::string_view text,
                                                  const RequestLimits& limits) {
  TRY(const json::Value value, internal::parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  ParsedDetokenize out;
  TRY(out.model, body.string("model"));
  TRY(const json::Value* tokens, body.array("tokens", limits.token_ids_max));
  if (tokens == nullptr) return body.wrong_kind("tokens", "an array of token ids");
  TRY(out.ids, internal::token_ids(tokens->as_array(), "tokens"));
  return out;
}

std::string detokenize_answer(std::string_view text) {
  std::string quoted;
  json::append_quoted(quoted, text);
  return "{\"content\":" + quoted + ",\"prompt\":" + quoted + "}";
}

}  // namespace hadal::protocol
