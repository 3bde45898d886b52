#include "engine/local_backend.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/rng.h"
#include "engine/batch.h"
#include "engine/fair_queue.h"
#include "engine/job.h"

namespace hadal::engine {

using engine_api::RequestId;

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
        batch(*loaded, c, metrics) {
    pages_free.set(static_cast<double>(loaded->kv->pages_free()));
  }

  std::unique_ptr<LoadedModel> loaded;
  BackendOptions options;
  const Clock& clock;
  FairQueue queue;
  Gauge& queue_depth;
  Gauge& pages_free;

  std::mutex jobs_mutex;
  std::unordered_map<uint64_t, std::shared_ptr<Job>> jobs;  ///< submitted and not finished
  std::atomic<uint64_t> next_id{1};
  std::atomic<bool> stopping{false};

  Batch batch;  ///< the engine's thread only
  std::thread thread;

  void loop();
  void sweep();
  void admit();
  Status wanted(const Job& job) const;
  void forget(const Job& job);
  void over(const Job& job);
};

// Good while the answer is still wanted.
Status LocalBackend::Impl::wanted(const Job& job) const {
  if (job.cancelled.load(std::memory_order_relaxed) || stopping.load(std::memory_order_relaxed)) {
    return make_error(ErrorCode::cancelled, "the request was cancelled");
  }
  if (clock.now_ns() > job.deadline_ns) {
    return make_error(ErrorCode::timeout, "the request ran past its time limit");
  }
  return {};
}

void LocalBackend::Impl::forget(const Job& job) {
  std::lock_guard lock(jobs_mutex);
  jobs.erase(static_cast<uint64_t>(job.id));
}

void LocalBackend::Impl::over(const Job& job) {
  queue.leave(job);
  forget(job);
}

// Whoever waits in vain gives its place to others at once, not when its turn would come.
void LocalBackend::Impl::sweep() {
  std::vector<Status> why;
  const auto in_vain = queue.take_if([&](const Job& job) {
    const Status status = wanted(job);
    if (!status) why.push_back(status);
    return !status;
  });
  for (size_t i = 0; i < in_vain.size(); ++i) {
    in_vain[i]->end(why[i], 0);
    over(*in_vain[i]);
  }
}

// Lets those who wait join, in their turn, as long as there is room.
void LocalBackend::Impl::admit() {
  if (!batch.full()) {
    while (auto job = queue.pop_if([&](const Job& j) { return batch.has_room(j); })) {
      batch.join(std::move(job));
    }
  }
  queue_depth.set(static_cast<double>(queue.size()));
}

void LocalBackend::Impl::loop() {
  const auto ended = [&](const Job& job) { over(job); };
  while (!batch.empty() || queue.wait()) {
    // The wall of this thread: nothing a request does may end the engine.
    try {
      sweep();
      admit();
      batch.step([&](const Job& job) { return wanted(job); }, ended);
    } catch (const std::exception& e) {
      LOG(error, "engine_exception", {"what", e.what()});
      batch.fail_all(internal_error("the engine failed; its log says why"), ended);
    }
    pages_free.set(static_cast<double>(loaded->kv->pages_free()));
  }
}

LocalBackend::LocalBackend(std::unique_ptr<LoadedModel> model, const BackendOptions& options,
                           const Clock& clock, MetricsRegistry& metrics)
    : impl_(std::make_unique<Impl>(std::move(model), options, clock, metrics)) {
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
      m.options.fixed_seed
          ? 0
          : splitmix64(static_cast<uint64_t>(m.clock.now_ns()) ^ static_cast<uint64_t>(job->id));
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
  if (!m.queue.try_push(std::shared_ptr(job))) {
    m.forget(*job);
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
