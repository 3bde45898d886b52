#pragma once

#include <string>

#include "engine_api/chat.h"

namespace hadal::tests {

/// A chat from the body of an OpenAI chat request, with "thinking": "automatic", "on" or "off".
/// For trusted test data: whatever is not there stays at its default.
inline engine_api::Chat chat_from_json(const json::Value& body) {
  using engine_api::Role;
  const auto role = [](const std::string& name) {
    if (name == "system") return Role::system;
    if (name == "developer") return Role::developer;
    if (name == "assistant") return Role::assistant;
    return name == "tool" ? Role::tool : Role::user;
  };
  engine_api::Chat chat;
  for (const json::Value& m : body.find("messages")->as_array()) {
    engine_api::Message message;
    message.role = role(*m.string_at("role"));
    message.content = *m.string_or("content", "");
    message.reasoning_content = *m.string_or("reasoning_content", "");
    message.tool_call_id = *m.string_or("tool_call_id", "");
    message.prefix = *m.bool_or("prefix", false);
    if (const json::Value* calls = m.find("tool_calls"); calls != nullptr) {
      for (const json::Value& c : calls->as_array()) {
        const json::Value& f = *c.find("function");
        message.tool_calls.push_back(
            {*c.string_or("id", ""), *f.string_at("name"), *f.string_or("arguments", "")});
      }
    }
    chat.messages.push_back(std::move(message));
  }
  if (const json::Value* tools = body.find("tools"); tools != nullptr) {
    for (const json::Value& t : tools->as_array()) {
      const json::Value& f = *t.find("function");
      const json::Value* parameters = f.find("parameters");
      chat.tools.push_back({.name = *f.string_at("name"),
                            .description = *f.string_or("description", ""),
                            .parameters = parameters != nullptr ? *parameters : json::Value(),
                            .strict = *f.bool_or("strict", false)});
    }
  }
  const std::string thinking = *body.string_or("thinking", "automatic");
  if (thinking == "on") chat.thinking = engine_api::Thinking::on;
  if (thinking == "off") chat.thinking = engine_api::Thinking::off;
  chat.reasoning_effort = *body.string_or("reasoning_effort", "");
  if (const json::Value* f = body.find("response_format"); f != nullptr) chat.response_format = *f;
  return chat;
}

}  // namespace hadal::tests
