#include "engine/job.h"

#include <utility>

#include "base/log.h"
#include "base/rng.h"

namespace hadal::engine {
namespace {

using engine_api::FinishReason;

// Its tokens are known: the text would be copied from part to part. An answer that was begun in the
// last message stays: a format holds for the whole of it.
void drop_text(engine_api::Prompt& prompt) {
  auto* chat = std::get_if<engine_api::Chat>(&prompt);
  if (chat == nullptr) {
    prompt = engine_api::TextPrompt();
  } else if (chat->messages.empty() || !chat->messages.back().prefix) {
    chat->messages.clear();
  } else {
    for (auto m = chat->messages.begin(); m + 1 != chat->messages.end(); ++m) *m = {};
  }
}

// The first part has the request's seed, so that one choice is the first of many.
uint64_t seed_of_part(uint64_t seed, int index) {
  return index == 0 ? seed : splitmix64(seed ^ splitmix64(static_cast<uint64_t>(index)));
}

}  // namespace

void Parts::fail(const Status& why) {
  if (!failed) return;
  failed = why;
  cancelled = true;
  prompts.clear();
  count = begun;
}

Result<std::shared_ptr<Job>> Job::create(const LoadedModel& model, engine_api::Request request,
                                         uint64_t seed) {
  auto job = std::make_shared<Job>();
  Parts& p = *job->parts;
  TRY(p.prompts, make_prompts(model, request));
  p.count = static_cast<int>(p.prompts.size()) * request.choices;
  p.seed = request.sampling.seed.value_or(seed);
  for (const PromptTokens& t : p.prompts) {
    p.usage.prompt_tokens += static_cast<int64_t>(t.ids.size());
  }
  drop_text(request.prompt);
  job->request = std::move(request);
  job->prompt = std::move(p.prompts.front());
  TRY_VOID(job->prepare(model));
  return job;
}

std::shared_ptr<Job> Job::next(const LoadedModel& model) const {
  Parts& p = *parts;
  if (p.begun == p.count) return nullptr;
  auto job = std::make_shared<Job>();
  job->index = p.begun;
  const bool same_prompt = job->index % request.choices != 0;
  auto& prompts = p.prompts;
  job->prompt =
      same_prompt ? prompt : std::move(prompts[static_cast<size_t>(job->index / request.choices)]);
  job->id = id;
  job->request = request;
  job->request.sampling.seed = seed_of_part(p.seed, job->index);
  job->parts = parts;
  job->sink = sink;
  job->deadline_ns = deadline_ns;
  job->account = account;
  if (const Status ready = job->prepare(model); !ready) {
    p.fail(ready);
    return nullptr;
  }
  ++p.begun;
  ++p.open;
  return job;
}

Status Job::prepare(const LoadedModel& model) {
  if (request.pooling != engine_api::Pooling::none) {
    pooler = std::make_unique<Pooler>(request.pooling, model.model->config().hidden);
    return {};
  }
  TRY(answer, Answer::create(model, request, prompt, parts->seed));
  return {};
}

void Job::end(const Status& why, int64_t cached) {
  Parts& p = *parts;
  --p.open;
  if (index % request.choices == 0) p.usage.cached_tokens += cached;
  if (answer) {
    p.usage.completion_tokens += answer->tokens();
    p.usage.reasoning_tokens += answer->reasoning_tokens();
  }
  if (why) {
    engine_api::Finished done{.index = index, .usage = p.usage};
    if (answer) {
      done.reason = *answer->finished();
      done.stop_string = answer->stop_string();
    }
    sink->on_event(std::move(done));
  } else {
    p.fail(why);
  }
  if (p.failed || p.open > 0) return;
  const Error& error = p.failed.error();
  if (error.code == ErrorCode::cancelled) {
    sink->on_event(engine_api::Finished{.reason = FinishReason::cancelled, .usage = p.usage});
    return;
  }
  LOG(info, "answer_failed", {"error", error_class(error.code).name}, {"message", error.message});
  sink->on_event(engine_api::Failed{error});
}

}  // namespace hadal::engine
