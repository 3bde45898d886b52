#include "prompt/internal/conversation.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {
namespace {

constexpr std::string_view kAsk = "Assistant:";

/// DeepSeek-LLM, -MoE, -V2 and Coder-V2: "User: ...\n\nAssistant: ...<eos>", in plain words.
/// Source: README and tokenizer_config.json of DeepSeek-V2-Chat.
class LlmFormat final : public PromptFormat {
 public:
  LlmFormat(std::string_view name, bool fim) : name_(name), fim_(fim) {}

  std::string_view name() const override { return name_; }

  Result<Rendered> render(const Chat& chat) const override {
    TRY_VOID(check_conversation(chat, {.tools = false}));
    if (chat.thinking == Thinking::on) {
      return unsupported("this model does not reason before it answers").about("thinking");
    }
    PieceBuilder out;
    out.special(kBos);
    bool asked = false;
    for (const Message& m : chat.messages) {
      if (m.role == Role::assistant) {
        out.text(kAsk);
        if (!m.content.empty() || !m.prefix) out.text(" ");
        out.text(m.content);
        if (!m.prefix) out.special(kEos);
        asked = m.prefix;
      } else {
        if (m.role == Role::user) out.text("User: ");
        out.text(m.content);
        out.text("\n\n");
      }
    }
    if (!asked) out.text(kAsk);
    return Rendered{.pieces = out.take(),
                    .trims_one_blank = !asked || chat.messages.back().content.empty(),
                    .stop_specials = {std::string(kEos)}};
  }

  Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const override {
    if (!fim_) return PromptFormat::render_fim(prefix, suffix);
    return fim_prompt(prefix, suffix);
  }

  AnswerMarkup markup(const Rendered& rendered) const override {
    return {.reasoning = false, .trims_one_blank = rendered.trims_one_blank};
  }

 private:
  std::string_view name_;
  bool fim_;
};

}  // namespace

const PromptFormat& deepseek_llm() {
  static const LlmFormat format("deepseek-llm", false);
  return format;
}

const PromptFormat& deepseek_v2() {
  static const LlmFormat format("deepseek-v2", true);
  return format;
}

}  // namespace hadal::prompt
