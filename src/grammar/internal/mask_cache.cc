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
// Rounds that a token needs, in a byte.
constexpr uint32_t kRoundsMax = 254;
constexpr uint8_t kRoundsNever = 255;
// A step of work is about 50 ns; in it so many words of a mask are cleared, filled and packed.
constexpr size_t kWordsPerStep = 32;

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
  rounds_.clear();
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
    // What one step keeps cannot be dropped before it ends.
    if (work < 0 || bytes_ > 2 * bytes_max_) return false;
    for (size_t w = 0; w < e.bits.size(); ++w) bits[w] |= e.bits[w];
    for (const int32_t id : e.ids) bits[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
    if (e.exits == kNone || v.origin == Chart::kOutside) continue;
    chart.for_callers(v.origin, automaton_.states[v.state].rule, [&](const Chart::Caller& c) {
      visit({c.next, c.origin, c.count, e.exits});
    });
  }
  return true;
}

bool MaskCache::counts_plainly(uint32_t state) const {
  const Automaton::State& s = automaton_.states[state];
  return s.plain && automaton_.rules[s.rule].counts;
}

const MaskCache::Entry& MaskCache::entry(const Visit& visit, int64_t& work) {
  static const Entry none;
  const Automaton::Rule& rule = automaton_.rules[automaton_.states[visit.state].rule];
  const Rounds* rounds = nullptr;
  Key key{visit.state, visit.nodes, 0, 0};
  work -= 16;
  if (rule.counts) {
    // A token has no more rounds than bytes: what lies beyond makes no difference to it.
    auto far = static_cast<uint32_t>(vocabulary_.depth_max()) + 1;
    if (counts_plainly(visit.state)) {
      rounds = &rounds_of(visit.state, visit.nodes, work);
      if (work < 0) return none;
      far = rounds->most;
    }
    key.more = rule.max == kUnbounded ? far : std::min(far, rule.max - visit.count);
    key.least = std::min(far + 1, rule.min - std::min(rule.min, visit.count));
  }
  if (const auto at = entries_.find(key); at != entries_.end()) return at->second;
  work -= static_cast<int64_t>(found_.size() / kWordsPerStep);
  Entry made = rounds ? take_rounds(*rounds, key) : compute(visit, work);
  // What ran out of work is not true: the request ends, nobody may find it later.
  if (work < 0) return none;
  bytes_ += sizeof(Entry) + sizeof(Key) + 64 + made.bits.size() * sizeof(uint64_t) +
            made.ids.size() * sizeof(int32_t);
  return entries_.emplace(key, std::move(made)).first->second;
}

MaskCache::Entry MaskCache::compute(const Visit& visit, int64_t& work) {
  std::ranges::fill(found_, 0);
  exits_.clear();
  Chart chart(automaton_, work);
  follow_ = &automaton_.rules[automaton_.states[visit.state].rule].follow;
  const bool plain = is_plain(visit.state);
  for (const uint32_t node : *sets_[visit.nodes]) {
    if (plain) {
      if (visit.nodes != kAll && automaton_.states[visit.state].accepts) exits_.push_back(node);
      work -= 1 + walk_plain(visit.state, node) / 8;
      if (work < 0) return {};
      continue;
    }
    chart.start(visit.state, visit.count);
    // Where the whole tree is asked for, what follows an end here has an item of its own.
    if (visit.nodes != kAll && chart.at_end()) exits_.push_back(node);
    walk(chart, node);
    if (chart.exhausted()) {
      work = -1;
      return {};
    }
  }
  return packed();
}

// What was found, as an entry.
MaskCache::Entry MaskCache::packed() {
  Entry out;
  if (!exits_.empty()) {
    if (!std::ranges::is_sorted(exits_)) std::ranges::sort(exits_);
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
  if (at_end && leads_on(node)) exits_.push_back(node);
}

// Whether something in the tree behind this node may follow the rule.
bool MaskCache::leads_on(uint32_t node) const {
  const auto nodes = vocabulary_.nodes();
  for (uint32_t i = node + 1; i < nodes[node].end; i = nodes[i].end) {
    if (follow_->test(nodes[i].byte)) return true;
  }
  return false;
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
    const auto items = chart.items();
    if (items.size() == 1 && items[0].origin == Chart::kOutside && is_plain(items[0].state)) {
      walk_plain(items[0].state, i);
      i = n.end;
    } else {
      ++i;
    }
  }
}

