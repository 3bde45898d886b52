#include <string>

#include "prompt/internal/conversation.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {
namespace {

// Source: encoding_dsv32.py of DeepSeek-V3.2, between here and the list of functions.
constexpr std::string_view kToolsHead =
    "## Tools\n"
    "\n"
    "You have access to a set of tools you can use to answer the user's question.\n"
    "You can invoke functions by writing a \"<｜DSML｜function_calls>\" block like the "
    "following as part of your reply to the user:\n"
    "<｜DSML｜function_calls>\n"
    "<｜DSML｜invoke name=\"$FUNCTION_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" "
    "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "<｜DSML｜invoke name=\"$FUNCTION_NAME2\">\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "</｜DSML｜function_calls>\n"
    "\n"
    "String and scalar parameters should be specified as is without any escaping or quotes, "
    "while lists and objects should use JSON format. The \"string\" attribute should be set "
    "to \"true\" for string type parameters and \"false\" for other types (numbers, "
    "booleans, arrays, objects).\n"
    "\n"
    "If the thinking_mode is enabled, then after function results you should strongly "
    "consider outputting a thinking block. Here is an example:\n"
    "\n"
    "<｜DSML｜function_calls>\n"
    "...\n"
    "</｜DSML｜function_calls>\n"
    "\n"
    "<function_results>\n"
    "...\n"
    "</function_results>\n"
    "\n"
    "<think>...thinking about results</think>\n"
    "\n"
    "Here are the functions available in JSONSchema format:\n"
    "<functions>\n";

/// DeepSeek-V3.2: V3.1's turns with DSML calls; it may reason again after their results.
/// Source: encoding_dsv32.py of DeepSeek-V3.2.
class V32Format final : public PromptFormat {
 public:
  std::string_view name() const override { return "deepseek-v3.2"; }

  Result<Rendered> render(const Chat& chat) const override {
    TRY_VOID(check_conversation(chat));
    Rendered rendered;
    rendered.offers_tools = !chat.tools.empty();
    rendered.stop_specials = {std::string(kEos), std::string(kUser)};
    PieceBuilder out;
    out.special(kBos);
    TRY_VOID(append_system(out, chat));
    const bool thinking = chat.thinking == Thinking::on;
    size_t last_user = 0;
    for (size_t i = 0; i < chat.messages.size(); ++i) {
      if (chat.messages[i].role == Role::user) last_user = i;
    }
    // What the header before an assistant's turn opened: <think>, or </think> for none.
    bool reasoning = false;
    for (size_t i = 0; i < chat.messages.size(); ++i) {
      const Message& m = chat.messages[i];
      if (is_system(m)) continue;
      if (m.role != Role::assistant) {
        const bool opens = append_input(out, chat, i);
        if (opens) reasoning = thinking && i >= last_user;
        if (opens) out.special(reasoning ? kThink : kEndThink);
      } else {
        TRY(reasoning, append_answer(out, m, i, reasoning));
      }
    }
    rendered.starts_in_reasoning = reasoning;
    rendered.pieces = out.take();
    return rendered;
  }

  Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const override {
    return fim_prompt(prefix, suffix);
  }

  AnswerMarkup markup(const Rendered& rendered) const override {
    return {.dsml = rendered.offers_tools ? &kDsmlV32 : nullptr};
  }

 private:
  static Status append_system(PieceBuilder& out, const Chat& chat) {
    out.text(joined_system(chat));
    if (!chat.tools.empty()) {
      out.text("\n\n");
      out.markup(kToolsHead);
      for (const engine_api::Tool& tool : chat.tools) {
        out.text(json::dump(tool_json(tool), json::Style::spaced) + "\n");
      }
      out.text("</functions>\n");
    }
    TRY(const auto schema, response_schema(chat));
    if (schema) append_response_format(out, *schema);
    return {};
  }

  // A user's or a tool's message; true when an answer begins after it.
  static bool append_input(PieceBuilder& out, const Chat& chat, size_t i) {
    const auto& messages = chat.messages;
    if (messages[i].role == Role::user) {
      out.special(kUser);
      out.text(messages[i].content);
      out.special(kAssistant);
      return true;
    }
    if (messages[i - 1].role != Role::tool) out.text("\n\n<function_results>");
    out.text("\n<result>" + messages[i].content + "</result>");
    if (i + 1 < messages.size() && messages[i + 1].role == Role::tool) return false;
    out.text("\n</function_results>\n\n");
    return true;
  }

  // An assistant's message; true when the prompt ends inside its reasoning.
  static Result<bool> append_answer(PieceBuilder& out, const Message& m, size_t i, bool reasoning) {
    if (reasoning) {
      out.text(m.reasoning_content);
      if (m.prefix && m.content.empty()) return true;
      out.special(kEndThink);
    }
    out.text(m.content);
    if (!m.tool_calls.empty()) {
      TRY_VOID(append_dsml_calls(out, m, i, kDsmlV32, BadArguments::refuse));
    }
    if (!m.prefix) out.special(kEos);
    return false;
  }
};

}  // namespace

const PromptFormat& deepseek_v32() {
  static const V32Format format;
  return format;
}

}  // namespace hadal::prompt
