#include "engine/fair_queue.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

namespace hadal::engine {

int64_t FairQueue::least_served_present() const {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const auto& [user, account] : accounts_) {
    if (account.requests > 0) least = std::min(least, account.served.load());
  }
  return least;
}

Account& FairQueue::enter(const std::string& user) {
  Account& account = accounts_[user];
  if (account.requests == 0) {
    const int64_t least = least_served_present();
    if (least != std::numeric_limits<int64_t>::max()) {
      account.served = std::max(account.served.load(), least);
    }
    if (account.known) --away_;
    account.known = true;
  }
  ++account.requests;
  return account;
}

bool FairQueue::try_push(std::shared_ptr<Job> job) {
  {
    std::lock_guard lock(mutex_);
    if (closed_ || jobs_.size() >= capacity_) return false;
    job->account = &enter(job->request.user);
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
  return true;
}

bool FairQueue::wait() {
  std::unique_lock lock(mutex_);
  ready_.wait(lock, [&] { return closed_ || !jobs_.empty(); });
  return !jobs_.empty();
}

std::shared_ptr<Job> FairQueue::pop_if(const std::function<bool(const Job&)>& has_room) {
  std::lock_guard lock(mutex_);
  // The first of equals is the oldest.
  const auto next = std::ranges::min_element(jobs_, {}, [](const auto& job) {
    return std::tuple(job->request.priority, job->account->served.load());
  });
  if (next == jobs_.end() || !has_room(**next)) return nullptr;
  auto job = std::move(*next);
  jobs_.erase(next);
  return job;
}

std::vector<std::shared_ptr<Job>> FairQueue::take_if(
    const std::function<bool(const Job&)>& wanted) {
  std::vector<std::shared_ptr<Job>> taken;
  std::lock_guard lock(mutex_);
  std::erase_if(jobs_, [&](auto& job) {
    if (!wanted(*job)) return false;
    taken.push_back(std::move(job));
    return true;
  });
  return taken;
}

void FairQueue::leave(const Job& job) {
  std::lock_guard lock(mutex_);
  if (--job.account->requests > 0) return;
  if (++away_ > kAwayMax) forget_some();
}

// Forgets half of those who are away: those served the least, who would lose the least by it.
void FairQueue::forget_some() {
  std::vector<std::pair<int64_t, const std::string*>> away;
  away.reserve(away_);
  for (const auto& [user, account] : accounts_) {
    if (account.requests == 0) away.emplace_back(account.served.load(), &user);
  }
  const auto half = away.begin() + static_cast<std::ptrdiff_t>(away.size() / 2);
  std::nth_element(away.begin(), half, away.end());
  for (auto it = away.begin(); it != half; ++it) accounts_.erase(accounts_.find(*it->second));
  away_ = static_cast<size_t>(away.end() - half);
}

void FairQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  ready_.notify_all();
}

size_t FairQueue::size() const {
  std::lock_guard lock(mutex_);
  return jobs_.size();
}

size_t FairQueue::users() const {
  std::lock_guard lock(mutex_);
  return accounts_.size();
}

}  // namespace hadal::engine
