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
#include "engine/queue_pace.h"

namespace hadal::engine {

using engine_api::RequestId;

namespace {

Counter& turned_away(MetricsRegistry& metrics, std::string reason) {
  return metrics.counter("hadal_engine_turned_away_total",
                         "Requests refused because too many others wait.",
                         {{"reason", std::move(reason)}});
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
        full(turned_away(metrics, "queue_full")),
        late(turned_away(metrics, "queue_wait")),
        pages_free(
            metrics.gauge("hadal_engine_kv_pages_free", "KV cache pages that nothing holds.")),
        pages_cached(metrics.gauge("hadal_engine_kv_pages_cached",
                                   "KV cache pages that hold the prefixes of earlier prompts.")),
        batch(*loaded, c, metrics) {
    metrics.gauge("hadal_engine_kv_pages", "KV cache pages in all.")
        .set(static_cast<double>(loaded->kv->pages()));
    count_pages();
  }

  std::unique_ptr<LoadedModel> loaded;
  BackendOptions options;
  const Clock& clock;
  FairQueue queue;
  QueuePace pace;
  Gauge& queue_depth;
  Counter& full;
  Counter& late;
  Gauge& pages_free;
  Gauge& pages_cached;

  std::mutex requests_mutex;
  std::unordered_map<uint64_t, std::shared_ptr<Parts>> requests;  ///< submitted and not finished
  std::atomic<uint64_t> next_id{1};
  std::atomic<bool> stopping{false};

  Batch batch;  ///< the engine's thread only
  std::thread thread;

  Status check_model(const std::string& model) const;
  void loop();
  void sweep();
  void admit();
  void queue_parts();
  Status wanted(const Job& job) const;
  void forget(const Job& job);
  void count_pages();
  void over(const Job& job);
};

Status LocalBackend::Impl::check_model(const std::string& model) const {
  if (model.empty() || model == loaded->id) return {};
  return not_found("there is no model '" + model + "' here; this server has '" + loaded->id + "'")
      .about("model");
}

// Good while the answer is still wanted.
Status LocalBackend::Impl::wanted(const Job& job) const {
  if (job.parts->cancelled.load(std::memory_order_relaxed) ||
      stopping.load(std::memory_order_relaxed)) {
    return make_error(ErrorCode::cancelled, "the request was cancelled");
  }
  if (clock.now_ns() > job.deadline_ns) {
    return make_error(ErrorCode::timeout, "the request ran past its time limit");
  }
  return {};
}

void LocalBackend::Impl::forget(const Job& job) {
  std::lock_guard lock(requests_mutex);
  requests.erase(static_cast<uint64_t>(job.id));
}

void LocalBackend::Impl::count_pages() {
  pages_free.set(static_cast<double>(loaded->kv->pages_free()));
  if (loaded->prefixes) pages_cached.set(static_cast<double>(loaded->prefixes->size_pages()));
}

// A part has ended, and perhaps the request with it.
void LocalBackend::Impl::over(const Job& job) {
  if (!job.parts->over()) return;
  queue.leave(job);
  forget(job);
}

// Whoever waits in vain gives its place to others at once, not when its turn would come.
void LocalBackend::Impl::sweep() {
  std::vector<Status> why;
  const int64_t retry_after_s = pace.retry_after_s(queue.size());
  const auto in_vain = queue.take_if([&](const Job& job) {
    Status status = wanted(job);
    if (status && job.index == 0 && clock.now_ns() > job.turn_deadline_ns) {
      late.add();
      status = unavailable("the request waited " + std::to_string(options.queue_wait_ms_max) +
                           " ms in the queue and its turn did not come")
                   .retry_after(retry_after_s);
    }
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
      if (job->index == 0) pace.learn(clock.now_ns(), queue.size() > 0);
      batch.join(std::move(job));
      queue_parts();
    }
  }
  queue_depth.set(static_cast<double>(queue.size()));
}

void LocalBackend::Impl::queue_parts() {
  for (auto& job : batch.take_next_parts()) queue.push_part(std::move(job));
}

void LocalBackend::Impl::loop() {
  const auto ended = [&](const Job& job) { over(job); };
  while (!batch.empty() || queue.wait()) {
    // The wall of this thread: nothing a request does may end the engine.
    try {
      sweep();
      admit();
      batch.step([&](const Job& job) { return wanted(job); }, ended);
      queue_parts();
    } catch (const std::exception& e) {
      LOG(error, "engine_exception", {"what", e.what()});
      batch.fail_all(internal_error("the engine failed; its log says why"), ended);
    }
    count_pages();
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
           .embedding_dimensions = m.model->config().hidden,
           .supports_chat = m.prompt_format != nullptr}};
}

bool LocalBackend::ready() const { return !impl_->stopping; }

Result<RequestId> LocalBackend::submit(engine_api::Request request,
                                       std::shared_ptr<engine_api::EventSink> sink) {
  Impl& m = *impl_;
  if (m.stopping) return unavailable("the server is stopping");
  TRY_VOID(m.check_model(request.model));
  const RequestId id{m.next_id.fetch_add(1)};
  const uint64_t seed =
      m.options.fixed_seed
          ? 0
          : splitmix64(static_cast<uint64_t>(m.clock.now_ns()) ^ static_cast<uint64_t>(id));
  const int64_t asked_ms = request.timeout_ms;
  TRY(auto job, Job::create(*m.loaded, std::move(request), seed));
  job->id = id;
  int64_t timeout_ms = m.options.timeout_ms_max;
  if (asked_ms > 0) timeout_ms = std::min(timeout_ms, asked_ms);
  const int64_t now_ns = m.clock.now_ns();
  job->deadline_ns = now_ns + timeout_ms * 1'000'000;
  job->turn_deadline_ns = now_ns + m.options.queue_wait_ms_max * 1'000'000;
  job->sink = std::move(sink);
  {
    std::lock_guard lock(m.requests_mutex);
    m.requests[static_cast<uint64_t>(id)] = job->parts;
  }
  if (!m.queue.try_push(std::shared_ptr(job))) {
    m.forget(*job);
    if (m.stopping) return unavailable("the server is stopping");
    m.full.add();
    return unavailable("the queue of " + std::to_string(m.queue.capacity()) + " requests is full")
        .retry_after(m.pace.retry_after_s(m.queue.capacity()));
  }
  m.queue_depth.set(static_cast<double>(m.queue.size()));
  return id;
}

Result<std::vector<engine_api::Token>> LocalBackend::tokenize(
    const engine_api::TokenizeRequest& request) const {
  TRY_VOID(impl_->check_model(request.model));
  return engine::tokenize(*impl_->loaded, request);
}

Result<std::string> LocalBackend::detokenize(const std::string& model,
                                             std::span<const int32_t> ids) const {
  TRY_VOID(impl_->check_model(model));
  return engine::detokenize(*impl_->loaded, ids);
}

void LocalBackend::cancel(RequestId id) {
  std::lock_guard lock(impl_->requests_mutex);
  const auto at = impl_->requests.find(static_cast<uint64_t>(id));
  if (at != impl_->requests.end()) at->second->cancelled = true;
}

}  // namespace hadal::engine
