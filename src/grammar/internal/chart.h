#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "grammar/internal/automaton.h"

namespace hadal::grammar::internal {

/// Everything that the symbols so far can be, for an automaton that began in one state: the stacks
/// of all ways to read them, merged where they are alike. Reading costs time in proportion to the
/// ways that differ; at most quadratic in the symbols, constant for grammars that are not
/// ambiguous.
///
/// A set belongs to each position between symbols. An item says that some rule, called at position
/// `origin`, is in `state` now. A caller says where those go on who called a rule at this position.
/// A call in last place is not stacked: the callers of the caller wait instead. So lists written by
/// recursion on either side take no more room than loops.
/// Source: Earley, "An efficient context-free parsing algorithm", CACM 1970; Aycock and Horspool,
/// "Practical Earley parsing", 2002 (empty rules); for calls in last place Leo, 1991.
class Chart {
 public:
  /// The origin of what was there before the first symbol.
  static constexpr uint32_t kOutside = UINT32_MAX;
  static constexpr size_t kItemsPerSetMax = 1024;

  struct Item {
    uint32_t state;
    uint32_t origin;
    uint32_t count;  ///< rounds that a counting rule has read

    bool operator==(const Item&) const = default;
  };
  struct Caller {
    uint32_t rule;
    uint32_t next;  ///< the state to go on in
    uint32_t origin;
    uint32_t count;

    bool operator==(const Caller&) const = default;
  };

  /// `automaton` must outlive it. `work` counts the items that it may still touch.
  Chart(const Automaton& automaton, int64_t& work) : automaton_(automaton), work_(work) {}

  /// Starts anew in `state`, in which `count` rounds have been read.
  void start(uint32_t state, uint32_t count);
  /// Reads one symbol. False when no text goes on like that; nothing has changed then.
  bool push(uint32_t symbol);
  /// Forgets the last symbol.
  void pop();

  /// Whether the state that it began in has come to the end of its rule.
  bool at_end() const { return sets_.back().at_end; }
  /// The symbols read, or what is left of them.
  size_t size() const { return sets_.size() - 1; }
  /// The items after all symbols; those with origin() == size() were called just there.
  std::span<const Item> items() const { return std::span(items_).subspan(sets_.back().items); }
  /// Calls `f` for those who wait at `position` for `rule`.
  template <class F>
  void for_callers(uint32_t position, uint32_t rule, const F& f) const {
    for (size_t i = sets_[position].callers; i < callers_end(position); ++i) {
      if (callers_[i].rule == rule) f(callers_[i]);
    }
  }
  /// Whether work has run out, or a set was too large: what it says then is not true.
  bool exhausted() const { return exhausted_ || work_ < 0; }

  /// Forgets the positions that nobody can come back to.
  void compact();
  size_t bytes() const;

 private:
  struct Set {
    size_t items;    ///< where its items begin
    size_t callers;  ///< where its callers begin
    bool at_end = false;
  };

  size_t callers_end(uint32_t position) const {
    return position + 1 < sets_.size() ? sets_[position + 1].callers : callers_.size();
  }
  void add(const Item& item);
  void add_caller(const Caller& caller);
  void close();
  void call(const Item& item, const Automaton::Call& call);
  void forward(uint32_t rule, uint32_t as_rule, uint32_t origin);
  void complete(uint32_t rule, uint32_t origin);

  const Automaton& automaton_;
  int64_t& work_;
  std::vector<Item> items_;
  std::vector<Caller> callers_;
  std::vector<Set> sets_;
  std::vector<Caller> waiting_;  ///< scratch of forward()
  bool exhausted_ = false;
};

}  // namespace hadal::grammar::internal
