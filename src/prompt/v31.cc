#include <string>

#include "prompt/internal/conversation.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {
namespace {

/// DeepSeek-V3.1 and V3.1-Terminus: one model that reasons or not; every turn says which. Calls are
/// shorter than V3's. Source: tokenizer_config.json and README of DeepSeek-V3.1.
class V31Format final : public PromptFormat {
 public:
  std::string_view name() const override { return "deepseek-v3.1"; }

  Result<Rendered> render(const Chat& chat) const override {
    TRY_VOID(check_conversation(chat));
    const bool thinking = chat.thinking == Thinking::on;
    if (thinking && !chat.tools.empty()) {
      return unsupported("DeepSeek-V3.1 calls tools only when it does not reason first")
          .about("thinking")
          .with_hint("turn thinking off or leave the tools out");
    }
    Rendered rendered;
    rendered.offers_tools = !chat.tools.empty();
    rendered.stop_specials = {std::string(kEos), std::string(kUser)};
    PieceBuilder out;
    out.special(kBos);
    out.text(joined_system(chat));
    if (!chat.tools.empty()) append_tools(out, chat);
    // After a tool's result the assistant goes on without a header.
    bool goes_on = false;
    for (const Message* m : turns_of(chat)) {
      if (m->prefix) break;
      append_turn(out, *m, goes_on);
      goes_on = m->role == Role::tool;
    }
    const Message& last = *turns_of(chat).back();
    if (!goes_on) {
      rendered.starts_in_reasoning = append_opening(out, last, thinking);
    } else if (last.prefix) {
      out.text(last.content);
    }
    rendered.pieces = out.take();
    return rendered;
  }

  Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const override {
    return fim_prompt(prefix, suffix);
  }

  AnswerMarkup markup(const Rendered& rendered) const override {
    return {.token_calls = rendered.offers_tools};
  }

 private:
  static void append_tools(PieceBuilder& out, const Chat& chat) {
    out.text("\n\n## Tools\nYou have access to the following tools:\n\n");
    for (const engine_api::Tool& tool : chat.tools) {
      const json::Value& parameters = tool.parameters;
      out.text("### " + tool.name + "\nDescription: " + tool.description + "\n\nParameters: ");
      out.text(parameters.is_null() ? "{}" : json::dump(parameters, json::Style::spaced));
      out.text("\n\n");
    }
    out.markup(
        "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments"
        "<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>\n\n"
        "Where:\n"
        "- `tool_call_name` must be an exact match to one of the available tools\n"
        "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters "
        "Schema\n"
        "- For multiple tool calls, chain them directly without separators or spaces\n");
  }

  static void append_turn(PieceBuilder& out, const Message& m, bool goes_on) {
    if (m.role == Role::user) {
      out.special(kUser);
      out.text(m.content);
      return;
    }
    if (m.role == Role::tool) {
      out.special(kOutputBegin);
      out.text(m.content);
      out.special(kOutputEnd);
      return;
    }
    if (!goes_on) {
      out.special(kAssistant);
      out.special(kEndThink);
    }
    out.text(after_reasoning(m.content));
    if (!m.tool_calls.empty()) {
      out.special(kCallsBegin);
      for (const engine_api::ToolCall& call : m.tool_calls) {
        out.special(kCallBegin);
        out.text(call.name);
        out.special(kCallSep);
        out.text(call.arguments.empty() ? "{}" : call.arguments);
        out.special(kCallEnd);
      }
      out.special(kCallsEnd);
    }
    out.special(kEos);
  }

  // Begins the answer; true when in its reasoning.
  static bool append_opening(PieceBuilder& out, const Message& last, bool thinking) {
    out.special(kAssistant);
    if (thinking) out.special(kThink);
    if (thinking && last.prefix) out.text(last.reasoning_content);
    if (thinking && (!last.prefix || last.content.empty())) return true;
    out.special(kEndThink);
    if (last.prefix) out.text(last.content);
    return false;
  }
};

}  // namespace

const PromptFormat& deepseek_v31() {
  static const V31Format format;
  return format;
}

}  // namespace hadal::prompt
