#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine_api/chat.h"
#include "grammar/grammar.h"
#include "grammar/json_schema.h"
#include "prompt/internal/markup_parser.h"

namespace hadal::prompt {

/// Writes a generation's answers as a grammar: what its parser reads, and nothing that it would
/// read otherwise. Special tokens are named; where a vocabulary lacks one, its text stands for it.
class AnswerWriter {
 public:
  /// All must outlive it.
  AnswerWriter(grammar::Grammar& grammar, const AnswerMarkup& markup, const engine_api::Chat& chat);

  /// See PromptFormat::write_answers.
  Result<grammar::Expr> write(bool starts_in_reasoning, std::optional<grammar::RuleId> content);

 private:
  using Expr = grammar::Expr;

  Expr text(std::string_view bytes) { return g_.literal(bytes); }
  Expr reasoning();
  Expr free_text();
  std::vector<std::string> call_markers() const;
  Result<Expr> calls();
  Result<Expr> token_calls();
  Result<Expr> token_call();
  Result<Expr> dsml_calls();
  Result<Expr> choose_tool(Result<Expr> (AnswerWriter::*write_one)(size_t));
  Result<Expr> token_call_of(size_t tool);
  Result<Expr> dsml_call_of(size_t tool);
  Result<Expr> arguments(size_t tool);
  Result<Expr> dsml_parameters(size_t tool);
  Expr dsml_any_parameters();
  Expr dsml_parameter(Expr name, Expr bare, Expr value);
  Expr dsml_tag_of(std::string_view open, std::string_view word, std::string_view rest);
  bool is_enforced(size_t tool) const;
  const json::Value& parameters_of(size_t tool) const;
  static std::string place_of(size_t tool);

  grammar::Grammar& g_;
  const AnswerMarkup markup_;
  const engine_api::Chat& chat_;
  grammar::JsonGrammar json_;
};

}  // namespace hadal::prompt
