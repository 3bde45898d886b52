#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/loaded_model.h"
#include "engine/local_backend.h"

/// What the tests of this room share: the demo model, a clock that stands still, and a sink that
/// keeps what it is told and holds the backend to the order of events.
namespace hadal::engine {

constexpr const char* kDemoPath = HADAL_SOURCE_DIR "/models/demo/demo.gguf";

/// A checkpoint with another tokenizer.
class WithTokenizer final : public format::Checkpoint {
 public:
  WithTokenizer(std::unique_ptr<const format::Checkpoint> inner, format::TokenizerSource source)
      : inner_(std::move(inner)), source_(std::move(source)) {}

  format::CheckpointKind kind() const override { return inner_->kind(); }
  const std::string& name() const override { return inner_->name(); }
  const json::Value& config() const override { return inner_->config(); }
  const json::Value& generation_config() const override { return inner_->generation_config(); }
  Result<format::TokenizerSource> tokenizer_source() const override { return source_; }
  std::span<const format::CheckpointTensor> tensors() const override { return inner_->tensors(); }
  const format::CheckpointTensor* find(std::string_view name) const override {
    return inner_->find(name);
  }
  std::vector<std::filesystem::path> files() const override { return inner_->files(); }
  uint64_t bytes() const override { return inner_->bytes(); }

 private:
  std::unique_ptr<const format::Checkpoint> inner_;
  format::TokenizerSource source_;
};

inline std::unique_ptr<const format::Checkpoint> open_checkpoint(const std::string& path) {
  auto opened = format::Checkpoint::open(path);
  if (!opened) {
    ADD_FAILURE() << opened.error().message;
    std::abort();
  }
  return *std::move(opened);
}

inline Result<std::unique_ptr<LoadedModel>> try_load(
    const LoadOptions& options, std::unique_ptr<const format::Checkpoint> checkpoint = nullptr,
    const kernels::CpuOptions& cpu = {.threads = 1}) {
  if (!checkpoint) checkpoint = open_checkpoint(kDemoPath);
  TRY(auto device, kernels::open_cpu(cpu));
  return LoadedModel::load(std::move(checkpoint), std::move(device), options);
}

inline std::unique_ptr<LoadedModel> load(
    const LoadOptions& options = {},
    std::unique_ptr<const format::Checkpoint> checkpoint = nullptr) {
  auto model = try_load(options, std::move(checkpoint));
  if (!model) {
    ADD_FAILURE() << model.error().message;
    std::abort();
  }
  return *std::move(model);
}

/// A clock that moves when it is told to.
class ManualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_; }
  int64_t unix_ms() const override { return now_ns_ / 1'000'000; }
  void advance_ms(int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  std::atomic<int64_t> now_ns_{1'000'000'000};
};

/// One request's answer, put together.
struct Outcome {
  bool refused = false;  ///< submit failed; `error` says why
  std::optional<engine_api::Started> started;
  std::string content;
  std::string reasoning;
  std::vector<engine_api::PositionLogprobs> logprobs;
  size_t deltas = 0;
  std::optional<engine_api::Finished> finished;
  std::optional<Error> error;

  /// "stop", "length", "tool_calls", "cancelled", or the error's code.
  std::string end() const {
    if (error) return std::string(error_class(error->code).name);
    if (!finished) return "nothing";
    constexpr const char* kNames[] = {"stop", "length", "tool_calls", "cancelled"};
    return kNames[static_cast<size_t>(finished->reason)];
  }
  engine_api::Usage usage() const {
    return finished ? finished->usage : engine_api::Usage{-1, -1, -1, -1};
  }
  std::vector<float> logprob_list() const {
    std::vector<float> out;
    for (const auto& p : logprobs) out.push_back(p.chosen.logprob);
    return out;
  }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> out;
    for (const auto& p : logprobs) out.push_back(p.chosen.id);
    return out;
  }
};

/// Keeps the events of one request and fails the test when they come in a wrong order: Started,
/// then Deltas, then one Finished or Failed; one that never ran gets the last alone.
/// Threading: on_event on the backend's thread, the rest on the test's.
class Recorder final : public engine_api::EventSink {
 public:
  /// With `hold_at_delta` > 0 the backend's thread waits in that delta until release().
  explicit Recorder(size_t hold_at_delta = 0) : hold_at_delta_(hold_at_delta) {}

