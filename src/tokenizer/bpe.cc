#include "tokenizer/internal/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>
#include <unordered_map>

#include "base/check.h"
#include "base/utf8.h"

namespace hadal::tokenizer {
namespace {

// Words up to this many bytes merge in a flat array; longer ones with a queue.
constexpr size_t kShortWord = 48;

// The alphabet: printable Latin-1 bytes stand for themselves, the others for U+0100 onwards.
struct Alphabet {
  std::array<uint32_t, 256> code_point{};
  std::array<int16_t, 0x144> byte{};
  Alphabet() {
    byte.fill(-1);
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      code_point[b] = printable ? b : next++;
      byte[code_point[b]] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

size_t hash_bytes(std::string_view bytes) { return std::hash<std::string_view>{}(bytes); }

size_t hash_pair(uint64_t pair) {
  // Fibonacci hashing; the high bits are the well-mixed ones.
  return static_cast<size_t>((pair * 0x9E3779B97F4A7C15u) >> 24);
}

/// The places of a word where a merge applies, lowest rank first, then leftmost. Places of one rank
/// mostly come in order and wait in a plain queue, so that a megabyte of blanks costs no sorting; a
/// place that comes late goes to a heap.
class MergeQueue {
 public:
  struct Place {
    uint32_t rank, position;
  };
  bool empty() const { return ranks_.empty(); }

  void push(Place p) {
    Bucket& b = buckets_[p.rank];
    if (b.empty()) {
      ranks_.push(p.rank);
      b.in_order.clear();
      b.head = 0;
    }
    if (b.head == b.in_order.size() || p.position >= b.in_order.back()) {
      b.in_order.push_back(p.position);
    } else {
      b.late.push(p.position);
    }
  }

  Place pop() {
    const uint32_t rank = ranks_.top();
    Bucket& b = buckets_[rank];
    const bool take_late =
        !b.late.empty() && (b.head == b.in_order.size() || b.late.top() < b.in_order[b.head]);
    const uint32_t position = take_late ? b.late.top() : b.in_order[b.head];
    if (take_late) {
      b.late.pop();
    } else {
      ++b.head;
    }
    if (b.empty()) ranks_.pop();
    return {rank, position};
  }

 private:
  template <class T>
  using MinHeap = std::priority_queue<T, std::vector<T>, std::greater<T>>;
  struct Bucket {
    std::vector<uint32_t> in_order;
    size_t head = 0;
    MinHeap<uint32_t> late;
    bool empty() const { return head == in_order.size() && late.empty(); }
  };
  std::unordered_map<uint32_t, Bucket> buckets_;
  MinHeap<uint32_t> ranks_;  // of the buckets that are not empty
};

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

std::optional<std::string> unspell(std::string_view spelled) {
  std::string out;
  out.reserve(spelled.size());
  while (!spelled.empty()) {
    const Utf8Char c = decode_utf8(spelled);
    const int byte = c.valid && c.code_point < 0x144 ? alphabet().byte[c.code_point] : -1;
    if (byte < 0) return std::nullopt;
    out += static_cast<char>(byte);
    spelled.remove_prefix(c.bytes);
  }
  return out;
}

std::string spell(std::string_view bytes) {
  std::string out;
  for (const char b : bytes) append_utf8(out, alphabet().code_point[static_cast<uint8_t>(b)]);
  return out;
}

Status TokenTable::add(int32_t id, std::string_view bytes, bool searchable) {
  if (id < 0 || id > kTokenIdMax) {
    return corrupt("token id " + std::to_string(id) + " is outside 0.." +
                   std::to_string(kTokenIdMax));
  }
  if (static_cast<size_t>(id) >= entries_.size()) entries_.resize(static_cast<size_t>(id) + 1);
  Entry& e = entries_[static_cast<size_t>(id)];
  if (e.present) return corrupt("token id " + std::to_string(id) + " occurs twice");
  e = {arena_.size(), static_cast<uint32_t>(bytes.size()), true, searchable && !bytes.empty()};
  arena_ += bytes;
  return {};
}

void TokenTable::finish() {
  slots_.assign(std::bit_ceil(entries_.size() * 2 + 16), kNoToken);
  for (size_t id = 0; id < entries_.size(); ++id) {
    if (!entries_[id].searchable) continue;
    const std::string_view text = bytes(static_cast<int32_t>(id));
    if (find(text) != kNoToken) continue;
    size_t slot = hash_bytes(text) & (slots_.size() - 1);
    while (slots_[slot] != kNoToken) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<int32_t>(id);
  }
}

int32_t TokenTable::find(std::string_view text) const {
  if (slots_.empty()) return kNoToken;
  size_t slot = hash_bytes(text) & (slots_.size() - 1);
  while (slots_[slot] != kNoToken && bytes(slots_[slot]) != text) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slots_[slot];
}

Result<Bpe> Bpe::build(const TokenTable& tokens, const std::vector<Merge>& merges,
                       bool ignore_merges) {
  Bpe out;
  out.ignore_merges_ = ignore_merges;
  for (size_t b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    out.byte_ids_[b] = tokens.find({&byte, 1});
  }
  if (merges.size() > (size_t{1} << 22)) {
    return corrupt("there are " + std::to_string(merges.size()) + " merges, more than 4194304");
  }
  out.rules_.resize(std::bit_ceil(merges.size() * 2 + 16));
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto bad = [&](std::string_view what) {
      return corrupt("merge " + std::to_string(rank) + " (\"" +
                     to_valid_utf8(merges[rank].first.substr(0, 80)) + "\" and \"" +
                     to_valid_utf8(merges[rank].second.substr(0, 80)) +
                     "\"): " + std::string(what) + " is not in the vocabulary");
    };
    const auto left = unspell(merges[rank].first);
    const auto right = unspell(merges[rank].second);
    const int32_t left_id = left ? tokens.find(*left) : kNoToken;
    const int32_t right_id = right ? tokens.find(*right) : kNoToken;
    if (left_id == kNoToken) return bad("the left side");
    if (right_id == kNoToken) return bad("the right side");
    const int32_t merged = tokens.find(*left + *right);
    if (merged == kNoToken) return bad("the result");
    out.put({pair_of(left_id, right_id), static_cast<uint32_t>(rank), merged});
  }
  return out;
}

// Of a pair that occurs twice the later rank counts, as in the reference.
void Bpe::put(const Rule& rule) {
  size_t slot = hash_pair(rule.pair) & (rules_.size() - 1);
  while (rules_[slot].pair != kFree && rules_[slot].pair != rule.pair) {
    slot = (slot + 1) & (rules_.size() - 1);
  }
  rules_[slot] = rule;
}

const Bpe::Rule* Bpe::find(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  size_t slot = hash_pair(pair) & (rules_.size() - 1);
  while (rules_[slot].pair != kFree) {
    if (rules_[slot].pair == pair) return &rules_[slot];
    slot = (slot + 1) & (rules_.size() - 1);
  }
  return nullptr;
}

void Bpe::encode_word(const TokenTable& tokens, std::string_view word,
                      std::vector<int32_t>& out) const {
  if (ignore_merges_) {
    if (const int32_t id = tokens.find(word); id != kNoToken) {
      out.push_back(id);
      return;
    }
  }
  if (word.size() <= kShortWord) {
    int32_t ids[kShortWord];
    size_t count = 0;
    for (const char c : word) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
      if (id != kNoToken) ids[count++] = id;
    }
    return merge_short(ids, count, out);
  }
  std::vector<int32_t> ids;
  ids.reserve(word.size());
  for (const char c : word) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id != kNoToken) ids.push_back(id);
  }
  merge_long(ids, out);
}

