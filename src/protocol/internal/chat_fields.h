#pragma once

#include "engine_api/chat.h"
#include "protocol/internal/object_reader.h"
#include "protocol/openai_request.h"

namespace hadal::protocol::internal {

/// What a prompt format renders: `messages`, `tools`, `tool_choice`, `parallel_tool_calls`,
/// `thinking`, `reasoning_effort`, `chat_template_kwargs`, `response_format`, and vLLM's
/// `continue_final_message`. Errors: invalid_argument with the place.
Result<engine_api::Chat> read_chat(const ObjectReader& body, const RequestLimits& limits);
/// What `response_format` or `grammar` ask of the answer. Errors: as read_chat.
Result<engine_api::AnswerFormat> read_answer_format(const ObjectReader& body);

}  // namespace hadal::protocol::internal
