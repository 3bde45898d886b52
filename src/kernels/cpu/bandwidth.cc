#include "kernels/bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/thread_pool.h"
#include "kernels/cpu/table.h"

namespace hadal::kernels {
namespace {

constexpr size_t kBytes = size_t{1} << 30;
constexpr int64_t kPiece = 1 << 20;
constexpr int64_t kBlock = 4096;

// Reads a piece with the loads of the best table, a block at a time, asking for the lines that lie
// `ahead` bytes further on. The sum is of no interest; its loads are the widest there are.
float read_piece(const cpu::Table& table, const std::byte* p, int64_t bytes, int64_t ahead) {
  float sum = 0;
  for (int64_t i = 0; i < bytes; i += kBlock) {
    for (int64_t j = 0; j < kBlock && ahead > 0; j += 64) __builtin_prefetch(p + i + ahead + j);
    sum += table.sum_squares(reinterpret_cast<const float*>(p + i), kBlock / 4);
  }
  return sum;
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
    std::memset(bytes + begin * kPiece, 0x3f, static_cast<size_t>((end - begin) * kPiece));
  });
  double best = 0;
  const cpu::Table& table = cpu::best_table();
  std::atomic<float> sink{0};
  for (const int64_t ahead : {0, 4096, 8192, 0, 4096, 8192}) {
    const auto start = std::chrono::steady_clock::now();
    pool.run(pieces, share, [&](int64_t begin, int64_t end, int) {
      sink += read_piece(table, bytes + begin * kPiece, (end - begin) * kPiece, ahead);
    });
    const double s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(kBytes) / s / 1e9);
  }
  munmap(memory, kBytes);
  return best;
}

}  // namespace hadal::kernels
