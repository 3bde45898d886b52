#include "grammar/internal/facts.h"

#include <algorithm>
#include <limits>

#include "grammar/internal/utf8_ranges.h"

namespace hadal::grammar::internal {
namespace {

using Kind = Grammar::Kind;
using Node = Grammar::Node;

// A rule of at most this size is written out where it is used, a longer one is called. Strings and
// numbers are longer: they are the states in which a mask takes longest to find, and called they
// share it.
constexpr uint64_t kInlineSizeMax = 24;
constexpr uint32_t kInlineDepthMax = 48;
constexpr uint64_t kUnrollSizeMax = 64;
constexpr uint64_t kHuge = std::numeric_limits<uint32_t>::max();

uint64_t capped(uint64_t size) { return std::min(size, kHuge); }

// The expressions of each rule, parts before wholes.
std::vector<std::vector<uint32_t>> exprs_by_rule(const Grammar& g) {
  std::vector<std::vector<uint32_t>> out(g.rules().size());
  std::vector<uint32_t> seen_for(g.nodes().size(), 0);
  for (size_t r = 0; r < out.size(); ++r) {
    std::vector<uint32_t>& mine = out[r];
    const auto visit = [&](Expr e) {
      const auto i = static_cast<uint32_t>(e);
      if (seen_for[i] == r + 1) return;
      seen_for[i] = static_cast<uint32_t>(r + 1);
      mine.push_back(i);
    };
    visit(g.rules()[r].body);
    for (size_t i = 0; i < mine.size(); ++i) {
      for (const Expr part : g.nodes()[mine[i]].parts) visit(part);
    }
    std::ranges::sort(mine);  // a part is always older than its whole
  }
  return out;
}

}  // namespace

Facts::Facts(const Grammar& grammar)
    : nullable(grammar.nodes().size()),
      size(grammar.nodes().size()),
      depth(grammar.nodes().size()),
      is_inlined(grammar.rules().size()) {
  find_nullable(grammar);
  measure(grammar);
}

// Each expression waits for so many of its parts; when they turn out nullable it does too. Every
// link is followed once.
void Facts::find_nullable(const Grammar& g) {
  const size_t n = g.nodes().size();
  std::vector<std::vector<uint32_t>> users(n);
  std::vector<size_t> missing(n);
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < n; ++i) {
    const Node& node = g.nodes()[i];
    switch (node.kind) {
      case Kind::literal: missing[i] = g.literal_of(node).empty() ? 0 : 1; break;
      case Kind::characters:
      case Kind::token: missing[i] = 1; break;
      case Kind::text: missing[i] = 0; break;
      case Kind::rule:
        missing[i] = 1;
        users[static_cast<size_t>(g.at(RuleId{node.index}).body)].push_back(i);
        break;
      case Kind::sequence: missing[i] = node.parts.size(); break;
      case Kind::choice: missing[i] = 1; break;
      case Kind::repeat: missing[i] = node.min == 0 ? 0 : 1; break;
    }
    for (const Expr part : node.parts) users[static_cast<size_t>(part)].push_back(i);
    if (missing[i] == 0) found.push_back(i);
  }
  while (!found.empty()) {
    const uint32_t i = found.back();
    found.pop_back();
    if (nullable[i]) continue;
    nullable[i] = true;
    for (const uint32_t user : users[i]) {
      if (missing[user] > 0 && --missing[user] == 0) found.push_back(user);
    }
  }
}

// Rules that use only measured rules come first; what is left then is recursive, or uses what is.
void Facts::measure(const Grammar& g) {
  const auto exprs = exprs_by_rule(g);
  std::vector<std::vector<uint32_t>> users(exprs.size());
  std::vector<size_t> missing(exprs.size());
  std::vector<uint32_t> ready;
  for (uint32_t r = 0; r < exprs.size(); ++r) {
    for (const uint32_t e : exprs[r]) {
      if (g.nodes()[e].kind != Kind::rule) continue;
      ++missing[r];
      users[g.nodes()[e].index].push_back(r);
    }
    if (missing[r] == 0) ready.push_back(r);
  }
  std::vector<bool> done(exprs.size());
  while (!ready.empty()) {
    const uint32_t r = ready.back();
    ready.pop_back();
    done[r] = true;
    measure(g, exprs[r]);
    const auto body = static_cast<size_t>(g.rules()[r].body);
    is_inlined[r] = size[body] <= kInlineSizeMax && depth[body] <= kInlineDepthMax;
    for (const uint32_t user : users[r]) {
      if (--missing[user] == 0) ready.push_back(user);
    }
  }
  for (uint32_t r = 0; r < exprs.size(); ++r) {
    if (!done[r]) measure(g, exprs[r]);
  }
}

void Facts::measure(const Grammar& g, const std::vector<uint32_t>& exprs) {
  for (const uint32_t e : exprs) {
    const Node& node = g.nodes()[e];
    uint64_t total = 1;
    uint32_t deepest = 0;
    for (const Expr part : node.parts) {
      total = capped(total + size[static_cast<size_t>(part)]);
      deepest = std::max(deepest, depth[static_cast<size_t>(part)]);
    }
    switch (node.kind) {
      case Kind::literal:
      case Kind::token: total = g.literal_of(node).size(); break;
      case Kind::characters: total = utf8_ranges(g.set_of(node)).size(); break;
      case Kind::text:
        for (const auto& w : g.words_of(node)) total = capped(total + w.size() * 4);
        break;
      case Kind::rule:
        if (is_inlined[node.index]) {
          const auto body = static_cast<size_t>(g.rules()[node.index].body);
          total = size[body];
          deepest = depth[body];
        }
        break;
      case Kind::sequence:
      case Kind::choice: break;
      case Kind::repeat: {
        if (!is_plain_repeat(node)) {
          total = 1;
          break;
        }
        const uint64_t times = node.max == kUnbounded ? uint64_t{node.min} + 1 : node.max;
        total = capped(total * std::max<uint64_t>(times, 1));
        break;
      }
    }
    size[e] = total;
    depth[e] = deepest + 1;
  }
}

bool Facts::is_plain_repeat(const Node& node) const {
  if (node.max <= 1 || (node.min <= 1 && node.max == kUnbounded)) return true;
  const uint64_t times = node.max == kUnbounded ? node.min : node.max;
  return size[static_cast<size_t>(node.parts[0])] * times <= kUnrollSizeMax;
}

}  // namespace hadal::grammar::internal
