#include "prompt/prompt_format.h"

#include <array>
#include <utility>

#include "prompt/internal/answer_writer.h"
#include "prompt/internal/formats.h"
#include "prompt/internal/markup_parser.h"
#include "prompt/internal/piece_builder.h"

namespace hadal::prompt {
namespace {

const std::array kFormats = {
    &deepseek_coder,      &deepseek_llm, &deepseek_v2,  &deepseek_v25,
    &deepseek_v3,         &deepseek_r1,  &deepseek_v31, &deepseek_v32,
    &deepseek_v4_preview, &deepseek_v4,  &deepseek_v41,
};

}  // namespace

std::string Rendered::text() const {
  std::string out;
  for (const Piece& p : pieces) out += p.text;
  return out;
}

Result<Rendered> PromptFormat::render_fim(std::string_view /*prefix*/,
                                          std::string_view /*suffix*/) const {
  return unsupported("models of the format " + std::string(name()) +
                     " cannot fill in the middle of a text")
      .about("suffix");
}

std::unique_ptr<AnswerParser> PromptFormat::make_parser(const Rendered& rendered) const {
  return make_markup_parser(markup(rendered), rendered.starts_in_reasoning);
}

Result<grammar::Expr> PromptFormat::write_answers(grammar::Grammar& grammar,
                                                  const engine_api::Chat& chat,
                                                  const Rendered& rendered,
                                                  std::optional<grammar::RuleId> content) const {
  AnswerWriter writer(grammar, markup(rendered), chat);
  return writer.write(rendered.starts_in_reasoning, content);
}

Rendered fim_prompt(std::string_view prefix, std::string_view suffix) {
  PieceBuilder out;
  out.special(kBos);
  out.special("<｜fim▁begin｜>");
  out.text(prefix);
  out.special("<｜fim▁hole｜>");
  out.text(suffix);
  out.special("<｜fim▁end｜>");
  return {.pieces = out.take(), .stop_specials = {std::string(kEos), std::string(kEot)}};
}

const PromptFormat* find_format(std::string_view name) {
  for (const auto format : kFormats) {
    if (format().name() == name) return &format();
  }
  return nullptr;
}

std::span<const std::string_view> format_names() {
  static const auto names = [] {
    std::array<std::string_view, kFormats.size()> out;
    for (size_t i = 0; i < out.size(); ++i) out[i] = kFormats[i]().name();
    return out;
  }();
  return names;
}

}  // namespace hadal::prompt
