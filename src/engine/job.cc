#include "engine/job.h"

#include <utility>

#include "base/log.h"

namespace hadal::engine {

using engine_api::FinishReason;

void Job::end(const Status& why, int64_t cached) {
  if (!why && why.error().code != ErrorCode::cancelled) {
    LOG(info, "answer_failed", {"error", error_class(why.error().code).name},
        {"message", why.error().message});
    sink->on_event(engine_api::Failed{why.error()});
    return;
  }
  engine_api::Finished done;
  done.reason = why ? *answer->finished() : FinishReason::cancelled;
  done.usage.prompt_tokens = static_cast<int64_t>(prompt.ids.size());
  done.usage.cached_tokens = cached;
  done.usage.completion_tokens = answer->tokens();
  done.usage.reasoning_tokens = answer->reasoning_tokens();
  done.stop_string = answer->stop_string();
  sink->on_event(std::move(done));
}

}  // namespace hadal::engine
