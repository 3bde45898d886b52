#include <algorithm>

#include "prompt/internal/conversation.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {
namespace {

constexpr std::string_view kDefaultSystem =
    "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by "
    "Deepseek Company, and you only answer questions related to computer science. For politically "
    "sensitive questions, security and privacy issues, and other non-computer science questions, "
    "you will refuse to answer\n";

/// The first DeepSeek-Coder: "### Instruction:" and "### Response:".
/// Source: tokenizer_config.json of deepseek-coder-6.7b-instruct.
class CoderFormat final : public PromptFormat {
 public:
  std::string_view name() const override { return "deepseek-coder"; }

  Result<Rendered> render(const Chat& chat) const override {
    TRY_VOID(check_conversation(chat, {.tools = false}));
    if (chat.thinking == Thinking::on) {
      return unsupported("this model does not reason before it answers").about("thinking");
    }
    PieceBuilder out;
    out.special(kBos);
    if (std::ranges::none_of(chat.messages, is_system)) out.text(kDefaultSystem);
    bool asked = false;
    for (const Message& m : chat.messages) {
      if (is_system(m)) {
        out.text(m.content);
      } else if (m.role == Role::user) {
        out.text("### Instruction:\n" + m.content + "\n");
      } else {
        out.text("### Response:\n" + m.content);
        asked = m.prefix;
        if (asked) continue;
        out.text("\n");
        out.special(kEot);
        out.text("\n");
      }
    }
    if (!asked) out.text("### Response:\n");
    return Rendered{.pieces = out.take(), .stop_specials = {std::string(kEot), std::string(kEos)}};
  }

  Result<Rendered> render_fim(std::string_view prefix, std::string_view suffix) const override {
    return fim_prompt(prefix, suffix);
  }

  AnswerMarkup markup(const Rendered& /*rendered*/) const override { return {.reasoning = false}; }
};

}  // namespace

const PromptFormat& deepseek_coder() {
  static const CoderFormat format;
  return format;
}

}  // namespace hadal::prompt
