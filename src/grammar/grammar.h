#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/char_set.h"

namespace hadal::grammar {

/// Names an expression or a rule of one Grammar.
enum class Expr : uint32_t {};
enum class RuleId : uint32_t {};

/// No upper bound of a repetition.
inline constexpr uint32_t kUnbounded = UINT32_MAX;

/// What a grammar may cost at most, from its text to its automaton. All of it is checked before it
/// is spent, so that no text takes more than some tens of milliseconds and megabytes.
struct Limits {
  size_t text_bytes_max = 256 << 10;  ///< of an EBNF text, of a schema
  size_t exprs_max = 1 << 17;
  size_t nesting_max = 64;  ///< of brackets in a text, of schemas in each other
  size_t states_max = 1 << 16;
  size_t edges_max = 1 << 19;
  size_t work_max = 1 << 21;  ///< steps of the compiler, and before it of reading schemas
};

/// A context-free grammar over bytes: rules made of expressions. It may be ambiguous and recursive
/// on any side. Build the parts of an expression before the whole; use each part once, and a rule
/// for what is wanted several times. Threading: a value.
class Grammar {
 public:
  enum class Kind : uint8_t { literal, characters, text, token, rule, sequence, choice, repeat };

  /// One expression. `parts` are the inner expressions.
  struct Node {
    Kind kind = Kind::sequence;
    uint16_t depth = 1;  ///< of expressions in each other
    uint32_t index = 0;  ///< which literal, set, list of words, token or rule
    uint32_t min = 0;    ///< repeat
    uint32_t max = 0;    ///< repeat; kUnbounded
    std::vector<Expr> parts;
  };
  struct Rule {
    std::string name;
    Expr body{};
    bool defined = false;
  };

  /// Exactly these bytes; none: the empty text.
  Expr literal(std::string_view bytes);
  /// One character of the set, in UTF-8. An empty set matches nothing.
  Expr characters(CharSet set);
  /// Any bytes in which none of the words is found. No word may be empty.
  Expr text_without(std::vector<std::string> words);
  /// The special token of that text; where a vocabulary has none, the text itself.
  Expr token(std::string_view text);
  Expr rule(RuleId id);
  Expr sequence(std::vector<Expr> parts);
  /// One of the parts; none: nothing matches.
  Expr choice(std::vector<Expr> parts);
  /// From `min` to `max` times `part`.
  Expr repeat(Expr part, uint32_t min, uint32_t max);
  Expr optional(Expr part) { return repeat(part, 0, 1); }

  /// A rule, whose body may be defined later; names are for messages and need not differ.
  RuleId add_rule(std::string name);
  RuleId add_rule(std::string name, Expr body);
  void define(RuleId rule, Expr body);
  /// The rule that a text must match.
  void set_root(RuleId rule) { root_ = rule; }

  /// Errors: too_large when there are more expressions than `limits` allow, or they lie too deep in
  /// each other. Whoever builds from untrusted text asks now and then.
  Status check_size(const Limits& limits) const;

  RuleId root() const { return root_; }
  std::span<const Rule> rules() const { return rules_; }
  const Rule& at(RuleId rule) const { return rules_[static_cast<size_t>(rule)]; }
  std::span<const Node> nodes() const { return nodes_; }
  const Node& at(Expr expr) const { return nodes_[static_cast<size_t>(expr)]; }
  const std::string& literal_of(const Node& node) const { return literals_[node.index]; }
  const CharSet& set_of(const Node& node) const { return sets_[node.index]; }
  std::span<const std::string> words_of(const Node& node) const { return words_[node.index]; }

 private:
  Expr add(Node node);

  std::vector<Node> nodes_;
  std::vector<Rule> rules_;
  std::vector<std::string> literals_;  ///< and texts of tokens
  std::vector<CharSet> sets_;
  std::vector<std::vector<std::string>> words_;
  RuleId root_{};
  size_t bytes_ = 0;  ///< of literals, words and ranges
  size_t depth_ = 0;
};

}  // namespace hadal::grammar
