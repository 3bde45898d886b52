#include "gateway/internal/embedding_sink.h"

#include <variant>

namespace hadal::gateway::internal {

void EmbeddingSink::on_event(engine_api::Event&& event) {
  if (auto* embedding = std::get_if<engine_api::Embedding>(&event)) {
    vectors_.at(static_cast<size_t>(embedding->index)) = std::move(embedding->values);
    return;
  }
  if (const auto* failed = std::get_if<engine_api::Failed>(&event)) {
    call_->respond(failed->error);
  } else if (const auto* finished = std::get_if<engine_api::Finished>(&event)) {
    const bool cancelled = finished->reason == engine_api::FinishReason::cancelled;
    if (!cancelled && --left_ > 0) return;
    call_->set_usage(finished->usage);
    if (cancelled) {
      call_->respond(stopped_error());
    } else {
      call_->respond(200, "application/json",
                     protocol::embeddings_answer(model_, vectors_, finished->usage, form_));
    }
  } else {
    return;
  }
  call_.reset();
}

}  // namespace hadal::gateway::internal
