#pragma once

#include "engine_api/chat.h"
#include "protocol/internal/object_reader.h"
#include "protocol/openai_request.h"

namespace hadal::protocol::internal {

/// What a prompt format renders: `messages`, `tools`, `tool_choice`, `thinking`,
/// `reasoning_effort`, `chat_template_kwargs`, `response_format`, and vLLM's
/// `continue_final_message`. Errors: invalid_argument with the place.
Result<engine_api::Chat> read_chat(const ObjectReader& body, const RequestLimits& limits);

}  // namespace hadal::protocol::internal
