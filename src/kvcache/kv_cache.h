#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "kernels/device.h"
#include "kvcache/kv_layout.h"

namespace hadal::kvcache {

/// The memory of all sequences: pages of P tokens, counted, and ring slots. A page can belong to
/// several sequences that share a prefix, and to the prefix cache; it is free when its count is 0.
/// Threading: the engine's thread.
class KvCache {
 public:
  /// `pages` pages and `slots` ring slots on `device`. Errors: resource_exhausted.
  static Result<KvCache> create(const KvLayout& layout, kernels::Device& device, DType dtype,
                                int64_t pages, int64_t slots);

  const KvLayout& layout() const { return layout_; }
  int64_t page_tokens() const { return page_tokens_; }
  int64_t pages() const { return static_cast<int64_t>(counts_.size()); }
  int64_t pages_free() const { return static_cast<int64_t>(free_pages_.size()); }
  /// Where stream `id` lies.
  const kernels::KvView& view(int id) const { return views_[static_cast<size_t>(id)]; }
  std::span<const kernels::KvView> views() const { return views_; }

  /// A page with count 1, or nothing when all are in use.
  std::optional<int32_t> take_page();
  void retain_page(int32_t page);
  void release_page(int32_t page);
  /// How many hold the page.
  int32_t page_count(int32_t page) const { return counts_[static_cast<size_t>(page)]; }
  /// A ring slot, or nothing when all are in use. Its rows hold what the last user left: nothing
  /// reads a row that was not written for its sequence.
  std::optional<int32_t> take_slot();
  void release_slot(int32_t slot);

 private:
  KvCache() = default;

  KvLayout layout_;
  int64_t page_tokens_ = 0;
  std::vector<Buffer> buffers_;
  std::vector<kernels::KvView> views_;
  std::vector<int32_t> counts_;
  std::vector<int32_t> free_pages_;
  std::vector<int32_t> free_slots_;
};

}  // namespace hadal::kvcache
