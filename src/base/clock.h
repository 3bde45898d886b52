#pragma once

#include <chrono>
#include <cstdint>

namespace hadal {

/// The time, as an interface, so that a test or a simulation can own it.
/// Threading: now_ns and unix_ms may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic time. Units: nanoseconds since an arbitrary start.
  virtual int64_t now_ns() const = 0;
  /// Wall time. Units: milliseconds since 1970-01-01 UTC.
  virtual int64_t unix_ms() const = 0;
};

/// The machine's clocks.
class SystemClock final : public Clock {
 public:
  int64_t now_ns() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  int64_t unix_ms() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace hadal