  void on_event(engine_api::Event&& event) override {
    std::unique_lock lock(mutex_);
    EXPECT_FALSE(done()) << "an event after the last";
    if (auto* started = std::get_if<engine_api::Started>(&event)) {
      EXPECT_FALSE(out_.started) << "Started twice";
      out_.started = *started;
    } else if (auto* delta = std::get_if<engine_api::Delta>(&event)) {
      EXPECT_TRUE(out_.started) << "a Delta before Started";
      EXPECT_FALSE(delta->content.empty() && delta->reasoning.empty() &&
                   delta->tool_calls.empty() && delta->logprobs.empty())
          << "an empty Delta";
      out_.content += delta->content;
      out_.reasoning += delta->reasoning;
      for (auto& p : delta->logprobs) out_.logprobs.push_back(std::move(p));
      ++out_.deltas;
    } else if (auto* finished = std::get_if<engine_api::Finished>(&event)) {
      out_.finished = std::move(*finished);
    } else {
      out_.error = std::move(std::get<engine_api::Failed>(event).error);
    }
    changed_.notify_all();
    if (hold_at_delta_ > 0 && out_.deltas == hold_at_delta_ && !done()) {
      changed_.wait_for(lock, kPatience, [&] { return released_; });
    }
  }

  /// Waits until the backend's thread is in the delta where it is held.
  void wait_until_held() {
    std::unique_lock lock(mutex_);
    const bool held =
        changed_.wait_for(lock, kPatience, [&] { return done() || out_.deltas >= hold_at_delta_; });
    EXPECT_TRUE(held && !done()) << "it was to be held, and ended: " << out_.end();
  }
  void release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  /// The whole answer.
  Outcome wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return done(); })) << "no last event";
    return out_;
  }
  /// What came so far.
  Outcome now() {
    std::lock_guard lock(mutex_);
    return out_;
  }

 private:
  static constexpr std::chrono::seconds kPatience{60};
  bool done() const { return out_.finished || out_.error; }

  const size_t hold_at_delta_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
  Outcome out_;
};

/// A backend with a model, a clock and metrics of its own.
struct TestEngine {
  explicit TestEngine(const LoadOptions& options = {}, const BackendOptions& limits = {})
      : TestEngine(load(options), limits) {}
  explicit TestEngine(std::unique_ptr<LoadedModel> model, const BackendOptions& limits = {})
      : pages(model->kv->pages()),
        backend(std::make_unique<LocalBackend>(std::move(model), limits, clock, metrics)) {}

  Outcome ask(engine_api::Request request) {
    auto sink = std::make_shared<Recorder>();
    const auto id = backend->submit(std::move(request), sink);
    if (id) return sink->wait();
    Outcome out = sink->now();
    EXPECT_FALSE(out.started || out.finished || out.error) << "an event of a refused request";
    out.refused = true;
    out.error = id.error();
    return out;
  }
  /// Submits what must be accepted.
  engine_api::RequestId submit(engine_api::Request request, std::shared_ptr<Recorder> sink) {
    auto id = backend->submit(std::move(request), std::move(sink));
    EXPECT_TRUE(id) << id.error().message;
    return id.value_or(engine_api::RequestId{});
  }
  /// Destroys the backend; the pages that nothing held when its thread ended.
  int64_t pages_free_at_end() {
    backend.reset();
    return static_cast<int64_t>(metrics.gauge("hadal_engine_kv_pages_free", "").value());
  }
  const tokenizer::Tokenizer& tokenizer() const { return *backend->model().tokenizer; }
  std::string bytes(int32_t token) const { return std::string(tokenizer().token_bytes(token)); }

  ManualClock clock;
  MetricsRegistry metrics;
  int64_t pages;
  std::unique_ptr<LocalBackend> backend;
};

/// A greedy request for a chat of one message.
inline engine_api::Request chat(const std::string& text, const std::string& system = "") {
  engine_api::Chat c;
  using engine_api::Role;
  if (!system.empty()) c.messages.push_back({.role = Role::system, .content = system});
  c.messages.push_back({.role = Role::user, .content = text});
  engine_api::Request request;
  request.prompt = std::move(c);
  request.sampling.temperature = 0;
  return request;
}
/// Greedy requests to continue a text, or tokens.
inline engine_api::Request continuation(engine_api::TextPrompt prompt) {
  engine_api::Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  return request;
}
inline engine_api::Request after_ids(std::vector<int32_t> ids) {
  engine_api::Request request;
  request.prompt = engine_api::TokenPrompt{std::move(ids)};
  request.sampling.temperature = 0;
  return request;
}
/// A greedy request whose answer has exactly `tokens` tokens, if nothing stops it.
inline engine_api::Request exactly(engine_api::Request request, int64_t tokens) {
  request.stop.max_tokens = tokens;
  request.stop.ignore_eos = true;
  return request;
}

/// `count` token ids of ordinary words, the same every time.
inline std::vector<int32_t> some_ids(int64_t count, int32_t first = 300) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(first + static_cast<int32_t>(i * 7 % 1000));
  return ids;
}

}  // namespace hadal::engine
