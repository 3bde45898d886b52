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

/// A request for embeddings, and how they are to be written.
struct ParsedEmbeddings {
  engine_api::Request request;
  int inputs = 1;
  bool base64 = false;     ///< little-endian f32, as the official clients ask by default
  int64_t dimensions = 0;  ///< 0: all
};

/// The body of POST /v1/embeddings: `input` is a string, token ids, or an array of strings or of
/// arrays of token ids. Beyond OpenAI's fields: `pooling` ("mean", the default, or "last").
/// Errors: invalid_argument with the place; too_large.
/// Source: OpenAI API reference (embeddings).
Result<ParsedEmbeddings> parse_embeddings_request(std::string_view body,
                                                  const RequestLimits& limits = {});

/// The body of the answer. `dimensions` > 0 keeps so many of each embedding, scaled to length 1
/// again.
std::string embeddings_answer(std::string_view model, std::span<const std::vector<float>> vectors,
                              const engine_api::Usage& usage, const ParsedEmbeddings& form);

}  // namespace hadal::protocol
