#include "engine/local_backend.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/bounded_queue.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine/answer.h"
#include "engine/prompt_tokens.h"
#include "engine/sequence.h"
#include "model/step_batch.h"

namespace hadal::engine {

using engine_api::Delta;
using engine_api::Event;
using engine_api::FinishReason;
using engine_api::RequestId;

namespace {

// A request on its way: made by submit, finished by the engine's thread.
struct Job {
  RequestId id{};
  engine_api::Request request;
  PromptTokens prompt;
  std::unique_ptr<Answer> answer;
  std::shared_ptr<engine_api::EventSink> sink;
  int64_t deadline_ns = 0;
  std::atomic<bool> cancelled{false};
};

bool empty(const Delta& d) {
  return d.content.empty() && d.reasoning.empty() && d.tool_calls.empty() && d.logprobs.empty();
}

}  // namespace

struct LocalBackend::Impl {
  Impl(std::unique_ptr<LoadedModel> m, const BackendOptions& o, const Clock& c,
       MetricsRegistry& metrics)
      : loaded(std::move(m)),
        options(o),
        clock(c),
        queue(o.queue_max),
        queue_depth(metrics.gauge("hadal_engine_queue_depth", "Requests waiting for the engine.")),
        pages_free(
            metrics.gauge("hadal_engine_kv_pages_free", "KV cache pages that nothing holds.")),
        prompt_tokens(
            metrics.counter("hadal_engine_prompt_tokens_total", "Prompt tokens computed.")),
        cached_tokens(metrics.counter("hadal_engine_cached_tokens_total",
                                      "Prompt tokens found in the prefix cache.")),
        new_tokens(metrics.counter("hadal_engine_completion_tokens_total", "Tokens generated.")),
        logits_host(static_cast<size_t>(loaded->model->config().vocab)) {
    pages_free.set(static_cast<double>(loaded->kv->pages_free()));
  }

  std::unique_ptr<LoadedModel> loaded;
  BackendOptions options;
  const Clock& clock;
  BoundedQueue<std::shared_ptr<Job>> queue;
  Gauge& queue_depth;
  Gauge& pages_free;
  Counter& prompt_tokens;
  Counter& cached_tokens;
  Counter& new_tokens;

  std::mutex jobs_mutex;
  std::unordered_map<uint64_t, std::shared_ptr<Job>> jobs;  ///< submitted and not finished
  std::atomic<uint64_t> next_id{1};
  std::atomic<bool> stopping{false};

  // The engine's thread only:
  model::StepBatch batch;
  Buffer logits;
  std::vector<float> logits_host;
  std::thread thread;

