#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include "apps/terminal.h"
#include "base/units.h"

namespace hadal::apps {

/// Says on stderr how far a long work is: a bar on a terminal, a line every few seconds elsewhere.
/// Ctrl-C stops the work.
class ProgressLine {
 public:
  /// `unit`: of what is counted; empty: bytes.
  explicit ProgressLine(std::string unit = {}) : unit_(std::move(unit)) {}
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }

  /// Whether to go on.
  bool step(uint64_t done, uint64_t total) {
    if (interrupt_.take()) return false;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return true;
    next_ = now + (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5));
    const double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    const std::string text =
        unit_.empty() ? format_bytes(done) + " of " + format_bytes(total)
                      : std::to_string(done) + " of " + std::to_string(total) + " " + unit_;
    if (!terminal_) {
      std::fprintf(stderr, "%.0f%%  %s\n", part * 100, text.c_str());
      return true;
    }
    shown_ = true;
    constexpr int kWidth = 30;
    char bar[kWidth + 1] = {};
    for (int i = 0; i < kWidth; ++i) bar[i] = i < static_cast<int>(part * kWidth) ? '#' : '.';
    std::fprintf(stderr, "\r\x1b[K[%s] %3.0f%%  %s", bar, part * 100, text.c_str());
    return true;
  }

 private:
  std::string unit_;
  InterruptGuard interrupt_;
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_ =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(terminal_ ? 0 : 5000);
};

}  // namespace hadal::apps
