#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"

namespace hadal::gateway::internal {

/// Threads for what takes longer than a network thread may wait: reading a body's JSON, rendering
/// and tokenizing its prompt. Threading: post from any thread.
class WorkerPool {
 public:
  WorkerPool(int threads, size_t queue_max);
  /// Finishes what is queued.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Runs `work` soon. False when too much waits already; `work` is then not run.
  bool post(std::function<void()> work) { return queue_.try_push(std::move(work)); }

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace hadal::gateway::internal
