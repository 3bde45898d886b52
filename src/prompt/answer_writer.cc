#include "prompt/internal/answer_writer.h"

#include <utility>

namespace hadal::prompt {

using engine_api::Tool;
using engine_api::ToolChoice;
using grammar::CharSet;
using grammar::Expr;
using grammar::RuleId;

AnswerWriter::AnswerWriter(grammar::Grammar& grammar, const AnswerMarkup& markup,
                           const engine_api::Chat& chat)
    : g_(grammar), markup_(markup), chat_(chat), json_(grammar) {}

Result<Expr> AnswerWriter::write(bool starts_in_reasoning, std::optional<RuleId> content) {
  std::vector<Expr> parts;
  if (starts_in_reasoning) parts.push_back(reasoning());
  const bool may_call = markup_.token_calls || markup_.dsml != nullptr;
  if (chat_.tool_choice == ToolChoice::required) {
    if (!may_call) return invalid_argument("there is no tool to call").about("tool_choice");
    TRY(const Expr only, calls());
    parts.push_back(only);
  } else if (content) {
    if (markup_.trims_one_blank) parts.push_back(g_.optional(text(" ")));
    std::vector<Expr> ways{g_.rule(*content)};
    if (may_call) {
      TRY(const Expr instead, calls());
      ways.push_back(instead);
    }
    parts.push_back(g_.choice(std::move(ways)));
  } else {
    parts.push_back(free_text());
    if (may_call) {
      TRY(const Expr behind, calls());
      parts.push_back(g_.optional(behind));
    }
  }
  return g_.sequence(std::move(parts));
}

// Up to the end of the reasoning, and the line breaks behind it that are no content.
Expr AnswerWriter::reasoning() {
  std::vector<std::string> words = call_markers();
  words.emplace_back(kEndThink);
  const Expr thoughts = g_.text_without(std::move(words));
  const Expr end = g_.token(kEndThink);
  if (!markup_.trims_line_breaks) return g_.sequence({thoughts, end});
  return g_.sequence({thoughts, end, g_.repeat(text("\n"), 0, 2)});
}

Expr AnswerWriter::free_text() { return g_.text_without(call_markers()); }

// What the parser takes for the begin of a call, spelled as text.
std::vector<std::string> AnswerWriter::call_markers() const {
  if (markup_.dsml != nullptr) return {dsml_tag("<", markup_.dsml->block, ">")};
  if (!markup_.token_calls) return {};
  return {std::string(kCallsBegin), std::string(kCallBegin)};
}

Result<Expr> AnswerWriter::calls() {
  return markup_.dsml != nullptr ? dsml_calls() : token_calls();
}

Result<Expr> AnswerWriter::token_calls() {
  TRY(const Expr body, token_call());
  const RuleId call = g_.add_rule("call", body);
  std::vector<Expr> parts{g_.token(kCallsBegin), g_.rule(call)};
  if (chat_.parallel_tool_calls) {
    const Expr between = text(markup_.fenced_calls ? "\n" : "");
    const Expr next = g_.sequence({between, g_.rule(call)});
    parts.push_back(g_.repeat(next, 0, grammar::kUnbounded));
  }
  parts.push_back(g_.token(kCallsEnd));
  return g_.sequence(std::move(parts));
}

Result<Expr> AnswerWriter::token_call() {
  const Expr begin = g_.token(kCallBegin);
  TRY(const Expr one, choose_tool(&AnswerWriter::token_call_of));
  return g_.sequence({begin, one, g_.token(kCallEnd)});
}

Result<Expr> AnswerWriter::token_call_of(size_t tool) {
  const Expr name = text(chat_.tools[tool].name);
  const Expr sep = g_.token(kCallSep);
  TRY(const Expr args, arguments(tool));
  if (!markup_.fenced_calls) return g_.sequence({name, sep, args});
  return g_.sequence({text("function"), sep, name, text("\n```json\n"), args, text("\n```")});
}

// One of the tools that may be called.
Result<Expr> AnswerWriter::choose_tool(Result<Expr> (AnswerWriter::*write_one)(size_t)) {
  std::vector<Expr> ways;
  for (size_t i = 0; i < chat_.tools.size(); ++i) {
    if (!chat_.tool_name.empty() && chat_.tools[i].name != chat_.tool_name) continue;
    TRY(const Expr way, (this->*write_one)(i));
    ways.push_back(way);
  }
  return g_.choice(std::move(ways));
}

std::string AnswerWriter::place_of(size_t tool) {
  return "tools[" + std::to_string(tool) + "].function.parameters";
}

// A function without parameters is called with none.
const json::Value& AnswerWriter::parameters_of(size_t tool) const {
  static const json::Value none(json::Object{{"type", "object"}, {"additionalProperties", false}});
  const json::Value& given = chat_.tools[tool].parameters;
  return given.is_null() ? none : given;
}

// Strict parameters must be; others are, where they can be.
bool AnswerWriter::is_enforced(size_t tool) const {
  if (chat_.tools[tool].strict) return true;
  grammar::Grammar trial;
  grammar::JsonGrammar json(trial);
  if (markup_.dsml == nullptr) return json.value(parameters_of(tool), "").has_value();
  return json.members(parameters_of(tool), "", "end").has_value();
}

Result<Expr> AnswerWriter::arguments(size_t tool) {
  if (!is_enforced(tool)) return json_.any_object();
  auto out = json_.value(parameters_of(tool), place_of(tool));
  if (!out) return std::move(out).error().about(place_of(tool));
  return out;
}

Expr AnswerWriter::dsml_tag_of(std::string_view open, std::string_view word,
                               std::string_view rest) {
  std::string after(word);
  after += rest;
  return g_.sequence({text(open), g_.token(kDsml), text(after)});
}

Result<Expr> AnswerWriter::dsml_calls() {
  const DsmlTags& t = *markup_.dsml;
  const Expr begin = g_.sequence({g_.optional(text("\n\n")), dsml_tag_of("<", t.block, ">\n")});
  TRY(const Expr call, choose_tool(&AnswerWriter::dsml_call_of));
  const Expr all = g_.repeat(call, 1, chat_.parallel_tool_calls ? grammar::kUnbounded : 1);
  return g_.sequence({begin, all, dsml_tag_of("</", t.block, ">")});
}

Result<Expr> AnswerWriter::dsml_call_of(size_t tool) {
  const DsmlTags& t = *markup_.dsml;
  const Expr begin = dsml_tag_of("<", t.invoke, " name=\"" + chat_.tools[tool].name + "\">\n");
  TRY(const Expr parameters, dsml_parameters(tool));
  return g_.sequence({begin, parameters, text("\n"), dsml_tag_of("</", t.invoke, ">\n")});
}

// One parameter a line, in the order of the schema.
Result<Expr> AnswerWriter::dsml_parameters(size_t tool) {
  if (!is_enforced(tool)) return dsml_any_parameters();
  const std::string end = dsml_tag("</", markup_.dsml->parameter);
  auto found = json_.members(parameters_of(tool), place_of(tool), end);
  if (!found) return std::move(found).error().about(place_of(tool));
  if (found->members.empty() && found->others_allowed) return dsml_any_parameters();
  // As in a JSON object: what stands first has no line break in front of it.
  Expr tail = text("");
  std::vector<Expr> firsts;
  size_t last_first = 0;
  const auto& members = found->members;
  while (last_first < members.size() && !members[last_first].required) ++last_first;
  for (size_t i = members.size(); i-- > 0;) {
    const auto& m = members[i];
    if (m.name.find_first_of("\"<>\n") != std::string::npos) {
      return invalid_argument(place_of(tool) + ": this model's tool calls cannot spell the name '" +
                              m.name + "'")
          .about(place_of(tool));
    }
    const RuleId after = g_.add_rule("parameters", tail);
    const RuleId one = g_.add_rule("parameter", dsml_parameter(text(m.name), m.text, m.value));
    if (i <= last_first) firsts.push_back(g_.sequence({g_.rule(one), g_.rule(after)}));
    const Expr next = g_.sequence({text("\n"), g_.rule(one)});
    tail = g_.sequence({m.required ? next : g_.optional(next), g_.rule(after)});
  }
  if (last_first == members.size()) firsts.push_back(text(""));
  return g_.choice(std::move(firsts));
}

Expr AnswerWriter::dsml_any_parameters() {
  const auto any = [&] {
    const Expr name = g_.repeat(
        g_.characters(CharSet{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {'-', '-'}}), 1, 64);
    const Expr bare = g_.text_without({dsml_tag("</", markup_.dsml->parameter)});
    return dsml_parameter(name, bare, json_.any_value_but_string());
  };
  const Expr first = any();
  const Expr next = g_.sequence({text("\n"), any()});
  return g_.optional(g_.sequence({first, g_.repeat(next, 0, grammar::kUnbounded)}));
}

Expr AnswerWriter::dsml_parameter(Expr name, Expr bare, Expr value) {
  const DsmlTags& t = *markup_.dsml;
  const Expr begin =
      g_.sequence({dsml_tag_of("<", t.parameter, " name=\""), name, text("\" string=\"")});
  const Expr as_text = g_.sequence({text("true\">"), bare});
  const Expr as_json = g_.sequence({text("false\">"), value});
  return g_.sequence({begin, g_.choice({as_text, as_json}), dsml_tag_of("</", t.parameter, ">")});
}

}  // namespace hadal::prompt
