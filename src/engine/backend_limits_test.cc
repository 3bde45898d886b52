// How a LocalBackend says no, stops and fails: queue, cancellation, deadlines, pages.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

using testing::HasSubstr;

// An answer that would take a while: as long as the context.
engine_api::Request endless() { return exactly(after_ids(some_ids(10)), 1'000'000); }

TEST(BackendLimitsTest, TellsItsModelAndRefusesOthers) {
  TestEngine engine({.model_id = "small"});
  const auto models = engine.backend->models();
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].id, "small");
  EXPECT_EQ(models[0].context_tokens_max, 2048);
  EXPECT_TRUE(models[0].supports_chat);
  EXPECT_TRUE(engine.backend->ready());
  auto request = exactly(chat("Hi"), 2);
  request.model = "small";
  EXPECT_EQ(engine.ask(request).end(), "length");
  request.model = "large";
  const Outcome out = engine.ask(request);
  EXPECT_TRUE(out.refused);
  EXPECT_EQ(out.end(), "not_found");
  EXPECT_EQ(out.error->param, "model");
  EXPECT_THAT(out.error->message, HasSubstr("'small'"));
}

TEST(BackendLimitsTest, RefusesSenselessRequests) {
  TestEngine engine;
  const auto refused = [&](auto change) {
    engine_api::Request request = chat("Hi");
    change(request);
    const Outcome out = engine.ask(std::move(request));
    EXPECT_TRUE(out.refused);
    return out.error ? std::string(error_class(out.error->code).name) + " " + out.error->param
                     : out.end();
  };
  using R = engine_api::Request;
  EXPECT_EQ(refused([](R& r) { r.stop.max_tokens = 0; }), "invalid_argument max_tokens");
  EXPECT_EQ(refused([](R& r) { r.sampling.top_p = 0; }), "invalid_argument top_p");
  EXPECT_EQ(refused([](R& r) { r.sampling.logprobs = 21; }), "invalid_argument top_logprobs");
  EXPECT_EQ(refused([](R& r) {
              r.sampling.logit_bias = {{4096, 1.0f}};
            }),
            "invalid_argument logit_bias");
  EXPECT_EQ(refused([](R& r) {
              r.prompt = engine_api::TokenPrompt{{5, 4096}};
            }),
            "invalid_argument prompt");
  EXPECT_EQ(refused([](R& r) { r.prompt = engine_api::TokenPrompt{{}}; }),
            "invalid_argument prompt");
  EXPECT_EQ(refused([](R& r) { r = chat(std::string(20'000, 'x')); }),
            "context_length_exceeded messages");
  EXPECT_EQ(engine.ask(exactly(chat("Hi"), 2)).end(), "length") << "the engine goes on";
}

TEST(BackendLimitsTest, CancelStopsARunningAnswer) {
  TestEngine engine({.prefix_cache = false});
  auto sink = std::make_shared<Recorder>(3);
  const auto id = engine.submit(endless(), sink);
  sink->wait_until_held();
  engine.backend->cancel(id);
  sink->release();
  const Outcome out = sink->wait();
  EXPECT_EQ(out.end(), "cancelled");
  EXPECT_EQ(out.deltas, 3u) << "nothing is written after the cancellation";
  EXPECT_EQ(out.usage().prompt_tokens, 10);
  EXPECT_GE(out.usage().completion_tokens, 3);
  EXPECT_LE(out.usage().completion_tokens, 20);
  engine.backend->cancel(id);                            // over already
  engine.backend->cancel(engine_api::RequestId{99999});  // never was
  EXPECT_EQ(engine.ask(exactly(chat("Hi"), 2)).end(), "length");
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

TEST(BackendLimitsTest, CancelStopsAPromptThatIsStillRead) {
  TestEngine engine({.step_tokens_max = 1});
  auto first = std::make_shared<Recorder>(1);
  engine.submit(exactly(chat("Hi"), 1), first);
  first->wait_until_held();
  auto sink = std::make_shared<Recorder>();
  const auto id = engine.submit(after_ids(some_ids(2000)), sink);
  first->release();
  while (!sink->now().started) std::this_thread::yield();
  engine.backend->cancel(id);
  const Outcome out = sink->wait();
  EXPECT_EQ(out.end(), "cancelled");
  EXPECT_EQ(out.deltas, 0u);
  EXPECT_EQ(out.usage().completion_tokens, 0);
}

TEST(BackendLimitsTest, CancelStopsAWaitingRequest) {
  TestEngine engine;
  auto running = std::make_shared<Recorder>(1);
  engine.submit(exactly(chat("Hi"), 4), running);
  running->wait_until_held();
  auto waiting = std::make_shared<Recorder>();
  const auto id = engine.submit(chat("Hi"), waiting);
  engine.backend->cancel(id);
  running->release();
  const Outcome out = waiting->wait();
  EXPECT_EQ(out.end(), "cancelled");
  EXPECT_FALSE(out.started);
  EXPECT_EQ(out.usage().completion_tokens, 0);
  EXPECT_EQ(running->wait().end(), "length") << "the other one is not touched";
}

TEST(BackendLimitsTest, WhoeverWaitsInVainLeavesTheQueueAtOnce) {
  TestEngine engine(LoadOptions{}, {.queue_max = 2});
  auto running = std::make_shared<Recorder>(1);
  engine.submit(endless(), running);
  running->wait_until_held();
  auto gone = std::make_shared<Recorder>();
  const auto id = engine.submit(chat("Hi"), gone);
  auto hasty = std::make_shared<Recorder>();
  auto request = chat("Hi");
  request.timeout_ms = 10;
  engine.submit(request, hasty);
  engine.backend->cancel(id);
  engine.clock.advance_ms(20);
  running->release();
  EXPECT_EQ(gone->wait().end(), "cancelled");
  EXPECT_EQ(hasty->wait().end(), "timeout");
  EXPECT_FALSE(running->now().finished) << "they did not have to wait for it";
  auto next = std::make_shared<Recorder>();
  engine.submit(chat("Hi"), next);  // there is room again
  engine.backend.reset();
}

TEST(BackendLimitsTest, AFullQueueRefuses) {
  TestEngine engine(LoadOptions{}, {.queue_max = 2});
  auto running = std::make_shared<Recorder>(1);
  engine.submit(exactly(chat("Hi"), 4), running);
  running->wait_until_held();
  auto a = std::make_shared<Recorder>();
  auto b = std::make_shared<Recorder>();
  engine.submit(exactly(chat("Hi"), 1), a);
  engine.submit(exactly(chat("Hi"), 2), b);
  EXPECT_EQ(engine.metrics.gauge("hadal_engine_queue_depth", "").value(), 2);
  const auto sink = std::make_shared<Recorder>();
  const auto refused = engine.backend->submit(chat("Hi"), sink);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_EQ(refused.error().retry_after_s, 1);
  EXPECT_EQ(sink->now().end(), "nothing");
  EXPECT_EQ(sink.use_count(), 1) << "nothing of a refused request is kept";
  running->release();
  EXPECT_EQ(running->wait().usage().completion_tokens, 4);
  EXPECT_EQ(a->wait().usage().completion_tokens, 1);
  EXPECT_EQ(b->wait().usage().completion_tokens, 2);
  EXPECT_EQ(engine.ask(exactly(chat("Hi"), 3)).usage().completion_tokens, 3) << "there is room now";
  EXPECT_EQ(engine.metrics.gauge("hadal_engine_queue_depth", "").value(), 0);
}

TEST(BackendLimitsTest, WhoeverWaitsTooLongIsTurnedAway) {
  TestEngine engine(LoadOptions{.sequences_max = 1, .prefix_cache = false},
                    {.queue_max = 3, .queue_wait_ms_max = 3000});
  const auto hold = [&](engine_api::Request request) {
    auto sink = std::make_shared<Recorder>(1);
    engine.submit(std::move(request), sink);
    return sink;
  };
  const auto running = hold(exactly(chat("Hi"), 4));
  running->wait_until_held();
  const auto second = hold(exactly(chat("Hi"), 4));
  const auto late = std::make_shared<Recorder>();
  engine.submit(exactly(chat("Hi"), 1), late);
  engine.clock.advance_ms(2000);
  const auto patient = std::make_shared<Recorder>();
  engine.submit(exactly(chat("Hi"), 1), patient);
  running->release();
  EXPECT_EQ(running->wait().end(), "length");
  second->wait_until_held();
  engine.clock.advance_ms(2000);
  second->release();
  EXPECT_EQ(second->wait().end(), "length") << "its turn came in time, after 2 s";
  const Outcome out = late->wait();
  EXPECT_EQ(out.end(), "unavailable") << "after 4 of 3 seconds";
  EXPECT_FALSE(out.started);
  EXPECT_EQ(out.error->retry_after_s, 1) << "the pace is not known yet";
  EXPECT_EQ(patient->wait().end(), "length") << "after 2 seconds";
  const auto count = [&](const char* reason) {
    return engine.metrics.counter("hadal_engine_turned_away_total", "", {{"reason", reason}})
        .value();
  };
  EXPECT_EQ(count("queue_wait"), 1u);
  EXPECT_EQ(count("queue_full"), 0u);
  const auto last = hold(exactly(chat("Hi"), 4));
  last->wait_until_held();
  for (int i = 0; i < 3; ++i) hold(exactly(chat("Hi"), 1));
  const Outcome full = engine.ask(chat("Hi"));
  EXPECT_TRUE(full.refused);
  EXPECT_EQ(full.error->retry_after_s, 3) << "a turn took 2 s, and three wait";
  EXPECT_EQ(count("queue_full"), 1u);
  last->release();
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

// The queue's time is that of the whole request: once it is served, its parts may wait on.
TEST(BackendLimitsTest, PartsOfARequestThatIsServedMayWait) {
  TestEngine engine(LoadOptions{.sequences_max = 1}, {.queue_wait_ms_max = 3000});
  auto request = exactly(chat("Hi"), 3);
  request.choices = 2;
  class Parts final : public engine_api::EventSink {
   public:
    explicit Parts(ManualClock& clock) : clock_(clock) {}
    void on_event(engine_api::Event&& event) override {
      if (std::holds_alternative<engine_api::Delta>(event)) clock_.advance_ms(2000);
      const bool failed = std::holds_alternative<engine_api::Failed>(event);
      if (failed || std::holds_alternative<engine_api::Finished>(event)) ++(failed ? bad : good);
    }
    std::atomic<int> good{0};
    std::atomic<int> bad{0};

   private:
    ManualClock& clock_;
  };
  const auto sink = std::make_shared<Parts>(engine.clock);
  ASSERT_TRUE(engine.backend->submit(request, sink));
  for (int i = 0; i < 6000 && sink->good + sink->bad < 2 && sink->bad == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(sink->good, 2);
  EXPECT_EQ(sink->bad, 0);
}

TEST(BackendLimitsTest, ADeadlineEndsWhatRunsAndWhatWaits) {
  TestEngine engine(LoadOptions{.prefix_cache = false}, {.timeout_ms_max = 5000});
  auto running = std::make_shared<Recorder>(2);
  engine.submit(endless(), running);
  running->wait_until_held();
  engine.clock.advance_ms(2000);
  auto waiting = std::make_shared<Recorder>();
  auto request = chat("Hi");
  request.timeout_ms = 3000;
  engine.submit(request, waiting);
  auto patient = std::make_shared<Recorder>();
  request.timeout_ms = 1'000'000;  // the backend's limit holds all the same
  engine.submit(exactly(request, 2), patient);
  engine.clock.advance_ms(4000);
  running->release();
  const Outcome out = running->wait();
  EXPECT_EQ(out.end(), "timeout") << "after 6 of 5 seconds";
  EXPECT_TRUE(out.started);
  EXPECT_EQ(out.deltas, 2u);
  EXPECT_EQ(waiting->wait().end(), "timeout") << "after 4 of its own 3 seconds";
  EXPECT_FALSE(waiting->now().started);
  EXPECT_EQ(patient->wait().end(), "length") << "after 4 of 5 seconds";
  auto late = std::make_shared<Recorder>(1);
  engine.submit(exactly(request, 1'000'000), late);
  late->wait_until_held();
  engine.clock.advance_ms(5001);
  late->release();
  EXPECT_EQ(late->wait().end(), "timeout");
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

TEST(BackendLimitsTest, DestroyingItFinishesAllRequests) {
  TestEngine engine;
  auto running = std::make_shared<Recorder>(1);
  engine.submit(endless(), running);
  running->wait_until_held();
  std::vector<std::shared_ptr<Recorder>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(std::make_shared<Recorder>());
    engine.submit(endless(), waiting.back());
  }
  running->release();
  engine.backend.reset();
  EXPECT_EQ(running->now().end(), "cancelled");
  for (const auto& w : waiting) EXPECT_EQ(w->now().end(), "cancelled");
}

TEST(BackendLimitsTest, PagesComeBack) {
  TestEngine engine({.prefix_cache = false});
  EXPECT_EQ(engine.metrics.gauge("hadal_engine_kv_pages_free", "").value(),
            static_cast<double>(engine.pages))
      << "the metric is right before the first request";
  for (int64_t n = 1; n < 400; n += 63) engine.ask(exactly(after_ids(some_ids(n)), 3));
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

// With the prefix cache a finished sequence leaves its full pages behind, each once.
TEST(BackendLimitsTest, CachedPrefixesHoldEachPageOnce) {
  TestEngine engine;
  for (int i = 0; i < 5; ++i) engine.ask(exactly(after_ids(some_ids(150)), 10));
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages - 2);
  EXPECT_EQ(engine.metrics.gauge("hadal_engine_kv_pages_cached", "").value(), 2);
  EXPECT_EQ(engine.metrics.gauge("hadal_engine_kv_pages", "").value(),
            static_cast<double>(engine.pages));
}

// The cache is small and the prompts are all different: prefixes are evicted, nobody fails.
TEST(BackendLimitsTest, OldPrefixesMakeRoom) {
  TestEngine engine({.context_tokens_max = 256});
  ASSERT_EQ(engine.pages, 4);
  for (int32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(engine.ask(exactly(after_ids(some_ids(200, 300 + i)), 50)).end(), "length") << i;
  }
  EXPECT_GE(engine.pages_free_at_end(), 0);
}

TEST(BackendLimitsTest, RunningOutOfPagesFailsOneRequestOnly) {
  for (const bool prefix_cache : {false, true}) {
    auto model = load({.context_tokens_max = 256, .prefix_cache = prefix_cache});
    ASSERT_EQ(model->kv->pages(), 4);
    model->kv->take_page();  // two of the four pages are somebody else's
    model->kv->take_page();
    TestEngine engine(std::move(model));
    const Outcome answer = engine.ask(exactly(after_ids(some_ids(100, 500)), 100));
    EXPECT_FALSE(answer.refused);
    EXPECT_EQ(answer.end(), "resource_exhausted");
    EXPECT_GT(answer.deltas, 0u) << "what fitted was answered";
    const Outcome prompt = engine.ask(after_ids(some_ids(200)));
    EXPECT_EQ(prompt.end(), "resource_exhausted");
    EXPECT_EQ(prompt.deltas, 0u);
    EXPECT_EQ(engine.ask(exactly(after_ids(some_ids(100)), 20)).end(), "length");
    EXPECT_GE(engine.pages_free_at_end(), prefix_cache ? 1 : 2);
  }
}

// A sink that throws is a defect; the wall of the engine's thread keeps it to its own request.
TEST(BackendLimitsTest, AnExceptionFailsOneRequestOnly) {
  class Thrower final : public engine_api::EventSink {
   public:
    void on_event(engine_api::Event&& event) override {
      if (std::holds_alternative<engine_api::Delta>(event)) throw std::runtime_error("sink");
      recorder.on_event(std::move(event));
    }
    Recorder recorder;
  };
  TestEngine engine({.prefix_cache = false});
  auto sink = std::make_shared<Thrower>();
  ASSERT_TRUE(engine.backend->submit(chat("Hi"), sink));
  EXPECT_EQ(sink->recorder.wait().end(), "internal");
  EXPECT_EQ(engine.ask(exactly(chat("Hi"), 2)).end(), "length");
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

}  // namespace
}  // namespace hadal::engine
