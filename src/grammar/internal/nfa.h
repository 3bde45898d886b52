#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/internal/facts.h"

namespace hadal::grammar::internal {

/// Symbols from here on are calls of rules.
inline constexpr uint32_t kFirstCall = 1 << 31;

/// A finite automaton with empty moves that reads one rule.
struct Nfa {
  struct Edge {
    uint32_t from;
    uint32_t low;  ///< symbols: bytes, special tokens, calls
    uint32_t high;
    uint32_t target;
  };
  struct Move {
    uint32_t from;
    uint32_t target;
  };
  uint32_t states = 0;
  uint32_t start = 0;  ///< nothing leads to it
  uint32_t end = 0;
  std::vector<Edge> edges;
  std::vector<Move> moves;  ///< that read nothing
};

/// Something that the automaton calls: a rule of the grammar, or a repetition that counts.
struct Unit {
  Expr body{};
  bool counts = false;
  uint32_t min = 0;
  uint32_t max = 0;
  bool nullable = false;
};

/// Writes the rules of a grammar as NFAs and collects which they call.
/// Source: Thompson, "Regular expression search algorithm", CACM 1968; for words to be avoided
/// Aho and Corasick, "Efficient string matching", CACM 1975.
class NfaWriter {
 public:
  NfaWriter(const Grammar& grammar, const Facts& facts,
            const std::function<bool(std::string_view)>& has_token, const Limits& limits);

  /// What was found so far; the first is the root. A later write() may add to it.
  const std::vector<Unit>& units() const { return units_; }
  const std::vector<std::string>& tokens() const { return tokens_; }
  /// Errors: too_large.
  Result<Nfa> write(size_t unit);

 private:
  uint32_t state() { return nfa_.states++; }
  bool nullable(Expr e) const { return facts_.nullable[static_cast<size_t>(e)]; }
  uint32_t unit_of(Expr key, const Unit& unit);
  uint32_t emit(Expr expr, uint32_t from);
  uint32_t emit_literal(std::string_view bytes, uint32_t from);
  uint32_t emit_characters(const CharSet& set, uint32_t from);
  uint32_t emit_text(std::span<const std::string> words, uint32_t from);
  uint32_t emit_token(const std::string& text, uint32_t from);
  uint32_t emit_repeat(Expr expr, uint32_t from);
  uint32_t emit_call(Expr key, const Unit& unit, uint32_t from);
  uint32_t read(uint32_t from, uint32_t low, uint32_t high);

  const Grammar& grammar_;
  const Facts& facts_;
  const std::function<bool(std::string_view)>& has_token_;
  size_t size_max_;
  std::vector<Unit> units_;
  std::unordered_map<uint64_t, uint32_t> unit_ids_;  ///< by body, or by the repetition
  std::vector<std::string> tokens_;
  std::map<std::string, uint32_t, std::less<>> token_ids_;
  Nfa nfa_;
};

}  // namespace hadal::grammar::internal
