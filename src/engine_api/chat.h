#pragma once

#include <optional>
#include <string>
#include <vector>

#include "json/json.h"

namespace hadal::engine_api {

/// Who speaks. `developer` is OpenAI's newer word for system; formats treat both alike.
enum class Role { system, developer, user, assistant, tool };

/// A call that the assistant made.
struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  ///< JSON text, as the model wrote it
};

/// One turn of a conversation.
struct Message {
  Role role = Role::user;
  std::string content;
  std::string reasoning_content;  ///< what an assistant thought before its answer
  std::string name;
  std::vector<ToolCall> tool_calls;  ///< of an assistant
  std::string tool_call_id;          ///< of a tool
  bool prefix = false;  ///< DeepSeek beta: the answer continues this last assistant message
};

/// A function the model may call.
struct Tool {
  std::string name;
  std::string description;
  json::Value parameters;  ///< JSON Schema
  bool strict = false;     ///< arguments must follow `parameters`
};

/// Whether an answer calls tools.
enum class ToolChoice {
  automatic,  ///< as the model likes
  required,   ///< nothing else
};

/// Whether an answer begins with reasoning. `automatic` is the model's own habit.
enum class Thinking { automatic, on, off };

/// All that a prompt format renders.
struct Chat {
  std::vector<Message> messages;
  std::vector<Tool> tools;
  ToolChoice tool_choice = ToolChoice::automatic;
  std::string tool_name;            ///< required: the only one to call; empty: any
  bool parallel_tool_calls = true;  ///< an answer may have several calls
  Thinking thinking = Thinking::automatic;
  std::string reasoning_effort;  ///< "", "high" or "max" where the generation knows it
  json::Value response_format;   ///< null, or the request's object: told to models that know it
};

}  // namespace hadal::engine_api
