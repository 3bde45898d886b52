#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine_api/backend.h"
#include "protocol/openai_request.h"

namespace hadal::protocol {

/// How a list of tokens is written.
enum class TokenStyle {
  ids,      ///< "tokens":[1,2]
  pieces,   ///< "tokens":[{"id":1,"piece":"a"}]; bytes that are no text as an array of numbers
  strings,  ///< "tokens":[1,2], "token_strs":["a","b"]
};

struct ParsedTokenize {
  engine_api::TokenizeRequest request;
  TokenStyle style = TokenStyle::ids;
};

/// The body of POST /tokenize. llama.cpp's form is `content` with `add_special` (default false),
/// `parse_special` (default false: text is only text, as in completions) and `with_pieces`; vLLM's
/// is `prompt` with `add_special_tokens` (default true), or `messages` with what a chat may have,
/// and `return_token_strs`. Errors: invalid_argument with the place; too_large.
/// Source: llama.cpp tools/server/README.md; vLLM docs, OpenAI-compatible server, tokenizer API.
Result<ParsedTokenize> parse_tokenize_request(std::string_view body,
                                              const RequestLimits& limits = {});
/// {"count":2,"max_model_len":4096,"tokens":[1,2]}.
std::string tokenize_answer(std::span<const engine_api::Token> tokens, TokenStyle style,
                            int64_t context_tokens_max);

struct ParsedDetokenize {
  std::string model;
  std::vector<int32_t> ids;
};

/// The body of POST /detokenize: `tokens`. Errors: as parse_tokenize_request.
Result<ParsedDetokenize> parse_detokenize_request(std::string_view body,
                                                  const RequestLimits& limits = {});
/// The text under llama.cpp's name, `content`, and under vLLM's, `prompt`.
std::string detokenize_answer(std::string_view text);

}  // namespace hadal::protocol
