#include "prompt/internal/tool_markup.h"

#include <utility>
#include <vector>

namespace hadal::prompt {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Takes everything before `end` and `end` itself off the front; nothing when it is not there.
std::optional<std::string_view> take_until(std::string_view& text, std::string_view end) {
  const size_t at = text.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view out = text.substr(0, at);
  text.remove_prefix(at + end.size());
  return out;
}

struct Parameter {
  std::string name;
  bool is_string = true;
  std::string value;
};

// A value that claims to be JSON and is none (a bare word, a cut list) is given as a string, so
// that the arguments stay JSON.
void append_value(std::string& out, const Parameter& p) {
  if (!p.is_string && json::parse(p.value)) {
    out += p.value;
  } else {
    json::append_quoted(out, p.value);
  }
}

std::optional<Parameter> parse_parameter(std::string_view& rest, const DsmlTags& tags) {
  if (!take_until(rest, dsml_tag("<", tags.parameter)) || !take_until(rest, "name=\"")) {
    return std::nullopt;
  }
  const auto name = take_until(rest, "\"");
  if (!name) return std::nullopt;
  const auto attributes = take_until(rest, ">");
  if (!attributes) return std::nullopt;
  const auto value = take_until(rest, dsml_tag("</", tags.parameter));
  if (!value) return std::nullopt;
  return Parameter{std::string(*name),
                   attributes->find("string=\"false\"") == std::string_view::npos,
                   std::string(*value)};
}

}  // namespace

std::string dsml_tag(std::string_view open, std::string_view word, std::string_view rest) {
  std::string out(open);
  out += kDsml;
  out += word;
  out += rest;
  return out;
}

Status append_dsml_calls(PieceBuilder& out, const Message& message, size_t index,
                         const DsmlTags& tags, BadArguments bad) {
  out.markup(dsml_tag("\n\n<", tags.block, ">\n"));
  for (size_t j = 0; j < message.tool_calls.size(); ++j) {
    const engine_api::ToolCall& call = message.tool_calls[j];
    auto arguments = json::parse(call.arguments.empty() ? "{}" : call.arguments);
    if (!arguments || !arguments->is_object()) {
      const std::string at = call_place(index, j, "arguments");
      if (bad == BadArguments::refuse) {
        return invalid_argument(at + ": the arguments must be a JSON object").about(at);
      }
      arguments = json::Value(json::Object{{"arguments", call.arguments}});
    }
    out.markup(dsml_tag("<", tags.invoke, " name=\""));
    out.text(call.name);
    out.text("\">\n");
    bool first = true;
    for (const auto& [key, value] : arguments->as_object()) {
      if (!std::exchange(first, false)) out.text("\n");
      out.markup(dsml_tag("<", tags.parameter, " name=\""));
      out.text(key);
      out.text(value.is_string() ? "\" string=\"true\">" : "\" string=\"false\">");
      out.text(value.is_string() ? value.as_string() : json::dump(value, json::Style::spaced));
      out.markup(dsml_tag("</", tags.parameter, ">"));
    }
    out.markup(dsml_tag("\n</", tags.invoke, ">\n"));
  }
  out.markup(dsml_tag("</", tags.block, ">"));
  return {};
}

void append_response_format(PieceBuilder& out, const json::Value& schema) {
  out.text(
      "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n" +
      json::dump(schema, json::Style::spaced));
}

std::optional<engine_api::ToolCall> parse_dsml_call(std::string_view body, const DsmlTags& tags) {
  std::string_view rest = body;
  if (!take_until(rest, "name=\"")) return std::nullopt;
  const auto name = take_until(rest, "\"");
  if (!name || name->empty()) return std::nullopt;
  std::vector<Parameter> parameters;
  while (auto p = parse_parameter(rest, tags)) {
    // As in any JSON object, of a repeated name the last value stays.
    std::erase_if(parameters, [&](const Parameter& old) { return old.name == p->name; });
    parameters.push_back(*std::move(p));
  }
  engine_api::ToolCall call;
  call.name = *name;
  call.arguments += '{';
  bool first = true;
  for (const Parameter& p : parameters) {
    if (!std::exchange(first, false)) call.arguments += ", ";
    json::append_quoted(call.arguments, p.name);
    call.arguments += ": ";
    append_value(call.arguments, p);
  }
  call.arguments += '}';
  return call;
}

std::optional<engine_api::ToolCall> parse_token_call(std::string_view body) {
  std::string_view rest = body;
  const auto before = take_until(rest, kCallSep);
  if (!before) return std::nullopt;
  std::string_view name = trim(*before);
  if (name == "function") {
    // The older form: the name is the line after the separator.
    const size_t line = rest.find('\n');
    const std::string_view older = trim(rest.substr(0, line));
    if (line != std::string_view::npos && !older.starts_with("{")) {
      name = older;
      rest.remove_prefix(line + 1);
    }
  }
  std::string_view arguments = trim(rest);
  if (arguments.starts_with("```")) {
    take_until(arguments, "\n");
    if (arguments.ends_with("```")) arguments.remove_suffix(3);
    arguments = trim(arguments);
  }
  if (name.empty()) return std::nullopt;
  return engine_api::ToolCall{
      .id = {}, .name = std::string(name), .arguments = std::string(arguments)};
}

}  // namespace hadal::prompt
