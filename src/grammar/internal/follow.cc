#include "grammar/internal/follow.h"

#include <algorithm>

namespace hadal::grammar::internal {
namespace {

using Bytes = std::bitset<256>;

constexpr size_t kStepsMax = 200'000;

Bytes bytes_of(const Automaton& a, const Automaton::State& s) {
  Bytes out;
  for (const auto& e : a.edges_of(s)) {
    for (uint32_t b = e.low; b <= e.high && b < 256; ++b) out.set(b);
  }
  return out;
}

/// Sets that grow along arrows until nothing changes.
class Flow {
 public:
  explicit Flow(size_t size) : sets(size), arrows_(size) {}

  void arrow(uint32_t from, uint32_t to) { arrows_[from].push_back(to); }
  // False when it takes too long.
  bool run() {
    std::vector<uint32_t> changed(sets.size());
    for (uint32_t i = 0; i < changed.size(); ++i) changed[i] = i;
    for (size_t steps = 0; !changed.empty();) {
      const uint32_t i = changed.back();
      changed.pop_back();
      for (const uint32_t to : arrows_[i]) {
        if (++steps > kStepsMax) return false;
        const Bytes grown = sets[to] | sets[i];
        if (grown == sets[to]) continue;
        sets[to] = grown;
        changed.push_back(to);
      }
    }
    return true;
  }

  std::vector<Bytes> sets;

 private:
  std::vector<std::vector<uint32_t>> arrows_;
};

}  // namespace

std::vector<Bytes> follow_sets(const Automaton& a) {
  const std::vector<Bytes> all(a.rules.size(), Bytes().set());
  Flow first(a.rules.size());
  for (uint32_t r = 0; r < a.rules.size(); ++r) {
    const auto& start = a.states[a.rules[r].start];
    first.sets[r] = bytes_of(a, start);
    for (const auto& c : a.calls_of(start)) first.arrow(c.rule, r);
  }
  if (!first.run()) return all;
  Flow follow(a.rules.size());
  size_t steps = 0;
  for (const auto& s : a.states) {
    for (const auto& c : a.calls_of(s)) {
      const auto& next = a.states[c.target];
      Bytes& out = follow.sets[c.rule];
      out |= bytes_of(a, next);
      for (const auto& again : a.calls_of(next)) out |= first.sets[again.rule];
      steps += next.calls_end - next.calls;
      if (next.ticks) out |= first.sets[s.rule];
      if (next.accepts || next.ticks) follow.arrow(s.rule, c.rule);
    }
    if (steps > kStepsMax) return all;
  }
  return follow.run() ? follow.sets : all;
}

void mark_plain(Automaton& a, const std::vector<bool>& deterministic) {
  std::vector<std::vector<uint32_t>> into(a.states.size());
  std::vector<uint32_t> found;
  const auto mark = [&](uint32_t i) {
    if (!a.states[i].plain) return;
    a.states[i].plain = false;
    found.push_back(i);
  };
  for (auto& s : a.states) s.plain = true;
  for (uint32_t i = 0; i < a.states.size(); ++i) {
    const auto& s = a.states[i];
    for (const auto& e : a.edges_of(s)) into[e.target].push_back(i);
    // The end of a round leads to the start too: from one that also goes on there are two ways.
    if (s.ticks) into[a.rules[s.rule].start].push_back(i);
    const bool forks = s.ticks && s.edges != s.edges_end;
    if (s.calls != s.calls_end || forks || !deterministic[s.rule]) mark(i);
  }
  while (!found.empty()) {
    const uint32_t i = found.back();
    found.pop_back();
    for (const uint32_t from : into[i]) mark(from);
  }
}

}  // namespace hadal::grammar::internal
