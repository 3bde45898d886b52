// Prompts that are scored: echo with logprobs.

#include <gtest/gtest.h>

#include <cmath>

#include "engine/test_engine.h"
#include "model/score.h"

namespace hadal::engine {
namespace {

engine_api::Request echoed(std::vector<int32_t> ids, int64_t tokens, int logprobs = 0) {
  auto request = exactly(after_ids(std::move(ids)), tokens);
  std::get<engine_api::TokenPrompt>(request.prompt).echo = true;
  request.sampling.logprobs = logprobs;
  return request;
}

/// The logprob of each token after the first, by the model alone.
std::vector<float> reference(const std::vector<int32_t>& ids) {
  const auto loaded = load_exact();
  std::vector<float> out;
  const auto vocab = static_cast<size_t>(loaded->model->config().vocab);
  const Status done = model::score_tokens(
      *loaded->model, *loaded->device, ids, {},
      [&](int64_t first, std::span<const float> logits) -> Status {
        for (size_t i = 0; i < logits.size() / vocab; ++i) {
          const size_t next = static_cast<size_t>(first) + i + 1;
          if (next == ids.size()) break;
          const auto row = logits.subspan(i * vocab, vocab);
          double total = 0;
          for (const float v : row) total += std::exp(static_cast<double>(v));
          out.push_back(row[static_cast<size_t>(ids[next])] - static_cast<float>(std::log(total)));
        }
        return {};
      });
  EXPECT_TRUE(done);
  return out;
}

void expect_scores(const Outcome& out, const std::vector<int32_t>& ids,
                   const std::vector<float>& want) {
  ASSERT_GE(out.logprobs.size(), ids.size());
  EXPECT_TRUE(std::isnan(out.logprobs[0].chosen.logprob));
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(out.logprobs[i].chosen.id, ids[i]) << i;
    if (i == 0) continue;
    EXPECT_NEAR(out.logprobs[i].chosen.logprob, want[i - 1], 0.001) << i;
  }
}

TEST(ScoreTest, AnEchoAloneTellsThePromptsLogprobs) {
  const auto ids = some_ids(150);
  const auto want = reference(ids);
  // Steps of any length, with what another request left in the prefix cache.
  for (const int64_t step : {512, 64, 7, 1}) {
    TestEngine engine(load_exact({.step_tokens_max = step}));
    engine.ask(exactly(after_ids(ids), 2));
    const Outcome out = engine.ask(echoed(ids, 0));
    EXPECT_EQ(out.end(), "length");
    EXPECT_EQ(out.logprobs.size(), ids.size());
    expect_scores(out, ids, want);
    EXPECT_EQ(out.content, engine.tokenizer().decode(ids));
    EXPECT_EQ(out.usage().completion_tokens, 0);
    EXPECT_EQ(out.usage().prompt_tokens, 150);
    EXPECT_EQ(out.usage().cached_tokens, 0) << "cached tokens have no logits";
  }
}

TEST(ScoreTest, AnAnswerFollowsTheEcho) {
  TestEngine engine(load_exact());
  const auto ids = some_ids(70);
  auto plain = exactly(after_ids(ids), 5);
  plain.sampling.logprobs = 2;
  const Outcome answer = engine.ask(plain);
  const Outcome out = engine.ask(echoed(ids, 5, 2));
  ASSERT_EQ(out.logprobs.size(), 75u);
  expect_scores(out, ids, reference(ids));
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(out.ids()[70 + i], answer.ids()[i]);
  EXPECT_EQ(out.content, engine.tokenizer().decode(ids) + answer.content);
  EXPECT_EQ(out.logprobs[1].top.size(), 2u);
  EXPECT_GE(out.logprobs[1].top[0].logprob, out.logprobs[1].chosen.logprob);
  EXPECT_TRUE(out.logprobs[0].top.empty());
}

TEST(ScoreTest, OneTokenIsAPromptToo) {
  TestEngine engine;
  const Outcome out = engine.ask(echoed({300}, 0));
  ASSERT_EQ(out.logprobs.size(), 1u);
  EXPECT_TRUE(std::isnan(out.logprobs[0].chosen.logprob));
  EXPECT_EQ(engine.ask(echoed({300}, 2)).logprobs.size(), 3u);
}

TEST(ScoreTest, SpecialTokensAreNotInTheText) {
  TestEngine engine;
  const int32_t eos = *engine.tokenizer().eos_id();
  const Outcome out = engine.ask(echoed({eos, 300}, 0));
  EXPECT_FALSE(out.logprobs[0].in_text);
  EXPECT_TRUE(out.logprobs[1].in_text);
  EXPECT_EQ(out.content, engine.bytes(300));
}

// Scored prompts share steps with others, and neither changes the other.
TEST(ScoreTest, ScoresAndWritesSideBySide) {
  const auto ids = some_ids(300);
  const auto want = reference(ids);
  TestEngine engine(load_exact({.step_tokens_max = 64, .sequences_max = 4}));
  auto writing = exactly(after_ids(some_ids(20)), 60);
  writing.sampling.logprobs = 0;
  const Outcome alone = engine.ask(writing);
  auto gate = std::make_shared<Recorder>(1);
  engine.submit(writing, gate);
  gate->wait_until_held();
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 3; ++i) {
    sinks.push_back(std::make_shared<Recorder>());
    engine.submit(echoed(ids, i), sinks.back());
  }
  gate->release();
  EXPECT_EQ(gate->wait().ids(), alone.ids());
  for (int i = 0; i < 3; ++i) {
    const Outcome out = sinks[static_cast<size_t>(i)]->wait();
    EXPECT_EQ(out.logprobs.size(), ids.size() + static_cast<size_t>(i));
    expect_scores(out, ids, want);
  }
}

