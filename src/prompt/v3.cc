#include <utility>

#include "prompt/internal/conversation.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {
namespace {

// What tells this layout's models apart.
struct Variant {
  std::string_view name;
  bool reasons;  ///< R1 and what was distilled from it
  bool fim;
};

/// DeepSeek-V2.5, V3 and R1: <｜User｜>, <｜Assistant｜>, calls and their results between tokens.
/// The templates of the first releases close a list of calls only when it has two, and open lists
/// only once in a conversation; this is the form of V3-0324 and R1-0528, which is the same where
/// those are well formed. Source: tokenizer_config.json of DeepSeek-V3, DeepSeek-R1-0528 and
/// DeepSeek-R1-Distill-Qwen-32B.
class V3Format final : public PromptFormat {
 public:
  explicit V3Format(const Variant& variant) : variant_(variant) {}

  std::string_view name() const override { return variant_.name; }

  Result<Rendered> render(const Chat& chat) const override {
    TRY_VOID(check_conversation(chat));
    if (chat.thinking == Thinking::on && !variant_.reasons) {
      return unsupported("this model does not reason before it answers").about("thinking");
    }
    Rendered rendered;
    rendered.offers_tools = !chat.tools.empty();
    rendered.stop_specials = {std::string(kEos), std::string(kUser)};
    PieceBuilder out;
    out.special(kBos);
    append_system(out, chat);
    const Message* last = nullptr;
    for (const Message* m : turns_of(chat)) {
      append_turn(out, *m, last);
      last = m;
    }
    if (last->role == Role::user) out.special(kAssistant);
    if (last->role == Role::tool) out.special(kOutputsEnd);
    if (variant_.reasons) rendered.starts_in_reasoning = append_thinking(out, chat, *last);
    if (last->prefix) out.text(last->content);
    rendered.pieces = out.take();
    return rendered;
  }

  Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const override {
    if (!variant_.fim) return PromptFormat::render_fim(prefix, suffix);
    return fim_prompt(prefix, suffix);
  }

  AnswerMarkup markup(const Rendered& rendered) const override {
    return {.token_calls = rendered.offers_tools,
            .fenced_calls = true,
            .trims_line_breaks = variant_.reasons};
  }

 private:
  // Source for the tools: README of DeepSeek-V2.5, "Function calling"; the templates have none.
  static void append_system(PieceBuilder& out, const Chat& chat) {
    std::string system = joined_system(chat);
    if (!chat.tools.empty()) {
      if (system.empty()) system = "You are a helpful Assistant.";
      system += "\n\n## Tools\n\n### Function\n\nYou have the following functions available:\n\n";
      for (const engine_api::Tool& tool : chat.tools) {
        system += "- `" + tool.name + "`:\n```json\n";
        // The README indents by four; a line break in the dump is never inside a string.
        bool indent = false;
        for (const char c : json::dump(tool_json(tool), json::Style::pretty)) {
          if (indent && c == ' ') system += ' ';
          indent = c == '\n' || (indent && c == ' ');
          system += c;
        }
        system += "\n```\n";
      }
    }
    out.text(system);
  }

  void append_turn(PieceBuilder& out, const Message& m, const Message* last) const {
    const bool after_results = last != nullptr && last->role == Role::tool;
    if (m.role == Role::tool) {
      if (after_results) {
        out.text("\n");
      } else {
        out.special(kOutputsBegin);
      }
      out.special(kOutputBegin);
      out.text(m.content);
      out.special(kOutputEnd);
      return;
    }
    if (after_results) out.special(kOutputsEnd);
    if (m.role == Role::user) {
      out.special(kUser);
      out.text(m.content);
      return;
    }
    if (!after_results) out.special(kAssistant);
    if (m.prefix) return;
    out.text(variant_.reasons ? after_reasoning(m.content) : m.content);
    if (!m.tool_calls.empty()) append_calls(out, m);
    out.special(kEos);
  }

  static void append_calls(PieceBuilder& out, const Message& m) {
    out.special(kCallsBegin);
    bool first = true;
    for (const engine_api::ToolCall& call : m.tool_calls) {
      if (!std::exchange(first, false)) out.text("\n");
      out.special(kCallBegin);
      out.text("function");
      out.special(kCallSep);
      out.text(call.name + "\n```json\n" + (call.arguments.empty() ? "{}" : call.arguments) +
               "\n```");
      out.special(kCallEnd);
    }
    out.special(kCallsEnd);
  }

  // How a reasoning model's answer begins; true when inside its reasoning. To spare the reasoning
  // it is written as empty: no template of these models does that, but they follow it.
  static bool append_thinking(PieceBuilder& out, const Chat& chat, const Message& last) {
    if (last.role == Role::tool) return false;
    const bool given = last.prefix && !last.content.empty();
    const bool off = chat.thinking == Thinking::off;
    if (given && last.reasoning_content.empty() && !off) return false;
    out.special(kThink);
    out.text("\n");
    if (last.prefix) out.text(last.reasoning_content);
    if (!given && !off) return true;
    out.text("\n");
    out.special(kEndThink);
    out.text("\n\n");
    return false;
  }

  Variant variant_;
};

}  // namespace

const PromptFormat& deepseek_v25() {
  static const V3Format format({.name = "deepseek-v2.5", .reasons = false, .fim = true});
  return format;
}

const PromptFormat& deepseek_v3() {
  static const V3Format format({.name = "deepseek-v3", .reasons = false, .fim = true});
  return format;
}

const PromptFormat& deepseek_r1() {
  static const V3Format format({.name = "deepseek-r1", .reasons = true, .fim = false});
  return format;
}

}  // namespace hadal::prompt
