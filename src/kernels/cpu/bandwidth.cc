#include "kernels/bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "base/thread_pool.h"

namespace hadal::kernels {
namespace {

constexpr size_t kBytes = size_t{1} << 30;
constexpr int64_t kPiece = 1 << 20;

// Eight streams of 64-bit sums over a piece: the compiler turns them into the widest loads that the
// build allows, and loads of any width saturate memory.
uint64_t read_piece(const std::byte* p, int64_t bytes, int64_t ahead) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < bytes; i += 64) {
    if (ahead > 0) __builtin_prefetch(p + i + ahead);
    uint64_t words[8];
    std::memcpy(words, p + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  uint64_t total = 0;
  for (const uint64_t s : sums) total += s;
  return total;
}

}  // namespace

double measure_read_gb_per_s(int threads) {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  madvise(memory, kBytes, MADV_HUGEPAGE);
  ThreadPool pool(threads);
  auto* bytes = static_cast<std::byte*>(memory);
  const auto pieces = static_cast<int64_t>(kBytes) / kPiece;
  const int64_t share = std::max<int64_t>(1, pieces / pool.threads() / 4);
  pool.run(pieces, share, [&](int64_t begin, int64_t end, int) {
    std::memset(bytes + begin * kPiece, 1, static_cast<size_t>((end - begin) * kPiece));
  });
  double best = 0;
  std::atomic<uint64_t> sink{0};
  for (const int64_t ahead : {0, 1024, 4096, 0, 1024, 4096}) {
    const auto start = std::chrono::steady_clock::now();
    pool.run(pieces, share, [&](int64_t begin, int64_t end, int) {
      sink += read_piece(bytes + begin * kPiece, (end - begin) * kPiece, ahead);
    });
    const double s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(kBytes) / s / 1e9);
  }
  munmap(memory, kBytes);
  return best;
}

}  // namespace hadal::kernels
