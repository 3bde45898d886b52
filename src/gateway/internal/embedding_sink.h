#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/internal/call.h"
#include "gateway/internal/response_sink.h"
#include "protocol/embeddings.h"

namespace hadal::gateway::internal {

/// Answers once, when all inputs are embedded.
class EmbeddingSink final : public ResponseSink {
 public:
  /// `form.request` is not used.
  EmbeddingSink(std::unique_ptr<Call> call, std::string model, protocol::ParsedEmbeddings form)
      : call_(std::move(call)),
        model_(std::move(model)),
        form_(std::move(form)),
        vectors_(static_cast<size_t>(form_.inputs)),
        left_(form_.inputs) {}

  void refuse(const Error& error) override { call_->respond(error); }
  void on_event(engine_api::Event&& event) override;

 private:
  std::unique_ptr<Call> call_;
  const std::string model_;
  const protocol::ParsedEmbeddings form_;
  std::vector<std::vector<float>> vectors_;
  int left_;  ///< inputs that are not embedded yet
};

}  // namespace hadal::gateway::internal
