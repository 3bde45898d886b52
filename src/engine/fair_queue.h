#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/job.h"

namespace hadal::engine {

/// The requests that wait, and who has been served how much. Next comes the lowest `priority`;
/// among equals the user who was served the least; among the requests of one user the oldest. A
/// user whose last request was served long ago comes back with no more credit than the least served
/// of those who are here: nobody saves up.
///
///   served = prompt tokens computed + 2 x tokens generated
///
/// Threading: all members may be called from any thread.
/// Source: the virtual token counter of Sheng et al., Fairness in Serving Large Language Models,
/// arXiv 2401.00588.
class FairQueue {
 public:
  /// `capacity`: requests that may wait.
  explicit FairQueue(size_t capacity) : capacity_(capacity) {}

  /// False when full or closed. The queue keeps count of `job`'s user until leave(job).
  bool try_push(std::shared_ptr<Job> job);
  /// Waits for a request without taking it; false once the queue is closed and empty.
  bool wait();
  /// The request whose turn it is, if `has_room` is true for it; null otherwise: nobody overtakes.
  std::shared_ptr<Job> pop_if(const std::function<bool(const Job&)>& has_room);
  /// Takes out every request for which `wanted` is true, oldest first.
  std::vector<std::shared_ptr<Job>> take_if(const std::function<bool(const Job&)>& wanted);
  /// Tells that a request that was taken out is over.
  void leave(const Job& job);
  /// Refuses new requests and wakes the waiters.
  void close();

  size_t size() const;
  size_t capacity() const { return capacity_; }
  /// Users whose count is kept; those who are away are forgotten, the least served first, beyond
  /// kAwayMax.
  size_t users() const;
  static constexpr size_t kAwayMax = 4096;

 private:
  Account& enter(const std::string& user);
  int64_t least_served_present() const;
  void forget_some();

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<std::shared_ptr<Job>> jobs_;  ///< oldest first
  std::unordered_map<std::string, Account> accounts_;
  size_t away_ = 0;  ///< accounts without a request
  bool closed_ = false;
};

}  // namespace hadal::engine
