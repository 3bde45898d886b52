#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/answer.h"
#include "engine/prompt_tokens.h"
#include "engine_api/backend.h"

namespace hadal::engine {

/// What one user has been served; kept by the FairQueue.
struct Account {
  std::atomic<int64_t> served{0};
  int64_t requests = 0;  ///< that wait or run
  bool known = false;    ///< has had requests before
};

/// A request on its way: made by submit, ended by the engine's thread.
struct Job {
  engine_api::RequestId id{};
  engine_api::Request request;
  PromptTokens prompt;
  std::unique_ptr<Answer> answer;
  std::shared_ptr<engine_api::EventSink> sink;
  int64_t deadline_ns = 0;
  Account* account = nullptr;          ///< of its user; set when it is queued
  std::atomic<bool> cancelled{false};  ///< set from any thread

  /// Sends the last event: Finished when `why` is good or says cancelled, Failed otherwise.
  /// `cached`: prompt tokens that a cached prefix spared.
  void end(const Status& why, int64_t cached);
};

}  // namespace hadal::engine
