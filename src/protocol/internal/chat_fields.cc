#include "protocol/internal/chat_fields.h"

#include <algorithm>

namespace hadal::protocol::internal {
namespace {

using engine_api::Message;
using engine_api::Role;
using engine_api::Thinking;

constexpr size_t kToolCallsMax = 1024;
constexpr size_t kNameBytesMax = 64;

Result<Role> read_role(const ObjectReader& message) {
  TRY(const std::string role, message.string("role"));
  if (role == "system") return Role::system;
  if (role == "developer") return Role::developer;
  if (role == "user") return Role::user;
  if (role == "assistant") return Role::assistant;
  if (role == "tool") return Role::tool;
  return message.bad("role", "must be system, developer, user, assistant or tool");
}

/// A string, null, or an array of text parts, which are joined.
Result<std::string> read_content(const ObjectReader& message) {
  const json::Value* v = message.find("content");
  if (v == nullptr) return std::string();
  if (v->is_string()) return v->as_string();
  if (!v->is_array()) return message.wrong_kind("content", "a string or an array of parts");
  std::string out;
  for (size_t i = 0; i < v->as_array().size(); ++i) {
    const std::string place = element(message.place("content"), i);
    TRY(const ObjectReader part, ObjectReader::of(v->as_array()[i], place));
    TRY(const std::string type, part.string("type"));
    if (type == "text" || type == "input_text") {
      if (part.find("text") == nullptr) return part.wrong_kind("text", "a string");
      TRY(const std::string text, part.string("text"));
      out += text;
    } else if (type == "refusal") {
      TRY(const std::string text, part.string("refusal"));
      out += text;
    } else {
      return part.bad("type", "must be text: this model reads no images, audio or files");
    }
  }
  return out;
}

bool is_function_name(std::string_view name) {
  const auto ok = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
  };
  return !name.empty() && name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), ok);
}

constexpr std::string_view kNameRule =
    "must be a function name: letters, digits and _-.: , 1 to 64 of them";

Result<engine_api::ToolCall> read_tool_call(const json::Value& value, std::string place) {
  TRY(const ObjectReader call, ObjectReader::of(value, std::move(place)));
  TRY(const std::string type, call.string("type", "function"));
  if (type != "function") return call.bad("type", "must be function");
  engine_api::ToolCall out;
  TRY(out.id, call.string("id"));
  TRY(const json::Value* function, call.object("function"));
  if (function == nullptr) return call.wrong_kind("function", "an object");
  const ObjectReader f(*function, call.place("function"));
  TRY(out.name, f.string("name"));
  if (!is_function_name(out.name)) return f.bad("name", kNameRule);
  TRY(out.arguments, f.string("arguments", "{}"));
  if (out.arguments.empty()) out.arguments = "{}";
  return out;
}

Result<Message> read_message(const json::Value& value, std::string place) {
  TRY(const ObjectReader in, ObjectReader::of(value, std::move(place)));
  Message out;
  TRY(out.role, read_role(in));
  TRY(out.content, read_content(in));
  TRY(out.name, in.string("name"));
  TRY(out.reasoning_content, in.string("reasoning_content"));
  TRY(out.tool_call_id, in.string("tool_call_id"));
  TRY(out.prefix, in.boolean("prefix", false));
  TRY(const json::Value* calls, in.array("tool_calls", kToolCallsMax));
  if (calls != nullptr) {
    for (size_t i = 0; i < calls->as_array().size(); ++i) {
      TRY(auto call, read_tool_call(calls->as_array()[i], element(in.place("tool_calls"), i)));
      out.tool_calls.push_back(std::move(call));
    }
  }
  const bool assistant = out.role == Role::assistant;
  if (!assistant && !out.tool_calls.empty()) {
    return in.bad("tool_calls", "belongs to messages of the assistant");
  }
  if (!assistant && out.prefix) {
    return in.bad("prefix", "belongs to the assistant's last message");
  }
  if (out.role == Role::tool && out.tool_call_id.empty()) {
    return in.bad("tool_call_id", "must name the call that a tool message answers");
  }
  if (in.find("content") == nullptr && !(assistant && !out.tool_calls.empty())) {
    return in.wrong_kind("content", "a string or an array of parts");
  }
  return out;
}

