#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hadal::engine {

/// How fast those who wait get their turn, learnt from the turns themselves: tells whoever is
/// turned away when it is worth coming back. Threading: learn on the engine's thread, the rest any.
class QueuePace {
 public:
  /// Somebody's turn has come; `others_wait`: and not everybody's.
  void learn(int64_t now_ns, bool others_wait);
  /// Seconds until half of `waiting` requests have had their turn: there is room again, and the
  /// queue has not run dry. From 1 to 60. Source: the official OpenAI clients obey a Retry-After of
  /// at most a minute.
  int64_t retry_after_s(size_t waiting) const;

 private:
  int64_t last_ns_ = 0;
  bool waited_ = false;  ///< others waited after the last turn: the next one tells the pace
  std::atomic<double> turn_ns_{0};  ///< between two turns; 0: not known yet
};

}  // namespace hadal::engine
