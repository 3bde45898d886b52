#pragma once

#include <vector>

#include "engine_api/chat.h"
#include "protocol/internal/object_reader.h"
#include "protocol/openai_request.h"

namespace hadal::protocol::internal {

/// The fields that only chat requests have. Errors: invalid_argument with the place.
Result<std::vector<engine_api::Message>> read_messages(const ObjectReader& body,
                                                       const RequestLimits& limits);
/// `tools` (none when tool_choice is "none"), `tool_choice` and `parallel_tool_calls`.
Status read_tools(const ObjectReader& body, const RequestLimits& limits, engine_api::Chat& chat);
/// `thinking`, `chat_template_kwargs` and `reasoning_effort`, in this order of precedence.
Status read_thinking(const ObjectReader& body, engine_api::Chat& chat);
/// `response_format` as it came, null for plain text.
Result<json::Value> read_response_format(const ObjectReader& body);
/// What `response_format` or `grammar` ask of the answer.
Result<engine_api::AnswerFormat> read_answer_format(const ObjectReader& body);

}  // namespace hadal::protocol::internal
