#include "grammar/internal/nfa.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "grammar/internal/automaton.h"
#include "grammar/internal/utf8_ranges.h"

namespace hadal::grammar::internal {

using Kind = Grammar::Kind;
using Node = Grammar::Node;

NfaWriter::NfaWriter(const Grammar& grammar, const Facts& facts,
                     const std::function<bool(std::string_view)>& has_token, const Limits& limits)
    : grammar_(grammar), facts_(facts), has_token_(has_token), size_max_(limits.edges_max) {
  const Expr root = grammar.at(grammar.root()).body;
  unit_of(root, {.body = root});
}

Result<Nfa> NfaWriter::write(size_t unit) {
  const Unit u = units_[unit];
  if (facts_.size[static_cast<size_t>(u.body)] > size_max_) {
    return too_large("a rule of the grammar has more than " + std::to_string(size_max_) + " parts");
  }
  nfa_ = {};
  nfa_.start = state();
  nfa_.end = emit(u.body, nfa_.start);
  return std::move(nfa_);
}

uint32_t NfaWriter::unit_of(Expr key, const Unit& unit) {
  const uint64_t k = (static_cast<uint64_t>(key) << 1) | (unit.counts ? 1 : 0);
  const auto [at, is_new] = unit_ids_.emplace(k, static_cast<uint32_t>(units_.size()));
  if (is_new) units_.push_back(unit);
  return at->second;
}

uint32_t NfaWriter::read(uint32_t from, uint32_t low, uint32_t high) {
  const uint32_t to = state();
  nfa_.edges.push_back({from, low, high, to});
  return to;
}

// Adds states that read `expr` after `from`; the one where it has been read.
uint32_t NfaWriter::emit(Expr expr, uint32_t from) {
  const Node& node = grammar_.at(expr);
  switch (node.kind) {
    case Kind::literal: return emit_literal(grammar_.literal_of(node), from);
    case Kind::characters: return emit_characters(grammar_.set_of(node), from);
    case Kind::text: return emit_text(grammar_.words_of(node), from);
    case Kind::token: return emit_token(grammar_.literal_of(node), from);
    case Kind::repeat: return emit_repeat(expr, from);
    case Kind::rule: {
      const Expr body = grammar_.at(RuleId{node.index}).body;
      if (facts_.is_inlined[node.index]) return emit(body, from);
      return emit_call(body, {.body = body, .nullable = nullable(body)}, from);
    }
    case Kind::sequence:
      for (const Expr part : node.parts) from = emit(part, from);
      return from;
    case Kind::choice: {
      const uint32_t to = state();
      for (const Expr part : node.parts) {
        // A state of its own, so that a loop at its begin is not one of the others.
        const uint32_t begin = state();
        nfa_.moves.push_back({from, begin});
        nfa_.moves.push_back({emit(part, begin), to});
      }
      return to;
    }
  }
  return from;
}

uint32_t NfaWriter::emit_literal(std::string_view bytes, uint32_t from) {
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    from = read(from, byte, byte);
  }
  return from;
}

// Backwards, so that the same last bytes are the same states.
uint32_t NfaWriter::emit_characters(const CharSet& set, uint32_t from) {
  const uint32_t to = state();
  std::map<std::array<uint32_t, 3>, uint32_t> tails;
  for (const ByteRanges& r : utf8_ranges(set)) {
    uint32_t next = to;
    for (size_t i = r.bytes - 1; i > 0; --i) {
      const auto [at, is_new] =
          tails.emplace(std::array<uint32_t, 3>{r.low[i], r.high[i], next}, 0);
      if (is_new) {
        at->second = state();
        nfa_.edges.push_back({at->second, r.low[i], r.high[i], next});
      }
      next = at->second;
    }
    nfa_.edges.push_back({from, r.low[0], r.high[0], next});
  }
  return to;
}

// A state for each beginning of a word, the longest that the text so far ends with. A byte that
// would make a word whole is not read.
uint32_t NfaWriter::emit_text(std::span<const std::string> words, uint32_t from) {
  struct Place {
    std::array<uint32_t, 256> next{};  ///< 0: none yet
    uint32_t shorter = 0;              ///< the next longest beginning that is an end of this one
    bool is_word = false;
  };
  std::vector<Place> places(1);
  for (const std::string& word : words) {
    uint32_t at = 0;
    for (const char c : word) {
      const auto byte = static_cast<uint8_t>(c);
      if (places[at].next[byte] == 0) {
        places[at].next[byte] = static_cast<uint32_t>(places.size());
        places.emplace_back();
      }
      at = places[at].next[byte];
    }
    places[at].is_word = true;
  }
  std::vector<uint32_t> order{0};
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t p = order[i];
    places[p].is_word |= places[places[p].shorter].is_word;
    for (size_t byte = 0; byte < 256; ++byte) {
      uint32_t& next = places[p].next[byte];
      const uint32_t otherwise = p == 0 ? 0 : places[places[p].shorter].next[byte];
      if (next == 0) {
        next = otherwise;
      } else {
        places[next].shorter = otherwise;
        order.push_back(next);
      }
    }
  }
  const uint32_t first = nfa_.states;
  nfa_.states += static_cast<uint32_t>(places.size());
  const uint32_t to = state();
  nfa_.moves.push_back({from, first});
  for (uint32_t p = 0; p < places.size(); ++p) {
    if (places[p].is_word) continue;
    nfa_.moves.push_back({first + p, to});
    for (uint32_t low = 0; low < 256;) {
      const uint32_t next = places[p].next[low];
      uint32_t high = low;
      while (high + 1 < 256 && places[p].next[high + 1] == next) ++high;
      if (!places[next].is_word) nfa_.edges.push_back({first + p, low, high, first + next});
      low = high + 1;
    }
  }
  return to;
}

uint32_t NfaWriter::emit_token(const std::string& text, uint32_t from) {
  if (!has_token_(text)) return emit_literal(text, from);
  const auto [at, is_new] =
      token_ids_.emplace(text, kFirstToken + static_cast<uint32_t>(tokens_.size()));
  if (is_new) tokens_.push_back(text);
  return read(from, at->second, at->second);
}

uint32_t NfaWriter::emit_repeat(Expr expr, uint32_t from) {
  const Node& node = grammar_.at(expr);
  const Expr part = node.parts[0];
  if (node.max == 0) return from;
  if (!facts_.is_plain_repeat(node)) {
    // A round that reads nothing is as good as none.
    const uint32_t min = nullable(part) ? 0 : node.min;
    const Unit unit{
        .body = part, .counts = true, .min = min, .max = node.max, .nullable = min == 0};
    return emit_call(expr, unit, from);
  }
  for (uint32_t i = 0; i < node.min; ++i) from = emit(part, from);
  const uint32_t to = state();
  if (node.max == kUnbounded) {
    const uint32_t loop = state();
    nfa_.moves.push_back({from, loop});
    nfa_.moves.push_back({emit(part, loop), loop});
    nfa_.moves.push_back({loop, to});
    return to;
  }
  for (uint32_t i = node.min; i < node.max; ++i) {
    nfa_.moves.push_back({from, to});
    const uint32_t begin = state();
    nfa_.moves.push_back({from, begin});
    from = emit(part, begin);
  }
  nfa_.moves.push_back({from, to});
  return to;
}

uint32_t NfaWriter::emit_call(Expr key, const Unit& unit, uint32_t from) {
  const uint32_t symbol = kFirstCall + unit_of(key, unit);
  const uint32_t to = read(from, symbol, symbol);
  if (unit.nullable) nfa_.moves.push_back({from, to});
  return to;
}

}  // namespace hadal::grammar::internal
