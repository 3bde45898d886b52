#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/answer.h"
#include "engine/pooler.h"
#include "engine/prompt_tokens.h"
#include "engine_api/backend.h"

namespace hadal::engine {

/// What one user has been served; kept by the FairQueue.
struct Account {
  std::atomic<int64_t> served{0};
  int64_t requests = 0;  ///< that wait or run
  bool known = false;    ///< has had requests before
};

/// What the parts of one request have in common. A request has a part for each choice of each
/// prompt; most have one. Parts wait and run as jobs of their own, and only one of a request waits:
/// the next comes when a choice's prompt is in the prefix cache, or the one before has joined.
/// Threading: the engine's thread, once the request is queued; `cancelled` any.
struct Parts {
  std::atomic<bool> cancelled{false};
  std::vector<PromptTokens> prompts;  ///< of parts to come
  int count = 1;
  int begun = 1;
  int open = 1;  ///< begun and not ended
  uint64_t seed = 0;
  engine_api::Usage usage;
  Status failed;  ///< why the request ends early

  /// No more parts; those that run are cancelled. The first reason counts.
  void fail(const Status& why);
  bool over() const { return open == 0; }
};

/// A request, or a part of one, on its way: made by submit, ended by the engine's thread.
struct Job {
  engine_api::RequestId id{};
  engine_api::Request request;
  std::shared_ptr<Parts> parts = std::make_shared<Parts>();
  int index = 0;  ///< among the parts
  PromptTokens prompt;
  std::unique_ptr<Answer> answer;
  std::unique_ptr<Pooler> pooler;  ///< instead of an answer, when an embedding is wanted
  std::shared_ptr<engine_api::EventSink> sink;
  int64_t deadline_ns = 0;
  int64_t turn_deadline_ns = 0;  ///< the first part must have joined by then
  Account* account = nullptr;    ///< of its user; set when it is queued

  /// The first part of a request. `seed` is used when the request gives none.
  /// Threading: any thread. Errors: as make_prompts and Answer::create.
  static Result<std::shared_ptr<Job>> create(const LoadedModel& model, engine_api::Request request,
                                             uint64_t seed);
  /// The part after this one; null when there is none, or when its creation failed the request.
  std::shared_ptr<Job> next(const LoadedModel& model) const;
  /// Whether the next part must wait until this one's prompt is computed.
  bool leads() const { return request.choices > 1 && index % request.choices == 0; }

  /// Makes the answer, or what makes the embedding.
  Status prepare(const LoadedModel& model);
  /// Ends this part: Finished when `why` is good. When it is not, the request ends with its last
  /// part, as Failed or as cancelled. `cached`: prompt tokens that a cached prefix spared.
  void end(const Status& why, int64_t cached);
};

}  // namespace hadal::engine
