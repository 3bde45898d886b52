#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kvcache/kv_cache.h"
#include "kvcache/prefix_cache.h"

namespace hadal::engine {

/// One sequence's tokens and the pages that hold what was computed for them. Pages go back when it
/// goes. Threading: the engine's thread.
class Sequence {
 public:
  /// Starts with `tokens` (the prompt) and the pages of the longest cached prefix; `prefixes` may
  /// be null. Prefixes are shared with sequences of the same `salt`. Errors: unavailable when no
  /// ring slot is free.
  static Result<Sequence> start(kvcache::KvCache& kv, kvcache::PrefixCache* prefixes,
                                std::vector<int32_t> tokens, std::string_view salt = "");
  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&&) = delete;
  ~Sequence();

  const std::vector<int32_t>& tokens() const { return tokens_; }
  std::span<const int32_t> pages() const { return pages_; }
  int32_t slot() const { return slot_; }
  /// Tokens whose rows are in the cache.
  int64_t computed() const { return computed_; }
  /// Tokens that a cached prefix spared.
  int64_t cached() const { return cached_; }

  /// Makes room for the rows of the next `count` tokens, evicting unused prefixes if it must.
  /// Errors: resource_exhausted.
  Status reserve(int64_t count);
  /// The rows of `count` more tokens are in the cache now.
  void advance(int64_t count) { computed_ += count; }
  void append(int32_t token) { tokens_.push_back(token); }
  /// Lets later prompts share the full pages computed so far.
  void publish();

 private:
  Sequence(kvcache::KvCache& kv, kvcache::PrefixCache* prefixes) : kv_(&kv), prefixes_(prefixes) {}

  kvcache::KvCache* kv_;
  kvcache::PrefixCache* prefixes_;
  std::string salt_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> pages_;
  int32_t slot_ = -1;
  int64_t computed_ = 0;
  int64_t cached_ = 0;
};

}  // namespace hadal::engine
