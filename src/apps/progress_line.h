#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>

#include "apps/terminal.h"
#include "base/units.h"

namespace hadal::apps {

/// A line on stderr that says how far a long write is, when stderr is a terminal; and Ctrl-C, which
/// stops the work.
class ProgressLine {
 public:
  ProgressLine() = default;
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }

  /// Shows it ten times a second at most. Whether to go on.
  bool step(uint64_t done, uint64_t total) {
    if (interrupt_.take()) return false;
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now < next_) return true;
    next_ = now + std::chrono::milliseconds(100);
    shown_ = true;
    const double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    constexpr int kWidth = 30;
    char bar[kWidth + 1] = {};
    for (int i = 0; i < kWidth; ++i) bar[i] = i < static_cast<int>(part * kWidth) ? '#' : '.';
    std::fprintf(stderr, "\r\x1b[K[%s] %3.0f%%  %s of %s", bar, part * 100,
                 format_bytes(done).c_str(), format_bytes(total).c_str());
    return true;
  }

 private:
  InterruptGuard interrupt_;
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace hadal::apps