void Bpe::merge_short(int32_t* ids, size_t count, std::vector<int32_t>& out) const {
  const Rule* rules[kShortWord];  // rules[i] joins ids[i] and ids[i + 1]
  for (size_t i = 0; i + 1 < count; ++i) rules[i] = find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = count;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (rules[i] && (best == count || rules[i]->rank < rules[best]->rank)) best = i;
    }
    if (best == count) break;
    ids[best] = rules[best]->merged;
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      ids[i] = ids[i + 1];
      rules[i - 1] = rules[i];
    }
    if (best > 0) rules[best - 1] = find(ids[best - 1], ids[best]);
    if (best + 1 < count) rules[best] = find(ids[best], ids[best + 1]);
  }
  out.insert(out.end(), ids, ids + count);
}

void Bpe::merge_long(const std::vector<int32_t>& ids, std::vector<int32_t>& out) const {
  CHECK(ids.size() < (size_t{1} << 31), "one word of 2 GiB");
  struct Symbol {
    int32_t id;
    uint32_t prev, next;  // kEnd: none
  };
  constexpr uint32_t kEnd = ~uint32_t{0};
  const auto n = static_cast<uint32_t>(ids.size());
  std::vector<Symbol> symbols(n);
  for (uint32_t i = 0; i < n; ++i) {
    symbols[i] = {ids[i], i == 0 ? kEnd : i - 1, i + 1 == n ? kEnd : i + 1};
  }
  // The rule for a symbol that is still there and the one after it.
  const auto rule_at = [&](uint32_t at) -> const Rule* {
    if (at == kEnd || symbols[at].id == kNoToken || symbols[at].next == kEnd) return nullptr;
    return find(symbols[at].id, symbols[symbols[at].next].id);
  };
  MergeQueue queue;
  const auto offer = [&](uint32_t at) {
    if (const Rule* rule = rule_at(at)) queue.push({rule->rank, at});
  };
  for (uint32_t i = 0; i < n; ++i) offer(i);
  while (!queue.empty()) {
    const auto [rank, position] = queue.pop();
    const Rule* rule = rule_at(position);
    if (!rule || rule->rank != rank) continue;  // its neighbourhood has changed meanwhile
    Symbol& s = symbols[position];
    Symbol& gone = symbols[s.next];
    s.id = rule->merged;
    s.next = gone.next;
    gone.id = kNoToken;
    if (s.next != kEnd) symbols[s.next].prev = position;
    offer(s.prev);
    offer(position);
  }
  for (uint32_t i = 0; i != kEnd && n > 0; i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace hadal::tokenizer
