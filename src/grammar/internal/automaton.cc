#include "grammar/internal/automaton.h"

#include <algorithm>
#include <utility>

#include "grammar/internal/facts.h"
#include "grammar/internal/follow.h"
#include "grammar/internal/nfa.h"
#include "grammar/internal/subset.h"

namespace hadal::grammar::internal {
namespace {

/// Puts the automata of all rules together and takes out what leads nowhere.
class Assembly {
 public:
  void add(const Unit& unit, Dfa&& dfa) {
    const auto first = static_cast<uint32_t>(states_.size());
    out_.rules.push_back({.start = first, .counts = unit.counts, .min = unit.min, .max = unit.max});
    deterministic_.push_back(dfa.is_deterministic);
    for (Dfa::State& s : dfa.states) {
      for (Dfa::Edge& e : s.edges) e.target += first;
      const bool is_start = &s == dfa.states.data();
      out_.states.push_back({.rule = static_cast<uint32_t>(out_.rules.size() - 1),
                             .accepts = !unit.counts && s.ends,
                             .ticks = unit.counts && s.ends && !is_start});
      edge_count_ += s.edges.size();
      states_.push_back(std::move(s));
    }
  }

  Status check(const Limits& limits) const {
    if (states_.size() <= limits.states_max && edge_count_ <= limits.edges_max) return {};
    return too_large("the grammar needs more than " + std::to_string(limits.states_max) +
                     " states or " + std::to_string(limits.edges_max) + " edges")
        .with_hint("use fewer rules, alternatives or enum values");
  }

  Result<Automaton> finish(std::vector<std::string> tokens) {
    find_useful();
    const Automaton::Rule& root = out_.rules[0];
    if (!useful_[root.start] && !out_.states[root.start].accepts) {
      return invalid_argument("nothing matches the grammar: every way through it is endless");
    }
    out_.tokens = std::move(tokens);
    for (size_t i = 0; i < states_.size(); ++i) {
      Automaton::State& s = out_.states[i];
      s.edges = static_cast<uint32_t>(out_.edges.size());
      s.calls = static_cast<uint32_t>(out_.calls.size());
      for (const Dfa::Edge& e : states_[i].edges) {
        if (!useful_[e.target] && !ends(e.target)) continue;
        if (e.low < kFirstCall) {
          out_.edges.push_back(
              {static_cast<uint16_t>(e.low), static_cast<uint16_t>(e.high), e.target});
        } else if (is_useful_rule(e.low - kFirstCall)) {
          out_.calls.push_back({e.low - kFirstCall, e.target});
        }
      }
      s.edges_end = static_cast<uint32_t>(out_.edges.size());
      s.calls_end = static_cast<uint32_t>(out_.calls.size());
    }
    mark_plain(out_, deterministic_);
    const auto follow = follow_sets(out_);
    for (size_t r = 0; r < out_.rules.size(); ++r) out_.rules[r].follow = follow[r];
    return std::move(out_);
  }

 private:
  bool ends(uint32_t state) const { return states_[state].ends; }
  bool is_useful_rule(uint32_t rule) const { return useful_[out_.rules[rule].start]; }

  // A state is useful when something that is not empty can be read from it to an end of its rule.
  // Each edge is looked at once when its target becomes useful, a call also when its rule does.
  void find_useful() {
    struct Use {
      uint32_t from;
      uint32_t low;
      uint32_t target;
    };
    std::vector<std::vector<Use>> into(states_.size());
    std::vector<std::vector<Use>> callers(out_.rules.size());
    useful_.assign(states_.size(), false);
    std::vector<uint32_t> found;
    const auto mark = [&](uint32_t state) {
      if (useful_[state]) return;
      useful_[state] = true;
      found.push_back(state);
    };
    const auto look = [&](const Use& use) {
      if (!useful_[use.target] && !ends(use.target)) return;
      if (use.low < kFirstCall || is_useful_rule(use.low - kFirstCall)) mark(use.from);
    };
    for (uint32_t i = 0; i < states_.size(); ++i) {
      for (const Dfa::Edge& e : states_[i].edges) {
        const Use use{i, e.low, e.target};
        into[e.target].push_back(use);
        if (e.low >= kFirstCall) callers[e.low - kFirstCall].push_back(use);
        if (e.low < kFirstCall && ends(e.target)) mark(i);
      }
    }
    while (!found.empty()) {
      const uint32_t state = found.back();
      found.pop_back();
      for (const Use& use : into[state]) look(use);
      const uint32_t rule = out_.states[state].rule;
      if (out_.rules[rule].start == state) {
        for (const Use& use : callers[rule]) look(use);
      }
    }
  }

  Automaton out_;
  std::vector<Dfa::State> states_;
  std::vector<bool> useful_;
  std::vector<bool> deterministic_;  ///< per rule
  size_t edge_count_ = 0;
};

}  // namespace

size_t Automaton::bytes() const {
  return states.size() * sizeof(State) + edges.size() * sizeof(Edge) + calls.size() * sizeof(Call) +
         rules.size() * sizeof(Rule);
}

Result<Automaton> compile(const Grammar& grammar,
                          const std::function<bool(std::string_view)>& has_token,
                          const Limits& limits) {
  TRY_VOID(grammar.check_size(limits));
  for (const Grammar::Rule& rule : grammar.rules()) {
    if (!rule.defined) return invalid_argument("there is no rule '" + rule.name + "'");
  }
  if (grammar.rules().empty()) return invalid_argument("the grammar has no rules");
  const Facts facts(grammar);
  NfaWriter writer(grammar, facts, has_token, limits);
  Assembly assembly;
  Work work(limits);
  for (size_t i = 0; i < writer.units().size(); ++i) {
    TRY(const Nfa nfa, writer.write(i));
    TRY(Dfa dfa, determinize(nfa, limits, work));
    assembly.add(writer.units()[i], std::move(dfa));
    TRY_VOID(assembly.check(limits));
  }
  return assembly.finish(writer.tokens());
}

}  // namespace hadal::grammar::internal
