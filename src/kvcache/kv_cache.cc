#include "kvcache/kv_cache.h"

#include "base/check.h"
#include "base/units.h"

namespace hadal::kvcache {

Result<KvCache> KvCache::create(const KvLayout& layout, kernels::Device& device, DType dtype,
                                int64_t pages, int64_t slots) {
  CHECK(pages > 0 && slots > 0);
  KvCache cache;
  cache.layout_ = layout;
  cache.page_tokens_ = layout.page_tokens();
  for (const KvStream& s : layout.streams) {
    kernels::KvView view;
    view.dtype = s.stored_as(dtype);
    view.width = s.width;
    view.ring_rows = s.ring_rows;
    view.page_rows = s.ring_rows > 0 ? 0 : cache.page_tokens_ / s.tokens_per_row;
    const auto rows =
        static_cast<uint64_t>(s.ring_rows > 0 ? s.ring_rows * slots : view.page_rows * pages);
    TRY(const uint64_t bytes, storage_bytes(view.dtype, rows, static_cast<uint64_t>(s.width)));
    auto buffer = device.allocate(bytes);
    if (!buffer) {
      return make_error(ErrorCode::resource_exhausted, "the KV cache needs " + format_bytes(bytes) +
                                                           " more for one stream than there is")
          .with_hint("lower the context or --kv-cache-bytes-max");
    }
    view.data = buffer->data();
    cache.buffers_.push_back(*std::move(buffer));
    cache.views_.push_back(view);
  }
  cache.counts_.assign(static_cast<size_t>(pages), 0);
  for (int64_t p = pages; p-- > 0;) cache.free_pages_.push_back(static_cast<int32_t>(p));
  for (int64_t s = slots; s-- > 0;) cache.free_slots_.push_back(static_cast<int32_t>(s));
  return cache;
}

std::optional<int32_t> KvCache::take_page() {
  if (free_pages_.empty()) return std::nullopt;
  const int32_t page = free_pages_.back();
  free_pages_.pop_back();
  counts_[static_cast<size_t>(page)] = 1;
  return page;
}

void KvCache::retain_page(int32_t page) {
  CHECK(counts_[static_cast<size_t>(page)] > 0, "a free page cannot be shared");
  ++counts_[static_cast<size_t>(page)];
}

void KvCache::release_page(int32_t page) {
  int32_t& count = counts_[static_cast<size_t>(page)];
  CHECK(count > 0, "a page was released twice");
  if (--count == 0) free_pages_.push_back(page);
}

std::optional<int32_t> KvCache::take_slot() {
  if (free_slots_.empty()) return std::nullopt;
  const int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void KvCache::release_slot(int32_t slot) { free_slots_.push_back(slot); }

}  // namespace hadal::kvcache
