#include "kvcache/prefix_cache.h"

#include <algorithm>
#include <random>

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
  for_all_.key = splitmix64(next_root_++);
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
  auto known_to_all = match_below(for_all_, tokens);
  const auto trunk = roots_.find(std::string(salt));
  if (trunk == roots_.end()) return known_to_all;
  auto pages = match_below(trunk->second, tokens);
  if (pages.size() < known_to_all.size()) pages.swap(known_to_all);
  for (const int32_t page : known_to_all) kv_.release_page(page);
  return pages;
}

std::vector<int32_t> PrefixCache::match_below(const Root& root, std::span<const int32_t> tokens) {
  std::vector<int32_t> pages;
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
  if (tokens.size() < static_cast<size_t>(kv_.page_tokens()) || pages.empty()) return;
  const auto [trunk, is_new] = roots_.try_emplace(std::string(salt));
  if (is_new) trunk->second = {.key = splitmix64(next_root_++), .salt = &trunk->first};
  insert_below(trunk->second, tokens, pages);
  if (trunk->second.nodes == 0) roots_.erase(trunk);
}

void PrefixCache::insert_for_all(std::span<const int32_t> tokens, std::span<const int32_t> pages) {
  insert_below(for_all_, tokens, pages);
}

void PrefixCache::insert_below(Root& root, std::span<const int32_t> tokens,
                               std::span<const int32_t> pages) {
  const auto p = static_cast<size_t>(kv_.page_tokens());
  uint64_t parent = 0;
  for (size_t i = 0; (i + 1) * p <= tokens.size() && i < pages.size(); ++i) {
    const auto part = tokens.subspan(i * p, p);
    const uint64_t key = chain_hash(parent == 0 ? root.key : parent, part);
    const auto known = find(root, key, parent, part);
    if (known != nodes_.end()) {
      nodes_.splice(nodes_.begin(), nodes_, known);
    } else if (by_key_.contains(key)) {
      return;  // a colliding hash: keep the older prefix
    } else {
      kv_.retain_page(pages[i]);
      nodes_.push_front(
          {key, parent, &root, pages[i], 0, static_cast<int32_t>(i), {part.begin(), part.end()}});
      ++root.nodes;
      by_key_[key] = nodes_.begin();
      if (parent != 0) by_key_.at(parent)->children++;
    }
    parent = key;
  }
}

std::vector<PrefixCache::Shared> PrefixCache::shared() const {
  std::vector<const Node*> nodes;
  for (const Node& n : nodes_) {
    if (n.root == &for_all_) nodes.push_back(&n);
  }
  std::ranges::sort(nodes, {}, &Node::depth);
  std::unordered_map<uint64_t, int64_t> place;
  std::vector<Shared> out;
  for (const Node* n : nodes) {
    out.push_back({n->parent == 0 ? -1 : place.at(n->parent), n->tokens, n->page});
    place[n->key] = static_cast<int64_t>(out.size()) - 1;
  }
  return out;
}

int64_t PrefixCache::evict(int64_t pages) {
  int64_t freed = 0;
  // Removing a leaf may make its parent a leaf; the parent was used no later, so one pass per level
  // suffices.
  for (bool progress = true; progress && freed < pages;) {
    progress = false;
    for (auto it = nodes_.end(); it != nodes_.begin() && freed < pages;) {
      --it;
      if (it->root == &for_all_ || it->children > 0 || kv_.page_count(it->page) > 1) continue;
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
  // The salt belongs to the entry that goes: erase by a copy. What all share is never removed.
  if (--node->root->nodes == 0) roots_.erase(std::string(*node->root->salt));
  nodes_.erase(node);
}

}  // namespace hadal::kvcache
