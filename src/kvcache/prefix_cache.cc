#include "kvcache/prefix_cache.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace hadal::kvcache {
namespace {

// `above`: the key of the node or the root above.
uint64_t chain_hash(uint64_t above, std::span<const int32_t> tokens) {
  uint64_t h = splitmix64(above ^ 0x6861646C);
  for (const int32_t t : tokens) h = splitmix64(h ^ static_cast<uint32_t>(t));
  return h == 0 ? 1 : h;
}

}  // namespace

PrefixCache::PrefixCache(KvCache& kv)
    : kv_(kv), next_root_((uint64_t{std::random_device{}()} << 32) | std::random_device{}()) {
  CHECK(kv.layout().shareable());
}

PrefixCache::~PrefixCache() {
  for (const Node& n : nodes_) kv_.release_page(n.page);
}

PrefixCache::Lru::iterator PrefixCache::find(const Root& root, uint64_t key, uint64_t parent,
                                             std::span<const int32_t> page_tokens) {
  const auto at = by_key_.find(key);
  if (at == by_key_.end()) return nodes_.end();
  const Node& n = *at->second;
  if (n.root != &root || n.parent != parent || !std::ranges::equal(n.tokens, page_tokens))
    return nodes_.end();
  return at->second;
}

std::vector<int32_t> PrefixCache::match(std::span<const int32_t> tokens, std::string_view salt) {
  std::vector<int32_t> pages;
  const auto trunk = roots_.find(std::string(salt));
  if (trunk == roots_.end()) return pages;
  const Root& root = trunk->second;
  const auto p = static_cast<size_t>(kv_.page_tokens());
  uint64_t parent = 0;
  for (size_t begin = 0; begin + p < tokens.size(); begin += p) {
    const auto part = tokens.subspan(begin, p);
    const uint64_t key = chain_hash(parent == 0 ? root.key : parent, part);
    const auto node = find(root, key, parent, part);
    if (node == nodes_.end()) break;
    kv_.retain_page(node->page);
    pages.push_back(node->page);
    nodes_.splice(nodes_.begin(), nodes_, node);
    parent = key;
  }
  return pages;
}

void PrefixCache::insert(std::span<const int32_t> tokens, std::span<const int32_t> pages,
                         std::string_view salt) {
  const auto p = static_cast<size_t>(kv_.page_tokens());
  if (tokens.size() < p || pages.empty()) return;
  const auto [trunk, is_new] = roots_.try_emplace(std::string(salt));
  Root& root = trunk->second;
  if (is_new) root = {.key = splitmix64(next_root_++), .salt = &trunk->first};
  uint64_t parent = 0;
  for (size_t i = 0; (i + 1) * p <= tokens.size() && i < pages.size(); ++i) {
    const auto part = tokens.subspan(i * p, p);
    const uint64_t key = chain_hash(parent == 0 ? root.key : parent, part);
    const auto known = find(root, key, parent, part);
    if (known != nodes_.end()) {
      nodes_.splice(nodes_.begin(), nodes_, known);
      // A copy that nobody uses could not be evicted below the pages that follow: it goes now.
      if (known->page != pages[i] && kv_.page_count(known->page) == 1) {
        kv_.retain_page(pages[i]);
        kv_.release_page(std::exchange(known->page, pages[i]));
      }
    } else if (by_key_.contains(key)) {
      break;  // a colliding hash: keep the older prefix
    } else {
      kv_.retain_page(pages[i]);
      nodes_.push_front({key, parent, &root, pages[i], 0, {part.begin(), part.end()}});
      ++root.nodes;
      by_key_[key] = nodes_.begin();
      if (parent != 0) by_key_.at(parent)->children++;
    }
    parent = key;
  }
  if (root.nodes == 0) roots_.erase(trunk);
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
  // The salt belongs to the entry that goes: erase by a copy.
  if (--node->root->nodes == 0) roots_.erase(std::string(*node->root->salt));
  nodes_.erase(node);
}

}  // namespace hadal::kvcache