Result<std::vector<Message>> read_messages(const ObjectReader& body, const RequestLimits& limits) {
  TRY(const json::Value* list, body.array("messages", limits.messages_max));
  if (list == nullptr) return body.wrong_kind("messages", "an array");
  const json::Array& array = list->as_array();
  if (array.empty()) return body.bad("messages", "must not be empty");
  std::vector<Message> out;
  out.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    TRY(auto message, read_message(array[i], element("messages", i)));
    if (message.prefix && i + 1 < array.size()) {
      return bad_at(element("messages", i) + ".prefix", "belongs to the last message only");
    }
    out.push_back(std::move(message));
  }
  return out;
}

Result<engine_api::Tool> read_tool(const json::Value& value, std::string place) {
  TRY(const ObjectReader tool, ObjectReader::of(value, std::move(place)));
  TRY(const std::string type, tool.string("type"));
  if (type != "function") return tool.bad("type", "must be function");
  TRY(const json::Value* function, tool.object("function"));
  if (function == nullptr) return tool.wrong_kind("function", "an object");
  const ObjectReader f(*function, tool.place("function"));
  engine_api::Tool out;
  TRY(out.name, f.string("name"));
  if (!is_function_name(out.name)) return f.bad("name", kNameRule);
  TRY(out.description, f.string("description"));
  TRY(const json::Value* parameters, f.object("parameters"));
  if (parameters != nullptr) out.parameters = *parameters;
  TRY(out.strict, f.boolean("strict", false));
  return out;
}

Status read_tool_choice(const ObjectReader& body, engine_api::Chat& chat) {
  const json::Value* choice = body.find("tool_choice");
  if (choice == nullptr) return {};
  if (choice->is_string()) {
    const std::string& word = choice->as_string();
    if (word == "auto") return {};
    if (word == "none") {
      chat.tools.clear();
      return {};
    }
    if (word != "required") return body.bad("tool_choice", "must be none, auto or required");
  } else {
    TRY(const ObjectReader named, ObjectReader::of(*choice, "tool_choice"));
    TRY(const std::string type, named.string("type"));
    if (type != "function") return named.bad("type", "must be function");
    TRY(const json::Value* function, named.object("function"));
    if (function == nullptr) return named.wrong_kind("function", "an object");
    const ObjectReader f(*function, "tool_choice.function");
    TRY(chat.tool_name, f.string("name"));
    if (std::ranges::find(chat.tools, chat.tool_name, &engine_api::Tool::name) ==
        chat.tools.end()) {
      return f.bad("name", "must be the name of one of the tools");
    }
  }
  if (chat.tools.empty()) return body.bad("tool_choice", "needs tools");
  chat.tool_choice = engine_api::ToolChoice::required;
  return {};
}

Status read_tools(const ObjectReader& body, const RequestLimits& limits, engine_api::Chat& chat) {
  TRY(const json::Value* list, body.array("tools", limits.tools_max));
  for (size_t i = 0; list != nullptr && i < list->as_array().size(); ++i) {
    TRY(auto tool, read_tool(list->as_array()[i], element("tools", i)));
    chat.tools.push_back(std::move(tool));
  }
  TRY(chat.parallel_tool_calls, body.boolean("parallel_tool_calls", true));
  return read_tool_choice(body, chat);
}

