#include "protocol/internal/body.h"

namespace hadal::protocol::internal {

Result<json::Value> parse_body(std::string_view body, const RequestLimits& limits) {
  auto value =
      json::parse(body, {.bytes_max = limits.body_bytes_max, .depth_max = limits.depth_max});
  if (!value) return std::move(value).error().in("the body");
  return value;
}

Result<std::vector<int32_t>> token_ids(const json::Array& array, const std::string& place) {
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const auto id = as_integer(array[i]);
    if (!id || *id < 0 || *id > kTokenIdMax) {
      return bad_at(element(place, i), "must be a token id");
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

}  // namespace hadal::protocol::internal
