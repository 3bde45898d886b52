#include "grammar/internal/chart.h"

#include <algorithm>

#include "base/check.h"

namespace hadal::grammar::internal {

void Chart::start(uint32_t state, uint32_t count) {
  items_.clear();
  callers_.clear();
  sets_.assign(1, {0, 0});
  exhausted_ = false;
  items_.push_back({state, kOutside, count});
  close();
}

bool Chart::push(uint32_t symbol) {
  const size_t begin = sets_.back().items;
  const size_t end = items_.size();
  sets_.push_back({end, callers_.size()});
  for (size_t i = begin; i < end; ++i) {
    const Item item = items_[i];
    const Automaton::State& s = automaton_.states[item.state];
    const Automaton::Rule& rule = automaton_.rules[s.rule];
    if (rule.counts && item.state == rule.start && item.count >= rule.max) continue;
    for (const Automaton::Edge& e : automaton_.edges_of(s)) {
      if (e.low > symbol) break;
      if (e.high >= symbol) add({e.target, item.origin, item.count});
    }
  }
  work_ -= static_cast<int64_t>(end - begin);
  if (items_.size() == end) {
    sets_.pop_back();
    return false;
  }
  close();
  return true;
}

void Chart::pop() {
  CHECK(sets_.size() > 1);
  items_.resize(sets_.back().items);
  callers_.resize(sets_.back().callers);
  sets_.pop_back();
}

void Chart::add(const Item& item) {
  const auto set = items();
  if (std::ranges::find(set, item) != set.end()) return;
  if (set.size() >= kItemsPerSetMax) {
    exhausted_ = true;
    return;
  }
  work_ -= static_cast<int64_t>(set.size() / 16);
  items_.push_back(item);
}

void Chart::add_caller(const Caller& caller) {
  const auto mine = std::span(callers_).subspan(sets_.back().callers);
  if (std::ranges::find(mine, caller) != mine.end()) return;
  if (mine.size() >= kItemsPerSetMax) {
    exhausted_ = true;
    return;
  }
  work_ -= static_cast<int64_t>(mine.size() / 16);
  callers_.push_back(caller);
}

// Adds what the items of the last set lead to without reading: calls, ends of rules, next rounds.
void Chart::close() {
  const auto here = static_cast<uint32_t>(size());
  for (size_t i = sets_.back().items; i < items_.size(); ++i) {
    const Item item = items_[i];
    const Automaton::State& s = automaton_.states[item.state];
    const Automaton::Rule& rule = automaton_.rules[s.rule];
    --work_;
    if (exhausted()) return;
    bool ends = s.accepts;
    if (rule.counts && item.state == rule.start) {
      ends = item.count >= rule.min;
      if (ends && item.origin != here) complete(s.rule, item.origin);
      if (item.count >= rule.max) continue;
    } else if (ends && item.origin != here) {
      complete(s.rule, item.origin);
    }
    if (s.ticks) {
      // Of a repetition without a bound only the rounds that it still needs matter.
      const uint32_t count = item.count + 1;
      add({rule.start, item.origin, rule.max == kUnbounded ? std::min(count, rule.min) : count});
    }
    for (const Automaton::Call& c : automaton_.calls_of(s)) call(item, c);
  }
}

void Chart::call(const Item& item, const Automaton::Call& call) {
  const auto here = static_cast<uint32_t>(size());
  const Automaton::State& next = automaton_.states[call.target];
  if (automaton_.only_accepts(next) && item.origin != here && item.origin != kOutside) {
    forward(next.rule, call.rule, item.origin);
  } else {
    add_caller({call.rule, call.target, item.origin, item.count});
  }
  add({automaton_.rules[call.rule].start, here, 0});
}

// Those who wait at `origin` for `rule` wait here for `as_rule` instead: its end is the other's.
void Chart::forward(uint32_t rule, uint32_t as_rule, uint32_t origin) {
  waiting_.clear();
  const auto collect = [&](uint32_t position, uint32_t for_rule) {
    for_callers(position, for_rule, [&](const Caller& c) {
      if (std::ranges::find(waiting_, c) == waiting_.end()) waiting_.push_back(c);
    });
  };
  collect(origin, rule);
  for (size_t i = 0; i < waiting_.size(); ++i) {
    const Caller c = waiting_[i];
    const Automaton::State& next = automaton_.states[c.next];
    work_ -= 1 + static_cast<int64_t>(waiting_.size() / 16);
    if (exhausted()) return;
    // Only a position's own calls in last place were left on its stack.
    if (automaton_.only_accepts(next) && c.origin != kOutside) {
      collect(c.origin, next.rule);
    } else {
      add_caller({as_rule, c.next, c.origin, c.count});
    }
  }
}

void Chart::complete(uint32_t rule, uint32_t origin) {
  if (origin == kOutside) {
    sets_.back().at_end = true;
    return;
  }
  // By index: add() may move the items, not the callers of an earlier position.
  for_callers(origin, rule, [&](const Caller& c) { add({c.next, c.origin, c.count}); });
}

void Chart::compact() {
  // Positions that the last items can return to, and those that the callers there can.
  std::vector<bool> kept(sets_.size());
  kept.back() = true;
  const auto keep = [&](uint32_t origin) {
    if (origin != kOutside) kept[origin] = true;
  };
  for (const Item& item : items()) keep(item.origin);
  for (size_t p = sets_.size(); p-- > 0;) {
    if (!kept[p]) continue;
    for (size_t i = sets_[p].callers; i < callers_end(static_cast<uint32_t>(p)); ++i) {
      keep(callers_[i].origin);
    }
  }
  std::vector<uint32_t> moved(sets_.size());
  std::vector<Set> sets;
  std::vector<Caller> callers;
  const auto renamed = [&](uint32_t origin) { return origin == kOutside ? origin : moved[origin]; };
  for (size_t p = 0; p < sets_.size(); ++p) {
    if (!kept[p]) continue;
    moved[p] = static_cast<uint32_t>(sets.size());
    sets.push_back({0, callers.size(), sets_[p].at_end});
    for (size_t i = sets_[p].callers; i < callers_end(static_cast<uint32_t>(p)); ++i) {
      Caller c = callers_[i];
      c.origin = renamed(c.origin);
      callers.push_back(c);
    }
  }
  items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(sets_.back().items));
  for (Item& item : items_) item.origin = renamed(item.origin);
  sets_ = std::move(sets);
  callers_ = std::move(callers);
}

size_t Chart::bytes() const {
  return items_.capacity() * sizeof(Item) + callers_.capacity() * sizeof(Caller) +
         sets_.capacity() * sizeof(Set);
}

}  // namespace hadal::grammar::internal