bool MaskCache::is_plain(uint32_t state) const {
  const Automaton::State& s = automaton_.states[state];
  return s.plain && !automaton_.rules[s.rule].counts;
}

// As walk(), where each byte leads to at most one state, and no rule is called or counts: most of
// the tree is read here. Tells how many nodes it looked at.
uint32_t MaskCache::walk_plain(uint32_t state, uint32_t node) {
  const auto nodes = vocabulary_.nodes();
  std::array<const uint32_t*, 256> rows;
  rows[nodes[node].depth] = row(state);
  uint32_t looked = 0;
  for (uint32_t i = node + 1; i < nodes[node].end; ++looked) {
    const Vocabulary::Node& n = nodes[i];
    const uint32_t next = rows[n.depth - 1u][n.byte];
    if (next == kDead) {
      i = n.end;
      continue;
    }
    take(i, automaton_.states[next].accepts);
    rows[n.depth] = row(next);
    ++i;
  }
  return looked;
}

const MaskCache::Rounds& MaskCache::rounds_of(uint32_t state, uint32_t nodes, int64_t& work) {
  const auto [at, is_new] = rounds_.try_emplace(Key{state, nodes, 0, 0});
  Rounds& out = at->second;
  if (!is_new) return out;
  out.needed.assign(found_.size() * 64, kRoundsNever);
  work -= static_cast<int64_t>(found_.size());
  const auto& rule = automaton_.rules[automaton_.states[state].rule];
  follow_ = &rule.follow;
  for (const uint32_t node : *sets_[nodes]) {
    if (nodes != kAll && state == rule.start) out.exits.push_back({node, 0});
    work -= 1 + walk_rounds(state, node, out) / 8;
  }
  for (const uint8_t n : out.needed) {
    if (n != kRoundsNever) out.most = std::max<uint32_t>(out.most, n);
  }
  for (const auto& e : out.exits) out.most = std::max(out.most, e.rounds);
  bytes_ += out.needed.size() + out.exits.size() * sizeof(Rounds::Exit) + 128;
  return out;
}

// The tokens that need no more rounds than may come.
MaskCache::Entry MaskCache::take_rounds(const Rounds& rounds, const Key& key) {
  const auto most = static_cast<uint8_t>(std::min(key.more, kRoundsMax));
  for (size_t w = 0; w < found_.size(); ++w) {
    found_[w] = 0;
    for (size_t i = 0; i < 64; i += 8) {
      // Eight bytes that are 0 or 1 become eight bits.
      uint64_t bytes = 0;
      for (size_t j = 0; j < 8; ++j) {
        bytes |= uint64_t{rounds.needed[w * 64 + i + j] <= most} << (8 * j);
      }
      found_[w] |= ((bytes * 0x0102040810204080) >> 56) << i;
    }
  }
  exits_.clear();
  for (const auto& e : rounds.exits) {
    if (e.rounds >= key.least && e.rounds <= key.more) exits_.push_back(e.node);
  }
  return packed();
}

// As walk_plain(), in a rule that counts, as if any number of rounds might come.
uint32_t MaskCache::walk_rounds(uint32_t state, uint32_t node, Rounds& out) {
  const auto nodes = vocabulary_.nodes();
  const uint32_t start = automaton_.rules[automaton_.states[state].rule].start;
  std::array<const uint32_t*, 256> rows;
  std::array<uint32_t, 256> rounds;
  rows[nodes[node].depth] = row(state);
  rounds[nodes[node].depth] = 0;
  uint32_t looked = 0;
  for (uint32_t i = node + 1; i < nodes[node].end; ++looked) {
    const Vocabulary::Node& n = nodes[i];
    const uint32_t next = rows[n.depth - 1u][n.byte];
    if (next == kDead) {
      i = n.end;
      continue;
    }
    const bool ticks = automaton_.states[next].ticks;
    rounds[n.depth] = rounds[n.depth - 1u] + (ticks ? 1 : 0);
    rows[n.depth] = row(ticks ? start : next);
    const uint32_t needed = rounds[n.depth] + (ticks ? 0 : 1);  // a round that was begun too
    for (uint32_t t = n.first; t < nodes[i + 1].first; ++t) {
      uint8_t& least = out.needed[static_cast<size_t>(vocabulary_.ids()[t])];
      least = std::min(least, static_cast<uint8_t>(std::min<uint32_t>(needed, kRoundsNever)));
    }
    if (ticks && leads_on(i)) out.exits.push_back({i, rounds[n.depth]});
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
