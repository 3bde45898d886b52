#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "json/json.h"
#include "prompt/internal/conversation.h"
#include "prompt/internal/piece_builder.h"

namespace hadal::prompt {

/// The words of the tags that write tool calls since V3.2: <｜DSML｜block>, <｜DSML｜invoke
/// name="f">, <｜DSML｜parameter name="p" string="true|false">value</｜DSML｜parameter>. DSML has
/// no escapes. Source: encoding_dsv32.py of DeepSeek-V3.2, encoding_dsv4.py of DeepSeek-V4-Pro,
/// encoding_dsv41.py of DeepSeek-V4.1-Flash.
struct DsmlTags {
  std::string_view block;
  std::string_view invoke;
  std::string_view parameter;
};
inline constexpr DsmlTags kDsmlV32{"function_calls", "invoke", "parameter"};
inline constexpr DsmlTags kDsmlV4{"tool_calls", "invoke", "parameter"};
inline constexpr DsmlTags kDsmlV41{" calls", " invoke", " parameter"};

/// "</" and "invoke" and ">" make "</｜DSML｜invoke>".
std::string dsml_tag(std::string_view open, std::string_view word, std::string_view rest = {});

/// What to do with a call whose arguments are no JSON object.
enum class BadArguments {
  refuse,
  wrap,  ///< as one parameter called "arguments"
};

/// Appends the calls of messages[index] as a DSML block. Errors: invalid_argument for arguments
/// that are no JSON object.
Status append_dsml_calls(PieceBuilder& out, const Message& message, size_t index,
                         const DsmlTags& tags, BadArguments bad);

/// Appends "## Response Format" with the schema that answers must follow.
void append_response_format(PieceBuilder& out, const json::Value& schema);

/// Reads what stands inside an invoke tag, from `name="..."` to before its end tag. The arguments
/// become JSON: a value that says it is none of a string stays as it is, unless it is no JSON.
/// Nothing when there is no name.
std::optional<engine_api::ToolCall> parse_dsml_call(std::string_view body, const DsmlTags& tags);

/// Reads what stands between the begin and end tokens of a call, in the form of V2.5 to R1
/// ("function" sep name, fenced JSON) or of V3.1 (name sep JSON). Nothing when there is no name.
std::optional<engine_api::ToolCall> parse_token_call(std::string_view body);

}  // namespace hadal::prompt
