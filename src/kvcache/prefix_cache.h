#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kvcache/kv_cache.h"

namespace hadal::kvcache {

/// Remembers which pages hold which prefixes, so that a prompt that begins like an earlier one does
/// not compute it again.
///
/// Prompts share only with those of the same salt: what one tenant asked cannot be felt by another
/// in the time of an answer. Each salt has a tree of its own.
///
/// A tree whose edges are whole pages: a node is the P tokens of one page below the node of the
/// page before. Only full pages are shared, so a shared page is never written again.
///
///   root ─ [sys 0..63] ─ [sys 64..127] ─┬─ [turn A ...]      match(sys + turn B) -> pages of the
///   first two
///                                       └─ [turn B ...]
///
/// The cache holds one count on each of its pages. When pages run out, evict gives back leaves that
/// no sequence uses, least recently used first. Threading: the engine's thread.
class PrefixCache {
 public:
  /// `kv` must outlive the cache and be shareable.
  explicit PrefixCache(KvCache& kv);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  /// The pages of the longest known prefix of `tokens`, each retained for the caller; whole pages,
  /// and always at least one token short of `tokens`, since the last token must be computed for its
  /// logits.
  std::vector<int32_t> match(std::span<const int32_t> tokens, std::string_view salt = "");

  /// Learns that `pages[i]` holds tokens [i * P, (i + 1) * P) of `tokens`, for every full page.
  /// Prefixes that are known already keep their old page.
  void insert(std::span<const int32_t> tokens, std::span<const int32_t> pages,
              std::string_view salt = "");

  /// As insert, for prompts that are no secret: they match under every salt, and stay.
  void insert_for_all(std::span<const int32_t> tokens, std::span<const int32_t> pages);

  /// A page that matches under every salt.
  struct Shared {
    int64_t parent = -1;              ///< the place in the list of the page before; -1: none
    std::span<const int32_t> tokens;  ///< P of them; valid until the cache changes
    int32_t page = -1;
  };
  /// All of them, parents before children.
  std::vector<Shared> shared() const;
  int64_t shared_pages() const { return for_all_.nodes; }

  /// Frees up to `pages` pages that only the cache holds. Returns how many.
  int64_t evict(int64_t pages);

  int64_t size_pages() const { return static_cast<int64_t>(nodes_.size()); }

 private:
  struct Root {
    uint64_t key = 0;  ///< unpredictable: nobody can make keys collide on purpose
    const std::string* salt = nullptr;
    int64_t nodes = 0;  ///< in its whole tree; without any it is forgotten
  };
  struct Node {
    uint64_t key = 0;     ///< hash of the whole prefix up to and with this page
    uint64_t parent = 0;  ///< key of the node above; 0 for the root
    Root* root = nullptr;
    int32_t page = -1;
    int32_t children = 0;
    int32_t depth = 0;            ///< pages before it
    std::vector<int32_t> tokens;  ///< of this page: a hash may collide, the tokens may not
  };
  using Lru = std::list<Node>;  ///< most recently used first

  std::vector<int32_t> match_below(const Root& root, std::span<const int32_t> tokens);
  void insert_below(Root& root, std::span<const int32_t> tokens, std::span<const int32_t> pages);
  Lru::iterator find(const Root& root, uint64_t key, uint64_t parent,
                     std::span<const int32_t> page_tokens);
  void remove(Lru::iterator node);

  KvCache& kv_;
  Lru nodes_;
  std::unordered_map<uint64_t, Lru::iterator> by_key_;
  std::unordered_map<std::string, Root> roots_;  ///< by salt
  uint64_t next_root_;
  Root for_all_;
};

}  // namespace hadal::kvcache
