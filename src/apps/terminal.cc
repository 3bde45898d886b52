#include "apps/terminal.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <utility>
#include <variant>

#include "base/utf8.h"

namespace hadal::apps {
namespace {

constexpr const char* kDim = "\x1b[2m";
constexpr const char* kNormal = "\x1b[0m";

volatile std::sig_atomic_t g_interrupts = 0;
struct sigaction g_previous;

void count_interrupt(int) { g_interrupts = g_interrupts + 1; }

void put(std::FILE* to, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fflush(to);
}

}  // namespace

// A model's text may hold what steers a terminal; a pipe gets it as it is.
void TerminalSink::show_reasoning(const std::string& text) {
  if (!color_) {
    put(stderr, for_terminal(text));
    return;
  }
  put(stdout, (dimmed_ ? "" : kDim) + for_terminal(text));
  dimmed_ = true;
}

void TerminalSink::show_content(const std::string& text) {
  if (dimmed_) put(stdout, std::string(kNormal) + "\n");
  dimmed_ = false;
  put(stdout, color_ ? for_terminal(text) : text);
}

void TerminalSink::on_event(engine_api::Event&& event) {
  std::lock_guard lock(mutex_);
  if (auto* delta = std::get_if<engine_api::Delta>(&event)) {
    if (!delta->reasoning.empty()) show_reasoning(delta->reasoning);
    if (!delta->content.empty()) show_content(delta->content);
    for (const engine_api::ToolCall& call : delta->tool_calls) {
      show_content("\n[call " + call.name + " " + call.arguments + "]\n");
    }
    answer_.reasoning += delta->reasoning;
    answer_.content += delta->content;
  } else if (auto* finished = std::get_if<engine_api::Finished>(&event)) {
    if (dimmed_) put(stdout, kNormal);
    answer_.finished = std::move(*finished);
    done_ = true;
  } else if (auto* failed = std::get_if<engine_api::Failed>(&event)) {
    if (dimmed_) put(stdout, kNormal);
    answer_.error = std::move(failed->error);
    done_ = true;
  }
  changed_.notify_all();
}

TerminalSink::Answer TerminalSink::wait(const std::function<void()>& poll) {
  std::unique_lock lock(mutex_);
  while (!done_) {
    changed_.wait_for(lock, std::chrono::milliseconds(50));
    lock.unlock();
    poll();
    lock.lock();
  }
  return std::move(answer_);
}

InterruptGuard::InterruptGuard() {
  struct sigaction action {};
  action.sa_handler = count_interrupt;  // no SA_RESTART: a pending read of the terminal must return
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &g_previous);
  g_interrupts = 0;
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &g_previous, nullptr); }

bool InterruptGuard::take() {
  const bool pressed = g_interrupts > 0;
  g_interrupts = 0;
  return pressed;
}

}  // namespace hadal::apps
