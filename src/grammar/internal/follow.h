#pragma once

#include <bitset>
#include <vector>

#include "grammar/internal/automaton.h"

namespace hadal::grammar::internal {

/// Bytes that may come right after the end of each rule; too many where it would take long to tell.
/// Source: the FIRST and FOLLOW sets of LL parsing, over automata.
std::vector<std::bitset<256>> follow_sets(const Automaton& automaton);

/// Marks the states from which each symbol leads at most one way and no rule is called.
/// `deterministic` says of each rule whether its states are.
void mark_plain(Automaton& automaton, const std::vector<bool>& deterministic);

}  // namespace hadal::grammar::internal
