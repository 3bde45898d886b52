#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine_api/chat.h"
#include "json/json.h"

namespace hadal::prompt {

using engine_api::Chat;
using engine_api::Message;
using engine_api::Role;
using engine_api::Thinking;

/// "messages[2].role": where in the request something is.
std::string place(size_t message, std::string_view field);
/// "messages[2].tool_calls[0].function.name".
std::string call_place(size_t message, size_t call, std::string_view field);

/// Whether a role's messages set the scene: formats treat system and developer alike.
inline bool is_system(const Message& m) {
  return m.role == Role::system || m.role == Role::developer;
}

/// What a generation cannot do with a conversation.
struct ConversationRules {
  bool tools = true;              ///< tools, tool calls and tool messages
  bool system_is_a_turn = false;  ///< a system message after the first may be the last to speak
};

/// Whether the conversation makes sense: every tool message answers a call of the assistant message
/// before it, every call is answered, and there is someone to answer to.
/// Errors: invalid_argument with the place; unsupported for tools where `rules` has none.
Status check_conversation(const Chat& chat, const ConversationRules& rules = {});

/// All system messages, a blank line between them.
std::string joined_system(const Chat& chat);

/// The messages that are not system messages.
std::vector<const Message*> turns_of(const Chat& chat);

/// The function as prompts show it: name, description, parameters, and strict where it is set.
json::Value tool_json(const engine_api::Tool& tool);

/// The JSON Schema that answers must follow, if the request asks for JSON. Errors: invalid_argument
/// about "response_format".
Result<std::optional<json::Value>> response_schema(const Chat& chat);

/// "low", "high", "max" and their other names. Errors: invalid_argument for any other word.
/// Source: DeepSeek API, reasoning_effort: minimal is low; medium and xhigh are high; ultra is max.
Result<std::string_view> canonical_effort(std::string_view effort);

/// The part of an old answer after its reasoning, where a client sent both in one text.
std::string_view after_reasoning(std::string_view content);

}  // namespace hadal::prompt
