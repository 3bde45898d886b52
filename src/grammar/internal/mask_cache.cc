#include "grammar/internal/mask_cache.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/rng.h"

namespace hadal::grammar::internal {
namespace {

constexpr uint32_t kDead = UINT32_MAX;
// A list of so few tokens takes less room than a bit for each token.
constexpr size_t kBitsPerId = 32;

}  // namespace

size_t MaskCache::KeyHash::operator()(const Key& k) const {
  const uint64_t a = (uint64_t{k.state} << 32) | k.nodes;
  const uint64_t b = (uint64_t{k.more} << 32) | k.least;
  return splitmix64(a ^ splitmix64(b));
}

MaskCache::MaskCache(const Automaton& automaton, const Vocabulary& vocabulary, size_t bytes_max)
    : automaton_(automaton),
      vocabulary_(vocabulary),
      bytes_max_(bytes_max),
      found_((vocabulary.size() + 63) / 64) {
  clear();
}

void MaskCache::clear() {
  entries_.clear();
  sets_.clear();
  set_ids_.clear();
  rows_.clear();
  rows_.resize(automaton_.states.size());
  bytes_ = rows_.size() * sizeof(rows_[0]) + found_.size() * sizeof(found_[0]);
  intern({0});
}

uint32_t MaskCache::intern(std::vector<uint32_t> nodes) {
  const size_t size = nodes.size();
  const auto [at, is_new] = set_ids_.emplace(std::move(nodes), static_cast<uint32_t>(sets_.size()));
  if (is_new) {
    sets_.push_back(&at->first);
    bytes_ += size * sizeof(uint32_t) + 128;
  }
  return at->second;
}

bool MaskCache::add_allowed(const Chart& chart, std::span<uint64_t> bits, int64_t& work) {
  if (bytes_ > bytes_max_) clear();
  visits_.clear();
  const auto visit = [&](const Visit& v) {
    work -= static_cast<int64_t>(visits_.size() / 16);
    if (std::ranges::find(visits_, v) == visits_.end()) visits_.push_back(v);
  };
  for (const Chart::Item& item : chart.items()) {
    // What was called just here is inside of what called it.
    if (item.origin != chart.size()) visit({item.state, item.origin, item.count, kAll});
  }
  for (size_t i = 0; i < visits_.size(); ++i) {
    const Visit v = visits_[i];
    const Entry& e = entry(v, work);
    if (work < 0) return false;
    for (size_t w = 0; w < e.bits.size(); ++w) bits[w] |= e.bits[w];
    for (const int32_t id : e.ids) bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
    if (e.exits == kNone || v.origin == Chart::kOutside) continue;
    chart.for_callers(v.origin, automaton_.states[v.state].rule, [&](const Chart::Caller& c) {
      visit({c.next, c.origin, c.count, e.exits});
    });
  }
  return true;
}

const MaskCache::Entry& MaskCache::entry(const Visit& visit, int64_t& work) {
  const Automaton::Rule& rule = automaton_.rules[automaton_.states[visit.state].rule];
  Key key{visit.state, visit.nodes, 0, 0};
  if (rule.counts) {
    // A token has no more rounds than bytes: what lies beyond makes no difference to it.
    const auto far = static_cast<uint32_t>(vocabulary_.depth_max()) + 1;
    key.more = rule.max == kUnbounded ? far : std::min(far, rule.max - visit.count);
    key.least = std::min(far, rule.min - std::min(rule.min, visit.count));
  }
  work -= 16;
  if (const auto at = entries_.find(key); at != entries_.end()) return at->second;
  const Entry& e = entries_.emplace(key, compute(visit, work)).first->second;
  // What ran out of work is not true: the request ends, nobody may find it later.
  if (work < 0) {
    entries_.erase(key);
    static const Entry none;
    return none;
  }
  bytes_ += sizeof(Entry) + sizeof(Key) + 64 + e.bits.size() * sizeof(uint64_t) +
            e.ids.size() * sizeof(int32_t);
  return e;
}

MaskCache::Entry MaskCache::compute(const Visit& visit, int64_t& work) {
  std::ranges::fill(found_, 0);
  exits_.clear();
  Chart chart(automaton_, work);
  for (const uint32_t node : *sets_[visit.nodes]) {
    chart.start(visit.state, visit.count);
    // Where the whole tree is asked for, what follows an end here has an item of its own.
    if (visit.nodes != kAll && chart.at_end()) exits_.push_back(node);
    if (is_plain(chart.items())) {
      work -= walk_plain(chart.items()[0], node) / 8;
    } else {
      walk(chart, node);
    }
    if (chart.exhausted()) {
      work = -1;
      return {};
    }
  }
  Entry out;
  if (!exits_.empty()) {
    std::ranges::sort(exits_);
    exits_.erase(std::unique(exits_.begin(), exits_.end()), exits_.end());
    out.exits = intern(exits_);
  }
  size_t count = 0;
  for (const uint64_t w : found_) count += static_cast<size_t>(std::popcount(w));
  if (count * kBitsPerId > vocabulary_.size()) {
    out.bits = found_;
    return out;
  }
  for (size_t w = 0; w < found_.size(); ++w) {
    for (uint64_t rest = found_[w]; rest != 0; rest &= rest - 1) {
      out.ids.push_back(static_cast<int32_t>(w * 64 + static_cast<size_t>(std::countr_zero(rest))));
    }
  }
  return out;
}

// The chart has read what leads to this node: its tokens are allowed.
void MaskCache::take(uint32_t node, bool at_end) {
  const auto nodes = vocabulary_.nodes();
  for (uint32_t i = nodes[node].first; i < nodes[node + 1].first; ++i) {
    const auto id = static_cast<size_t>(vocabulary_.ids()[i]);
    found_[id / 64] |= uint64_t{1} << (id % 64);
  }
  if (at_end && nodes[node].end > node + 1) exits_.push_back(node);
}

// Reads all that lies behind `node`.
void MaskCache::walk(Chart& chart, uint32_t node) {
  const auto nodes = vocabulary_.nodes();
  const size_t base = nodes[node].depth;
  for (uint32_t i = node + 1; i < nodes[node].end;) {
    const Vocabulary::Node& n = nodes[i];
    while (chart.size() + base >= n.depth) chart.pop();
    if (!chart.push(n.byte)) {
      i = n.end;
      continue;
    }
    if (chart.exhausted()) return;
    take(i, chart.at_end());
    if (is_plain(chart.items())) {
      walk_plain(chart.items()[0], i);
      i = n.end;
    } else {
      ++i;
    }
  }
}

bool MaskCache::is_plain(std::span<const Chart::Item> items) const {
  return items.size() == 1 && items[0].origin == Chart::kOutside &&
         automaton_.states[items[0].state].plain;
}

// As walk(), where each byte leads to at most one state and no rule is called: most of the tree is
// read here. Tells how many nodes it looked at.
uint32_t MaskCache::walk_plain(const Chart::Item& item, uint32_t node) {
  const auto nodes = vocabulary_.nodes();
  const Automaton::Rule& rule = automaton_.rules[automaton_.states[item.state].rule];
  std::array<const uint32_t*, 256> rows;
  std::array<uint32_t, 256> counts;
  const uint32_t base = nodes[node].depth;
  counts[base] = item.count;
  rows[base] = row(item.state);
  if (rule.counts && item.state == rule.start && item.count >= rule.max) return 0;
  uint32_t looked = 0;
  for (uint32_t i = node + 1; i < nodes[node].end; ++looked) {
    const Vocabulary::Node& n = nodes[i];
    uint32_t state = rows[n.depth - 1u][n.byte];
    if (state == kDead) {
      i = n.end;
      continue;
    }
    uint32_t count = counts[n.depth - 1u];
    const Automaton::State& s = automaton_.states[state];
    bool at_end = s.accepts;
    if (s.ticks) {
      ++count;
      state = rule.start;
      at_end = count >= rule.min;
    }
    take(i, at_end);
    if (s.ticks && count >= rule.max) {
      i = n.end;
      continue;
    }
    counts[n.depth] = count;
    rows[n.depth] = row(state);
    ++i;
  }
  return looked;
}

const uint32_t* MaskCache::row(uint32_t state) {
  auto& r = rows_[state];
  if (!r) {
    r = std::make_unique<uint32_t[]>(256);
    bytes_ += 256 * sizeof(uint32_t);
    std::fill_n(r.get(), 256, kDead);
    for (const auto& e : automaton_.edges_of(automaton_.states[state])) {
      for (uint32_t b = e.low; b <= std::min<uint32_t>(e.high, 255); ++b) r[b] = e.target;
    }
  }
  return r.get();
}

}  // namespace hadal::grammar::internal
