#include "kvcache/prefix_cache.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"

namespace hadal::kvcache {
namespace {

uint64_t chain_hash(uint64_t parent, std::span<const int32_t> tokens) {
  uint64_t h = splitmix64(parent ^ 0x6861646C);
  for (const int32_t t : tokens) h = splitmix64(h ^ static_cast<uint32_t>(t));
  return h == 0 ? 1 : h;
}

}  // namespace

PrefixCache::PrefixCache(KvCache& kv) : kv_(kv) { CHECK(kv.layout().shareable()); }

PrefixCache::~PrefixCache() {
  for (const Node& n : nodes_) kv_.release_page(n.page);
}

PrefixCache::Lru::iterator PrefixCache::find(uint64_t key, uint64_t parent,
                                             std::span<const int32_t> page_tokens) {
  const auto at = by_key_.find(key);
  if (at == by_key_.end()) return nodes_.end();
  const Node& n = *at->second;
  if (n.parent != parent || !std::ranges::equal(n.tokens, page_tokens)) return nodes_.end();
  return at->second;
}

std::vector<int32_t> PrefixCache::match(std::span<const int32_t> tokens) {
  std::vector<int32_t> pages;
  const auto p = static_cast<size_t>(kv_.page_tokens());
  uint64_t parent = 0;
  for (size_t begin = 0; begin + p < tokens.size(); begin += p) {
    const auto part = tokens.subspan(begin, p);
    const uint64_t key = chain_hash(parent, part);
    const auto node = find(key, parent, part);
    if (node == nodes_.end()) break;
    kv_.retain_page(node->page);
    pages.push_back(node->page);
    nodes_.splice(nodes_.begin(), nodes_, node);
    parent = key;
  }
  return pages;
}

void PrefixCache::insert(std::span<const int32_t> tokens, std::span<const int32_t> pages) {
  const auto p = static_cast<size_t>(kv_.page_tokens());
  uint64_t parent = 0;
  for (size_t i = 0; (i + 1) * p <= tokens.size() && i < pages.size(); ++i) {
    const auto part = tokens.subspan(i * p, p);
    const uint64_t key = chain_hash(parent, part);
    const auto known = find(key, parent, part);
    if (known != nodes_.end()) {
      nodes_.splice(nodes_.begin(), nodes_, known);
    } else if (by_key_.contains(key)) {
      return;  // a colliding hash: keep the older prefix
    } else {
      kv_.retain_page(pages[i]);
      nodes_.push_front({key, parent, pages[i], 0, {part.begin(), part.end()}});
      by_key_[key] = nodes_.begin();
      if (parent != 0) by_key_.at(parent)->children++;
    }
    parent = key;
  }
}

int64_t PrefixCache::evict(int64_t pages) {
  int64_t freed = 0;
  // Removing a leaf may make its parent a leaf; the parent was used no later, so one pass per level
  // suffices.
  for (bool progress = true; progress && freed < pages;) {
    progress = false;
    for (auto it = nodes_.end(); it != nodes_.begin() && freed < pages;) {
      --it;
      if (it->children > 0 || kv_.page_count(it->page) > 1) continue;
      const auto victim = it++;
      remove(victim);
      ++freed;
      progress = true;
    }
  }
  return freed;
}

void PrefixCache::remove(Lru::iterator node) {
  kv_.release_page(node->page);
  if (node->parent != 0) by_key_.at(node->parent)->children--;
  by_key_.erase(node->key);
  nodes_.erase(node);
}

}  // namespace hadal::kvcache
