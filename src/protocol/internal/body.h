#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "engine_api/backend.h"
#include "protocol/internal/object_reader.h"
#include "protocol/openai_request.h"

namespace hadal::protocol::internal {

constexpr int64_t kTokenIdMax = std::numeric_limits<int32_t>::max();

/// The JSON of a request's body. Errors: invalid_argument, too_large.
Result<json::Value> parse_body(std::string_view body, const RequestLimits& limits);
/// The token ids in an array at `place`. Errors: invalid_argument.
Result<std::vector<int32_t>> token_ids(const json::Array& array, const std::string& place);

/// The prompts under `key`: a string, token ids, or an array of strings or of arrays of token ids.
/// `form` gives the suffix and the echo of all. Errors: invalid_argument with the place.
Result<engine_api::Prompt> read_prompts(const ObjectReader& body, const char* key,
                                        const engine_api::TextPrompt& form,
                                        const RequestLimits& limits);
/// Whose request it is, when it should be served and how long it may take. Errors:
/// invalid_argument.
Status read_scheduling(const ObjectReader& body, engine_api::Request& request);

}  // namespace hadal::protocol::internal
