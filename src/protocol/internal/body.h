#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/internal/object_reader.h"
#include "protocol/openai_request.h"

namespace hadal::protocol::internal {

constexpr int64_t kTokenIdMax = std::numeric_limits<int32_t>::max();

/// The JSON of a request's body. Errors: invalid_argument, too_large.
Result<json::Value> parse_body(std::string_view body, const RequestLimits& limits);
/// The token ids in an array at `place`. Errors: invalid_argument.
Result<std::vector<int32_t>> token_ids(const json::Array& array, const std::string& place);

}  // namespace hadal::protocol::internal
