#include "prompt/internal/conversation.h"

#include <algorithm>
#include <utility>

#include "prompt/internal/piece_builder.h"

namespace hadal::prompt {
namespace {

Error wrong(std::string message, std::string at) {
  return invalid_argument(at + ": " + std::move(message)).about(at);
}

/// Walks the messages in order and remembers which calls still wait for their results.
class Checker {
 public:
  Checker(const Chat& chat, const ConversationRules& rules) : chat_(chat), rules_(rules) {}

  Status run() {
    const auto& messages = chat_.messages;
    if (messages.empty()) {
      return wrong("there must be at least one message", "messages");
    }
    if (!rules_.tools && !chat_.tools.empty()) return no_tools("tools");
    for (size_t j = 0; j < chat_.tools.size(); ++j) {
      const std::string at = "tools[" + std::to_string(j) + "].function.name";
      if (chat_.tools[j].name.empty()) return wrong("a function needs a name", at);
    }
    for (size_t i = 0; i < messages.size(); ++i) TRY_VOID(message(i));
    TRY_VOID(all_answered());
    return end();
  }

 private:
  static Error no_tools(const std::string& at) {
    return unsupported(at + ": this model's format has no tools").about(at);
  }

  Status message(size_t i) {
    const Message& m = chat_.messages[i];
    if (m.role == Role::tool) return tool_result(i);
    TRY_VOID(all_answered());
    if (m.role != Role::assistant) {
      if (!m.tool_calls.empty()) {
        return wrong("only an assistant message has tool calls", place(i, "tool_calls"));
      }
      if (m.prefix) return wrong("only an assistant message is a prefix", place(i, "prefix"));
      return {};
    }
    if (m.prefix && i + 1 != chat_.messages.size()) {
      return wrong("only the last message can be a prefix", place(i, "prefix"));
    }
    if (m.tool_calls.empty()) return {};
    if (!rules_.tools) return no_tools(place(i, "tool_calls"));
    if (m.prefix) return wrong("a prefix cannot have tool calls", place(i, "tool_calls"));
    for (size_t j = 0; j < m.tool_calls.size(); ++j) {
      if (m.tool_calls[j].name.empty()) {
        return wrong("a call needs the name of its function", call_place(i, j, "name"));
      }
    }
    caller_ = i;
    answered_.assign(m.tool_calls.size(), false);
    waiting_ = m.tool_calls.size();
    return {};
  }

  Status tool_result(size_t i) {
    if (!rules_.tools) return no_tools(place(i, "role"));
    if (waiting_ == 0) {
      return wrong(
          "a tool message must follow an assistant message with a call that it answers, "
          "one for each call",
          place(i, "role"));
    }
    const auto& calls = chat_.messages[caller_].tool_calls;
    const std::string& id = chat_.messages[i].tool_call_id;
    // Clients of models without ids leave them out on either side: then the order counts.
    const bool by_id =
        !id.empty() && std::ranges::any_of(calls, [](const auto& c) { return !c.id.empty(); });
    for (size_t j = 0; j < calls.size(); ++j) {
      if (answered_[j] || (by_id && calls[j].id != id)) continue;
      answered_[j] = true;
      --waiting_;
      return {};
    }
    return wrong("no call of " + place(caller_, "tool_calls") + " waits for a result with this id",
                 place(i, "tool_call_id"));
  }

  Status all_answered() {
    if (waiting_ == 0) return {};
    return wrong(std::to_string(waiting_) + " of " + std::to_string(answered_.size()) +
                     " tool calls have no tool message with their result",
                 place(caller_, "tool_calls"));
  }

  // Someone must have spoken to the model last.
  Status end() {
    const auto& messages = chat_.messages;
    for (size_t i = messages.size(); i-- > 0;) {
      const Message& m = messages[i];
      if (is_system(m)) {
        if (rules_.system_is_a_turn && i > 0) return {};
        continue;
      }
      if (m.role != Role::assistant || m.prefix) return {};
      return wrong(
          "the last message must come from the user or a tool, or be an assistant "
          "message with \"prefix\": true",
          place(i, "role"));
    }
    return wrong("there is no user message", "messages");
  }

  const Chat& chat_;
  const ConversationRules& rules_;
  size_t caller_ = 0;           ///< the last assistant message with calls
  std::vector<bool> answered_;  ///< of its calls
  size_t waiting_ = 0;
};

}  // namespace

std::string place(size_t message, std::string_view field) {
  return "messages[" + std::to_string(message) + "]." + std::string(field);
}

std::string call_place(size_t message, size_t call, std::string_view field) {
  return place(message, "tool_calls[" + std::to_string(call) + "].function." + std::string(field));
}

Status check_conversation(const Chat& chat, const ConversationRules& rules) {
  return Checker(chat, rules).run();
}

std::string joined_system(const Chat& chat) {
  std::string out;
  bool first = true;
  for (const Message& m : chat.messages) {
    if (!is_system(m)) continue;
    if (!std::exchange(first, false)) out += "\n\n";
    out += m.content;
  }
  return out;
}

std::vector<const Message*> turns_of(const Chat& chat) {
  std::vector<const Message*> out;
  for (const Message& m : chat.messages) {
    if (!is_system(m)) out.push_back(&m);
  }
  return out;
}

json::Value tool_json(const engine_api::Tool& tool) {
  json::Object out;
  out.emplace_back("name", tool.name);
  if (!tool.description.empty()) out.emplace_back("description", tool.description);
  if (!tool.parameters.is_null()) out.emplace_back("parameters", tool.parameters);
  if (tool.strict) out.emplace_back("strict", true);
  return json::Value(std::move(out));
}

Result<std::optional<json::Value>> response_schema(const Chat& chat) {
  const json::Value& format = chat.response_format;
  if (format.is_null()) return std::optional<json::Value>();
  const json::Value* type = format.find("type");
  if (type == nullptr || !type->is_string()) {
    return wrong("this must be an object with a type", "response_format");
  }
  const std::string& name = type->as_string();
  if (name == "text") return std::optional<json::Value>();
  if (name == "json_object") {
    json::Value any;
    any.set("type", "object");
    return std::optional(std::move(any));
  }
  if (name != "json_schema") {
    return wrong("the type is text, json_object or json_schema, not '" + name + "'",
                 "response_format.type");
  }
  const json::Value* wrapper = format.find("json_schema");
  const json::Value* schema = wrapper != nullptr ? wrapper->find("schema") : nullptr;
  if (schema == nullptr || !schema->is_object()) {
    return wrong("the type json_schema needs a schema", "response_format.json_schema.schema");
  }
  return std::optional(*schema);
}

Result<std::string_view> canonical_effort(std::string_view effort) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"low", "low"},    {"minimal", "low"}, {"high", "high"}, {"medium", "high"},
      {"xhigh", "high"}, {"max", "max"},     {"ultra", "max"},
  };
  for (const auto& [name, canonical] : kNames) {
    if (effort == name) return canonical;
  }
  return wrong("this is low, high or max, not '" + std::string(effort) + "'", "reasoning_effort");
}

std::string_view after_reasoning(std::string_view content) {
  const size_t end = content.rfind(kEndThink);
  return end == std::string_view::npos ? content : content.substr(end + kEndThink.size());
}

}  // namespace hadal::prompt
