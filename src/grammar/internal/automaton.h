#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"

namespace hadal::grammar::internal {

/// Symbols are the bytes 0..255 and, from here on, the special tokens of Automaton::tokens.
inline constexpr uint32_t kFirstToken = 256;

/// A grammar ready to run: a finite automaton for each rule, whose states read symbols and call
/// other rules. Nothing in it is a dead end: from each state some text leads to an end.
///
/// A rule that counts is a repetition {min,max}: its automaton reads one round, a state that
/// `ticks` has read one whole, and then the next begins at `start` with the count one higher. Other
/// rules end in states that `accept`.
///
/// A rule is only called where it reads something: what calls a rule that may be empty can also go
/// on without it. Nothing leads back to a rule's start but a new call or round.
struct Automaton {
  struct Edge {
    uint16_t low;
    uint16_t high;  ///< inclusive
    uint32_t target;
  };
  struct Call {
    uint32_t rule;
    uint32_t target;  ///< where to go on after it
  };
  struct State {
    uint32_t edges = 0;  ///< where its edges begin
    uint32_t edges_end = 0;
    uint32_t calls = 0;
    uint32_t calls_end = 0;
    uint32_t rule = 0;
    bool accepts = false;
    bool ticks = false;
    bool plain = false;  ///< from here on each symbol is read in one way, and no rule is called
  };
  struct Rule {
    uint32_t start = 0;
    bool counts = false;
    uint32_t min = 0;
    uint32_t max = 0;
    std::bitset<256> follow;  ///< bytes that may come right after its end, or more
  };

  std::vector<State> states;
  std::vector<Edge> edges;  ///< of a state by `low`; they overlap only in states that are not plain
  std::vector<Call> calls;
  std::vector<Rule> rules;          ///< the first is the root
  std::vector<std::string> tokens;  ///< texts of the special tokens that it reads

  std::span<const Edge> edges_of(const State& s) const {
    return std::span(edges).subspan(s.edges, s.edges_end - s.edges);
  }
  std::span<const Call> calls_of(const State& s) const {
    return std::span(calls).subspan(s.calls, s.calls_end - s.calls);
  }
  /// Whether a rule can only end in this state.
  bool only_accepts(const State& s) const {
    return s.accepts && s.edges == s.edges_end && s.calls == s.calls_end;
  }
  size_t bytes() const;
};

/// Compiles `grammar`. `has_token` says whether a special token exists; one that does not is read
/// as text. Errors: invalid_argument when nothing matches the grammar; too_large beyond `limits`.
Result<Automaton> compile(const Grammar& grammar,
                          const std::function<bool(std::string_view)>& has_token,
                          const Limits& limits);

}  // namespace hadal::grammar::internal
