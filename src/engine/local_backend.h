#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/loaded_model.h"
#include "engine_api/backend.h"

namespace hadal::engine {

/// Limits of a LocalBackend.
struct BackendOptions {
  size_t queue_max = 64;             ///< waiting requests; one more is refused as unavailable
  int64_t timeout_ms_max = 600'000;  ///< of one request, from submit to its last token
  bool fixed_seed = false;           ///< requests without a seed get 0 rather than one of their own
};

/// Answers requests with one loaded model, many at once, on one thread of its own.
/// Threading: submit and cancel from any thread: prompts are rendered and tokenized on the
/// caller's. Destroying it answers what runs and what waits with `cancelled`.
class LocalBackend final : public engine_api::Backend {
 public:
  /// `clock` and `metrics` must outlive the backend.
  LocalBackend(std::unique_ptr<LoadedModel> model, const BackendOptions& options,
               const Clock& clock, MetricsRegistry& metrics);
  ~LocalBackend() override;

  const LoadedModel& model() const;

  /// Refuses new requests and ends all others with Finished{cancelled}, at their next step.
  void stop();

  std::vector<engine_api::ModelInfo> models() const override;
  bool ready() const override;
  Result<engine_api::RequestId> submit(engine_api::Request request,
                                       std::shared_ptr<engine_api::EventSink> sink) override;
  void cancel(engine_api::RequestId id) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::engine
