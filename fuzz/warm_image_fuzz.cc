// Whatever an image says, either all of its pages are taken or none, and they are given back.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "kvcache/test_device.h"
#include "kvcache/warm_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  kvcache::MemoryDevice device;
  const kvcache::KvLayout layout{{{.width = 4}, {.width = 6, .tokens_per_row = 4}}};
  auto kv = kvcache::KvCache::create(layout, device, DType::f16, 8, 1);
  CHECK(kv.has_value());
  {
    kvcache::PrefixCache prefixes(*kv);
    const auto image = std::as_bytes(std::span(data, size));
    const auto pages = kvcache::read_warm_image(image, *kv, prefixes, device, "m", 6);
    CHECK(kv->pages_free() == 8 - (pages ? prefixes.shared_pages() : 0));
    CHECK(!pages || prefixes.shared_pages() <= *pages);
  }
  CHECK(kv->pages_free() == 8);
  return 0;
}
