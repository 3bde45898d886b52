#pragma once

#include <cstdint>
#include <memory>

#include "base/function_ref.h"

namespace hadal {

/// A leaf pool for compute: it runs slices of one job at a time and never calls back into its
/// users. Threading: one thread (the engine's) calls run; the body runs on that thread and on the
/// workers.
class ThreadPool {
 public:
  /// `threads` counts the caller: 1 means no workers. 0 means one per hardware thread this process
  /// may use.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls `body(begin, end, thread)` over disjoint pieces that cover [0, n), each at most `grain`
  /// long, and returns when all are done. `thread` is in [0, threads()): an index for per-thread
  /// scratch. The pieces are claimed in order, so neighbours run at about the same time.
  void run(int64_t n, int64_t grain,
           FunctionRef<void(int64_t begin, int64_t end, int thread)> body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Hardware threads this process may run on (respects its CPU affinity mask). At least 1.
int hardware_threads();

}  // namespace hadal
