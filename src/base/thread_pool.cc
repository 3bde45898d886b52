#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/check.h"

namespace hadal {
namespace {

// A decode step issues hundreds of short jobs: workers spin between them and sleep only when a gap
// is long. About 20 us on current machines; longer starves other processes, shorter pays a wake-up
// per op.
constexpr int kSpins = 4000;

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace

// The job's gate: whether workers may still enter, and how many are inside. The caller closes it
// when no piece is left to claim and waits only for those inside: a worker that is late, because
// another process has its core, delays nobody.
constexpr uint32_t kOpen = uint32_t{1} << 31;

struct ThreadPool::Impl {
  std::vector<std::thread> workers;
  FunctionRef<void(int64_t, int64_t, int)>* body = nullptr;
  int64_t n = 0;
  int64_t grain = 1;
  alignas(64) std::atomic<uint32_t> epoch{0};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<uint32_t> gate{0};
  std::atomic<bool> stop{false};

  void work(int thread) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= n) return;
      (*body)(begin, std::min(n, begin + grain), thread);
    }
  }

  bool enter() {
    uint32_t g = gate.load(std::memory_order_acquire);
    while ((g & kOpen) != 0) {
      if (gate.compare_exchange_weak(g, g + 1, std::memory_order_acq_rel)) return true;
    }
    return false;
  }

  void worker_loop(int thread) {
    uint32_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && epoch.load(std::memory_order_acquire) == seen; ++i) cpu_relax();
      if (epoch.load(std::memory_order_acquire) == seen)
        epoch.wait(seen, std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      seen = epoch.load(std::memory_order_acquire);
      if (!enter()) continue;
      work(thread);
      if (gate.fetch_sub(1, std::memory_order_acq_rel) == 1) gate.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  CHECK(threads >= 0);
  if (threads == 0) threads = hardware_threads();
  for (int i = 1; i < threads; ++i) {
    impl_->workers.emplace_back([impl = impl_.get(), i] { impl->worker_loop(i); });
  }
}

ThreadPool::~ThreadPool() {
  impl_->stop.store(true, std::memory_order_release);
  impl_->epoch.fetch_add(1, std::memory_order_release);
  impl_->epoch.notify_all();
  for (std::thread& t : impl_->workers) t.join();
}

int ThreadPool::threads() const { return static_cast<int>(impl_->workers.size()) + 1; }

void ThreadPool::run(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) {
  CHECK(grain > 0);
  if (n <= 0) return;
  if (impl_->workers.empty() || n <= grain) {
    for (int64_t begin = 0; begin < n; begin += grain) body(begin, std::min(n, begin + grain), 0);
    return;
  }
  impl_->body = &body;
  impl_->n = n;
  impl_->grain = grain;
  impl_->next.store(0, std::memory_order_relaxed);
  impl_->gate.store(kOpen, std::memory_order_release);
  impl_->epoch.fetch_add(1, std::memory_order_release);
  impl_->epoch.notify_all();
  impl_->work(0);
  impl_->gate.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int i = 0; i < kSpins; ++i) {
    if (impl_->gate.load(std::memory_order_acquire) == 0) return;
    cpu_relax();
  }
  for (uint32_t inside; (inside = impl_->gate.load(std::memory_order_acquire)) != 0;) {
    impl_->gate.wait(inside, std::memory_order_acquire);
  }
}

int hardware_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace hadal