/// `thinking`, `chat_template_kwargs` and `reasoning_effort`, in this order of precedence.
Status read_thinking(const ObjectReader& body, engine_api::Chat& chat) {
  // Source: DeepSeek API docs, thinking mode: minimal and low mean low, medium to xhigh mean high,
  // ultra means max.
  TRY(const std::string effort, body.string("reasoning_effort"));
  if (effort == "none") {
    chat.thinking = Thinking::off;
  } else if (effort == "minimal" || effort == "low") {
    chat.reasoning_effort = "low";
  } else if (effort == "medium" || effort == "high" || effort == "xhigh") {
    chat.reasoning_effort = "high";
  } else if (effort == "max" || effort == "ultra") {
    chat.reasoning_effort = "max";
  } else if (!effort.empty()) {
    return body.bad("reasoning_effort",
                    "must be none, minimal, low, medium, high, xhigh, max or ultra");
  }
  TRY(const json::Value* kwargs, body.object("chat_template_kwargs"));
  if (kwargs != nullptr) {
    const ObjectReader k(*kwargs, "chat_template_kwargs");
    for (const char* name : {"thinking", "enable_thinking"}) {
      TRY(const bool on, k.boolean(name, false));
      if (k.find(name) != nullptr) chat.thinking = on ? Thinking::on : Thinking::off;
    }
  }
  TRY(const json::Value* thinking, body.object("thinking"));
  if (thinking != nullptr) {
    const ObjectReader t(*thinking, "thinking");
    TRY(const std::string type, t.string("type"));
    if (type == "enabled") {
      chat.thinking = Thinking::on;
    } else if (type == "disabled") {
      chat.thinking = Thinking::off;
    } else if (type == "auto" || type == "adaptive") {
      chat.thinking = Thinking::automatic;
    } else {
      return t.bad("type", "must be enabled, disabled or auto");
    }
  }
  return {};
}

/// Null for plain text.
Result<json::Value> read_response_format(const ObjectReader& body) {
  TRY(const json::Value* format, body.object("response_format"));
  if (format == nullptr) return json::Value();
  const ObjectReader f(*format, "response_format");
  TRY(const std::string type, f.string("type"));
  if (type == "text") return json::Value();
  if (type == "json_object") return *format;
  if (type != "json_schema") {
    return f.bad("type", "must be text, json_object or json_schema");
  }
  TRY(const json::Value* schema, f.object("json_schema"));
  if (schema == nullptr) return f.wrong_kind("json_schema", "an object");
  const ObjectReader s(*schema, "response_format.json_schema");
  TRY_VOID(s.string("name"));
  TRY_VOID(s.boolean("strict", false));
  TRY(const json::Value* itself, s.object("schema"));
  if (itself == nullptr) return s.wrong_kind("schema", "an object");
  return *format;
}

/// vLLM's words for a prompt that ends inside the last message.
Status read_continuation(const ObjectReader& body, std::vector<Message>& messages) {
  TRY(const bool goes_on, body.boolean("continue_final_message", false));
  TRY(const bool header, body.boolean("add_generation_prompt", !goes_on));
  if (goes_on && header) {
    return body.bad("add_generation_prompt", "does not go together with continue_final_message");
  }
  if (!goes_on && !header) {
    return body.bad("add_generation_prompt", "must be true: a prompt ends where an answer begins");
  }
  if (!goes_on) return {};
  if (messages.back().role != Role::assistant) {
    return body.bad("continue_final_message", "needs a last message of the assistant");
  }
  messages.back().prefix = true;
  return {};
}

}  // namespace

Result<engine_api::Chat> read_chat(const ObjectReader& body, const RequestLimits& limits) {
  engine_api::Chat chat;
  TRY(chat.messages, read_messages(body, limits));
  TRY_VOID(read_continuation(body, chat.messages));
  TRY_VOID(read_tools(body, limits, chat));
  TRY_VOID(read_thinking(body, chat));
  TRY(chat.response_format, read_response_format(body));
  return chat;
}

Result<engine_api::AnswerFormat> read_answer_format(const ObjectReader& body) {
  TRY(const json::Value format, read_response_format(body));
  TRY(std::string grammar, body.string("grammar"));
  if (!grammar.empty()) {
    if (!format.is_null()) return body.bad("grammar", "does not go together with response_format");
    return engine_api::AnswerFormat(engine_api::GrammarFormat{std::move(grammar)});
  }
  if (format.is_null()) return engine_api::AnswerFormat();
  const json::Value* schema = format.find("json_schema");
  if (schema == nullptr) return engine_api::AnswerFormat(engine_api::JsonObjectFormat{});
  return engine_api::AnswerFormat(engine_api::JsonSchemaFormat{*schema->find("schema")});
}

}  // namespace hadal::protocol::internal
