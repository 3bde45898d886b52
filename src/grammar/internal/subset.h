#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "grammar/internal/nfa.h"

namespace hadal::grammar::internal {

/// An automaton without empty moves.
struct Dfa {
  struct Edge {
    uint32_t low;
    uint32_t high;
    uint32_t target;
  };
  struct State {
    bool ends = false;
    std::vector<Edge> edges;  ///< by `low`
  };
  std::vector<State> states;     ///< the first is the start; nothing leads to it
  bool is_deterministic = true;  ///< no two edges of a state read the same symbol
};

/// Counts down what the compiler may spend. Errors: too_large.
class Work {
 public:
  explicit Work(const Limits& limits) : left_(limits.work_max) {}
  Status spend(size_t steps);

 private:
  size_t left_;
};

/// The automaton without empty moves; deterministic where it does not become several times larger
/// by it. Errors: too_large.
Result<Dfa> determinize(const Nfa& nfa, const Limits& limits, Work& work);

}  // namespace hadal::grammar::internal
