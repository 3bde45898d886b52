#include "engine/queue_pace.h"

#include <algorithm>
#include <cmath>

namespace hadal::engine {
namespace {

constexpr double kNewest = 0.1;  // weight of the newest turn in the running mean

}  // namespace

void QueuePace::learn(int64_t now_ns, bool others_wait) {
  if (waited_) {
    const auto turn_ns = static_cast<double>(now_ns - last_ns_);
    const double mean = turn_ns_;
    turn_ns_ = mean == 0 ? turn_ns : (1 - kNewest) * mean + kNewest * turn_ns;
  }
  last_ns_ = now_ns;
  waited_ = others_wait;
}

int64_t QueuePace::retry_after_s(size_t waiting) const {
  const double seconds = turn_ns_ * static_cast<double>(waiting) / 2 / 1e9;
  return static_cast<int64_t>(std::clamp(std::ceil(seconds), 1.0, 60.0));
}

}  // namespace hadal::engine
