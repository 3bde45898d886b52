#include "grammar/internal/subset.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace hadal::grammar::internal {
namespace {

using Subset = std::vector<uint32_t>;

// Entries of a list by the state that they leave.
template <class Item>
class BySource {
 public:
  BySource(uint32_t states, std::vector<Item> items)
      : items_(std::move(items)), begin_(states + 1) {
    std::ranges::stable_sort(items_, {}, &Item::from);
    for (const Item& item : items_) ++begin_[item.from + 1];
    for (size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
  }
  std::span<const Item> of(uint32_t state) const {
    return std::span(items_).subspan(begin_[state], begin_[state + 1] - begin_[state]);
  }

 private:
  std::vector<Item> items_;
  std::vector<size_t> begin_;
};

/// One run of the subset construction. Without `merges` each target stays a state of its own: then
/// there are no more states than the NFA has.
class Construction {
 public:
  Construction(const Nfa& nfa, bool merges, Work& work)
      : nfa_(nfa),
        merges_(merges),
        work_(work),
        edges_(nfa.states, nfa.edges),
        moves_(nfa.states, nfa.moves),
        reached_(nfa.states) {}

  // Errors: too_large beyond `states_max` or the work.
  Result<Dfa> run(size_t states_max) {
    TRY_VOID(find({nfa_.start}));
    for (size_t i = 0; i < subsets_.size(); ++i) {
      if (subsets_.size() > states_max) {
        return too_large("the grammar needs more than " + std::to_string(states_max) + " states");
      }
      TRY_VOID(leave(i));
    }
    dfa_.is_deterministic = merges_;
    return std::move(dfa_);
  }

 private:
  // The state for everything that is reached from `members` by reading nothing.
  Result<uint32_t> find(Subset members) {
    ++round_;
    Subset kept;
    for (const uint32_t m : members) reached_[m] = round_;
    for (size_t i = 0; i < members.size(); ++i) {
      const uint32_t m = members[i];
      for (const auto& move : moves_.of(m)) {
        if (std::exchange(reached_[move.target], round_) != round_) members.push_back(move.target);
      }
      if (m == nfa_.end || !edges_.of(m).empty()) kept.push_back(m);
    }
    TRY_VOID(work_.spend(members.size()));
    std::ranges::sort(kept);
    const auto [at, is_new] = ids_.emplace(kept, static_cast<uint32_t>(subsets_.size()));
    if (is_new) {
      dfa_.states.push_back({.ends = std::ranges::binary_search(kept, nfa_.end)});
      subsets_.push_back(&at->first);
    }
    return at->second;
  }

  // The edges of one state: between two neighbouring begins or ends of ranges nothing changes.
  Status leave(size_t state) {
    out_.clear();
    for (const uint32_t m : *subsets_[state]) {
      for (const Nfa::Edge& e : edges_.of(m)) out_.push_back({e.low, e.high, e.target});
    }
    if (!merges_ || out_.size() == 1) {
      for (const Dfa::Edge& e : out_) {
        TRY(const uint32_t target, find({e.target}));
        dfa_.states[state].edges.push_back({e.low, e.high, target});
      }
      std::ranges::sort(dfa_.states[state].edges, {}, &Dfa::Edge::low);
      return {};
    }
    std::ranges::sort(out_, {}, &Dfa::Edge::low);
    std::vector<uint32_t> cuts;
    for (const Dfa::Edge& e : out_) {
      cuts.push_back(e.low);
      cuts.push_back(e.high + 1);
    }
    std::ranges::sort(cuts);
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::vector<Dfa::Edge> open;
    size_t next = 0;
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      std::erase_if(open, [&](const Dfa::Edge& e) { return e.high < cuts[i]; });
      for (; next < out_.size() && out_[next].low == cuts[i]; ++next) open.push_back(out_[next]);
      if (open.empty()) continue;
      Subset targets;
      for (const Dfa::Edge& e : open) targets.push_back(e.target);
      std::ranges::sort(targets);
      targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
      TRY_VOID(work_.spend(open.size()));
      TRY(const uint32_t target, find(std::move(targets)));
      auto& edges = dfa_.states[state].edges;
      const uint32_t low = cuts[i];
      const uint32_t high = cuts[i + 1] - 1;
      if (low < kFirstCall && !edges.empty() && edges.back().high + 1 == low &&
          edges.back().target == target) {
        edges.back().high = high;
      } else {
        edges.push_back({low, high, target});
      }
    }
    return {};
  }

  const Nfa& nfa_;
  const bool merges_;
  Work& work_;
  const BySource<Nfa::Edge> edges_;
  const BySource<Nfa::Move> moves_;
  std::vector<uint32_t> reached_;  ///< per NFA state: the last round that saw it
  uint32_t round_ = 0;
  std::map<Subset, uint32_t> ids_;
  std::vector<const Subset*> subsets_;
  std::vector<Dfa::Edge> out_;
  Dfa dfa_;
};

}  // namespace

Status Work::spend(size_t steps) {
  if (steps > left_) {
    return too_large("the grammar is too complex to compile")
        .with_hint("use fewer or simpler rules");
  }
  left_ -= steps;
  return {};
}

Result<Dfa> determinize(const Nfa& nfa, const Limits& limits, Work& work) {
  TRY_VOID(work.spend(nfa.states + nfa.edges.size() + nfa.moves.size()));
  const size_t small = std::min(limits.states_max, size_t{4} * nfa.states + 64);
  auto dfa = Construction(nfa, true, work).run(small);
  if (dfa) return dfa;
  return Construction(nfa, false, work).run(limits.states_max);
}

}  // namespace hadal::grammar::internal