  void loop();
  void serve(Job& job);
  Status generate(Job& job, Sequence& sequence);
  Status step(Sequence& sequence, int64_t count);
  Status interrupted(const Job& job) const;
  void drop(Job& job, const Error& why);
  void sweep();
  void finish(Job& job, const Sequence* sequence, FinishReason reason);
  void forget(RequestId id);
};

// Rows of the next `count` tokens, and the logits after the last of them.
Status LocalBackend::Impl::step(Sequence& s, int64_t count) {
  TRY_VOID(s.reserve(count));
  const auto tokens =
      std::span(s.tokens()).subspan(static_cast<size_t>(s.computed()), static_cast<size_t>(count));
  const model::StepSequence one{
      .tokens = tokens, .past = s.computed(), .block_table = s.pages(), .slot = s.slot()};
  kernels::Device& device = *loaded->device;
  TRY_VOID(batch.set(device, {&one, 1}));
  const auto vocab = static_cast<int64_t>(logits_host.size());
  const bool last = s.computed() + count == static_cast<int64_t>(s.tokens().size());
  const kernels::Mat out{logits.data(), device.activation_dtype(), last ? 1 : 0, vocab, vocab};
  loaded->model->forward(batch.view(), loaded->kv->views(), batch.logit_rows(), out);
  if (last)
    device.copy_to_host(logits_host.data(), logits.data(), logits_host.size() * sizeof(float));
  s.advance(count);
  return {};
}

// Good while the answer is still wanted.
Status LocalBackend::Impl::interrupted(const Job& job) const {
  if (job.cancelled.load(std::memory_order_relaxed) || stopping.load(std::memory_order_relaxed)) {
    return make_error(ErrorCode::cancelled, "the request was cancelled");
  }
  if (clock.now_ns() > job.deadline_ns) {
    return make_error(ErrorCode::timeout, "the request ran past its time limit");
  }
  return {};
}

Status LocalBackend::Impl::generate(Job& job, Sequence& s) {
  const int64_t step_max = loaded->model->step_tokens_max();
  Answer& answer = *job.answer;
  while (!answer.finished()) {
    const auto waiting = static_cast<int64_t>(s.tokens().size()) - s.computed();
    for (int64_t left = waiting; left > 0;) {
      TRY_VOID(interrupted(job));
      sweep();
      const int64_t n = std::min(left, step_max);
      TRY_VOID(step(s, n));
      left -= n;
    }
    TRY(const int32_t token, answer.choose(logits_host));
    s.append(token);
    new_tokens.add();
    Delta delta;
    answer.accept(token, delta);
    if (!answer.finished() &&
        static_cast<int64_t>(s.tokens().size()) >= loaded->context_tokens_max) {
      answer.finish(FinishReason::length, delta);
    }
    if (!empty(delta)) job.sink->on_event(std::move(delta));
  }
  return {};
}

void LocalBackend::Impl::finish(Job& job, const Sequence* s, FinishReason reason) {
  engine_api::Finished done;
  done.reason = reason;
  done.usage.prompt_tokens = static_cast<int64_t>(job.prompt.ids.size());
  done.usage.cached_tokens = s != nullptr ? s->cached() : 0;
  done.usage.completion_tokens = job.answer->tokens();
  done.usage.reasoning_tokens = job.answer->reasoning_tokens();
  done.stop_string = job.answer->stop_string();
  job.sink->on_event(std::move(done));
}

void LocalBackend::Impl::serve(Job& job) {
  auto sequence = Sequence::start(*loaded->kv, loaded->prefixes.get(), job.prompt.ids);
  if (!sequence) {
    job.sink->on_event(engine_api::Failed{std::move(sequence).error()});
    return;
  }
  const auto prompt = static_cast<int64_t>(job.prompt.ids.size());
  prompt_tokens.add(static_cast<uint64_t>(prompt - sequence->cached()));
  cached_tokens.add(static_cast<uint64_t>(sequence->cached()));
  job.sink->on_event(engine_api::Started{prompt, sequence->cached()});
  if (!job.prompt.echo.empty()) {
    Delta echo;
    echo.content = std::exchange(job.prompt.echo, {});
    job.sink->on_event(std::move(echo));
  }
  const Status done = generate(job, *sequence);
  sequence->publish();
  if (done) {
    finish(job, &*sequence, *job.answer->finished());
  } else if (done.error().code == ErrorCode::cancelled) {
    finish(job, &*sequence, FinishReason::cancelled);
  } else {
    LOG(info, "answer_failed", {"error", error_class(done.error().code).name},
        {"message", done.error().message});
    job.sink->on_event(engine_api::Failed{done.error()});
  }
}

// Ends a request that never ran.
void LocalBackend::Impl::drop(Job& job, const Error& why) {
  if (why.code == ErrorCode::cancelled) {
    finish(job, nullptr, FinishReason::cancelled);
  } else {
    job.sink->on_event(engine_api::Failed{why});
  }
  forget(job.id);
}

// Whoever waits in vain gives its place to others at once, not when its turn would come.
void LocalBackend::Impl::sweep() {
  for (const auto& job : queue.take_if([&](const auto& j) { return !interrupted(*j); })) {
    const Status wanted = interrupted(*job);
    drop(*job,
         wanted ? make_error(ErrorCode::cancelled, "the request was cancelled") : wanted.error());
  }
  queue_depth.set(static_cast<double>(queue.size()));
}

void LocalBackend::Impl::forget(RequestId id) {
  std::lock_guard lock(jobs_mutex);
  jobs.erase(static_cast<uint64_t>(id));
}

void LocalBackend::Impl::loop() {
  while (auto next = queue.pop()) {
    Job& job = **next;
    queue_depth.set(static_cast<double>(queue.size()));
    // The wall of this thread: nothing a request does may end the engine.
    try {
      if (const Status wanted = interrupted(job); wanted) {
        serve(job);
      } else {
        drop(job, wanted.error());
      }
    } catch (const std::exception& e) {
      LOG(error, "engine_exception", {"what", e.what()});
      job.sink->on_event(engine_api::Failed{
          internal_error("the engine failed on this request; its log says why")});
    }
    pages_free.set(static_cast<double>(loaded->kv->pages_free()));
    forget(job.id);
  }
}

LocalBackend::LocalBackend(std::unique_ptr<LoadedModel> model, const BackendOptions& options,
                           const Clock& clock, MetricsRegistry& metrics)
    : impl_(std::make_unique<Impl>(std::move(model), options, clock, metrics)) {
  auto buffer = impl_->loaded->device->allocate(impl_->logits_host.size() * sizeof(float));
  CHECK(buffer.has_value(), "no memory for one row of logits");
  impl_->logits = *std::move(buffer);
  impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
}

LocalBackend::~LocalBackend() {
  stop();
  impl_->thread.join();
}

void LocalBackend::stop() {
  impl_->stopping = true;
  impl_->queue.close();
}

const LoadedModel& LocalBackend::model() const { return *impl_->loaded; }

std::vector<engine_api::ModelInfo> LocalBackend::models() const {
  const LoadedModel& m = *impl_->loaded;
  return {{.id = m.id,
           .created_unix_s = 0,
           .context_tokens_max = m.context_tokens_max,
           .supports_chat = m.prompt_format != nullptr}};
}

bool LocalBackend::ready() const { return !impl_->stopping; }

Result<RequestId> LocalBackend::submit(engine_api::Request request,
                                       std::shared_ptr<engine_api::EventSink> sink) {
  Impl& m = *impl_;
  if (m.stopping) return unavailable("the server is stopping");
  if (!request.model.empty() && request.model != m.loaded->id) {
    return not_found("there is no model '" + request.model + "' here; this server has '" +
                     m.loaded->id + "'")
        .about("model");
  }
  auto job = std::make_shared<Job>();
  job->id = RequestId{m.next_id.fetch_add(1)};
  TRY(job->prompt, make_prompt(*m.loaded, request));
  const uint64_t seed =
      splitmix64(static_cast<uint64_t>(m.clock.now_ns()) ^ static_cast<uint64_t>(job->id));
  TRY(job->answer, Answer::create(*m.loaded, request, job->prompt, seed));
  int64_t timeout_ms = m.options.timeout_ms_max;
  if (request.timeout_ms > 0) timeout_ms = std::min(timeout_ms, request.timeout_ms);
  job->deadline_ns = m.clock.now_ns() + timeout_ms * 1'000'000;
  job->request = std::move(request);
  job->sink = std::move(sink);
  const RequestId id = job->id;
  {
    std::lock_guard lock(m.jobs_mutex);
    m.jobs[static_cast<uint64_t>(id)] = job;
  }
  if (!m.queue.try_push(std::move(job))) {
    m.forget(id);
    return unavailable("the queue of " + std::to_string(m.queue.capacity()) + " requests is full")
        .with_hint("try again shortly");
  }
  m.queue_depth.set(static_cast<double>(m.queue.size()));
  return id;
}

void LocalBackend::cancel(RequestId id) {
  std::lock_guard lock(impl_->jobs_mutex);
  const auto at = impl_->jobs.find(static_cast<uint64_t>(id));
  if (at != impl_->jobs.end()) at->second->cancelled = true;
}

}  // namespace hadal::engine
