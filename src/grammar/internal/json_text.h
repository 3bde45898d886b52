#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/grammar.h"
#include "json/json.h"

namespace hadal::grammar::internal {

/// Writes the parts of JSON texts into a grammar; what is needed often becomes a rule once.
///
/// Texts are JSON (RFC 8259) of a habit that keeps models from running away: between tokens stands
/// nothing, one blank, or one line break with up to 24 blanks or tabs; numbers have at most 16
/// digits before and after the point and two in the exponent; an escaped surrogate comes in a pair.
class JsonText {
 public:
  explicit JsonText(Grammar& grammar) : g_(grammar) {}

  Expr space();
  /// A character inside of quotes, escaped or not. A new expression every time.
  Expr any_character();
  /// A character of the set inside of quotes: escaped where it must be, and only there.
  Expr character(const CharSet& set);
  /// A string of any characters.
  Expr string();
  Expr string(Expr inner);
  Expr integer();
  Expr number();
  Expr boolean();
  Expr null();
  Expr object();
  Expr array();
  Expr value();
  /// Exactly this value.
  Expr constant(const json::Value& value);

  /// "{", the members, "}"; `members` may be empty.
  Expr braces(Expr members, bool may_be_empty);
  Expr brackets(Expr items, bool may_be_empty);
  Expr comma();
  /// A quoted name, the colon, a value.
  Expr member(Expr name, Expr value);

 private:
  Expr use(std::optional<RuleId>& rule, const char* name, Expr (JsonText::*make)());
  Expr make_space();
  Expr make_string();
  Expr make_integer();
  Expr make_number();
  Expr make_object();
  Expr make_array();
  Expr make_value();
  Expr digits(uint32_t min, uint32_t max);
  Expr enclosed(const char* open, Expr inner, const char* close, bool may_be_empty);

  Grammar& g_;
  std::optional<RuleId> space_, string_, integer_, number_, object_, array_, value_;
};

}  // namespace hadal::grammar::internal
