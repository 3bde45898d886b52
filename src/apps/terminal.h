#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "engine_api/backend.h"

namespace hadal::apps {

/// Receives one answer and writes it to stdout as it comes; wait() blocks until it is complete.
/// Threading: on_event on the backend's thread, wait on another.
class TerminalSink final : public engine_api::EventSink {
 public:
  /// `color`: reasoning is dimmed with ANSI codes; otherwise it goes to stderr, so that a pipe gets
  /// the answer alone.
  explicit TerminalSink(bool color) : color_(color) {}

  void on_event(engine_api::Event&& event) override;

  struct Answer {
    std::string content;
    std::string reasoning;
    std::optional<Error> error;
    engine_api::Finished finished;
  };
  /// The complete answer. `poll` is called a few times a second meanwhile (to look for Ctrl-C).
  Answer wait(const std::function<void()>& poll);

 private:
  void show_reasoning(const std::string& text);
  void show_content(const std::string& text);

  const bool color_;
  bool dimmed_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  Answer answer_;
};

/// Counts Ctrl-C (SIGINT) instead of dying from it, while it lives.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  /// Whether Ctrl-C was pressed since the last call.
  bool take();
};

}  // namespace hadal::apps
