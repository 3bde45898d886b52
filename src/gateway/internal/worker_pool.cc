#include "gateway/internal/worker_pool.h"

namespace hadal::gateway::internal {

WorkerPool::WorkerPool(int threads, size_t queue_max) : queue_(queue_max) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (auto work = queue_.pop()) (*work)();
    });
  }
}

WorkerPool::~WorkerPool() {
  queue_.close();
  for (std::thread& t : threads_) t.join();
}

}  // namespace hadal::gateway::internal