// Too few pages for both: the younger gives way and is computed again, and
// nothing is told twice.
TEST(ScoreTest, SteppingBackTellsNothingTwice) {
  const auto ids = some_ids(400);
  const auto want = reference(ids);
  auto model = load_exact({.step_tokens_max = 32, .sequences_max = 2});
  while (model->kv->pages_free() > 8) model->kv->take_page();
  TestEngine engine(std::move(model));
  auto gate = std::make_shared<Recorder>(1);
  engine.submit(exactly(after_ids(some_ids(120)), 200), gate);
  gate->wait_until_held();
  auto scored = std::make_shared<Recorder>();
  engine.submit(echoed(ids, 100), scored);
  gate->release();
  EXPECT_EQ(gate->wait().end(), "length");
  const Outcome out = scored->wait();
  EXPECT_EQ(out.end(), "length");
  EXPECT_EQ(out.logprobs.size(), 500u);
  expect_scores(out, ids, want);
  EXPECT_GT(engine.metrics.counter("hadal_engine_preemptions_total", "").value(), 0u);
}

TEST(ScoreTest, EveryChoiceHasItsEcho) {
  TestEngine engine({.sequences_max = 2});
  auto request = echoed(some_ids(70), 2);
  request.choices = 2;
  struct Sink : engine_api::EventSink {
    void on_event(engine_api::Event&& event) override {
      std::lock_guard lock(mutex);
      if (auto* d = std::get_if<engine_api::Delta>(&event)) told[d->index] += d->logprobs.size();
      finished += std::holds_alternative<engine_api::Finished>(event);
      changed.notify_all();
    }
    std::mutex mutex;
    std::condition_variable changed;
    size_t told[2] = {};
    int finished = 0;
  };
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine.backend->submit(request, sink));
  std::unique_lock lock(sink->mutex);
  ASSERT_TRUE(
      sink->changed.wait_for(lock, std::chrono::seconds(60), [&] { return sink->finished == 2; }));
  EXPECT_EQ(sink->told[0], 72u);
  EXPECT_EQ(sink->told[1], 72u);
}

TEST(ScoreTest, OnlyAnEchoMayBeAlone) {
  TestEngine engine;
  EXPECT_EQ(engine.ask(exactly(after_ids({300}), 0)).error->param, "max_tokens");
  // An echo without logprobs is not computed for them.
  auto request = echoed(some_ids(5), 0, -1);
  const Outcome out = engine.ask(request);
  EXPECT_EQ(out.end(), "length");
  EXPECT_TRUE(out.logprobs.empty());
  EXPECT_FALSE(out.content.empty());
}

}  // namespace
}  // namespace hadal::engine
