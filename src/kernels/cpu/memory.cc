#include "kernels/cpu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "base/units.h"

namespace hadal::kernels::cpu {
namespace {

// Large pages spare the TLB on large arrays: reads run at 33 instead of 25 GB/s a core here, and
// prefetches may cross every 4 KiB. Smaller pieces would waste most of one.
constexpr size_t kLargePage = 2u << 20;
constexpr size_t kLargeFrom = 4u << 20;

void unmap(std::byte* data, size_t bytes, void*) { munmap(data, bytes); }

}  // namespace

Result<Buffer> map_memory(size_t bytes) {
  const bool large = bytes >= kLargeFrom;
  const size_t n = bytes == 0 ? 1 : bytes;
  const size_t extra = large ? kLargePage : 0;
  void* p = n > SIZE_MAX - 2 * kLargePage
                ? MAP_FAILED
                : mmap(nullptr, n + extra, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return make_error(ErrorCode::resource_exhausted, "no memory for " + format_bytes(bytes));
  auto* data = static_cast<std::byte*>(p);
  if (large) {
    const size_t skip = (kLargePage - reinterpret_cast<uintptr_t>(data) % kLargePage) % kLargePage;
    const size_t end = (skip + n + 4095) / 4096 * 4096;
    if (skip > 0) munmap(data, skip);
    if (end < n + extra) munmap(data + end, n + extra - end);
    data += skip;
    madvise(data, n, MADV_HUGEPAGE);
  }
  return Buffer(data, n, unmap, nullptr);
}

void give_back_pages(const std::byte* data, size_t bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace hadal::kernels::cpu
