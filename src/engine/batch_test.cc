// Many requests at once: each gets the answer that it would get alone, whoever joins, leaves or has
// to step back meanwhile.

#include <gtest/gtest.h>

#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

// Steps of at most 64 tokens all take the same form of attention: logits are then equal bit by bit
// whatever shares a step.
constexpr int64_t kStep = 64;

// Requests of different lengths, which end at different times.
std::vector<engine_api::Request> requests(int count, int64_t tokens = 40) {
  std::vector<engine_api::Request> out;
  for (int i = 0; i < count; ++i) {
    out.push_back(exactly(after_ids(some_ids(3 + 17 * i % 130, 300 + 11 * i)), tokens + 5 * i));
    out.back().sampling.logprobs = 0;
  }
  return out;
}

std::vector<Outcome> alone(const std::vector<engine_api::Request>& all) {
  TestEngine engine({.step_tokens_max = kStep, .prefix_cache = false});
  std::vector<Outcome> out;
  for (const auto& r : all) out.push_back(engine.ask(r));
  return out;
}

// Submits all before the first runs, and waits for all.
std::vector<Outcome> together(TestEngine& engine, const std::vector<engine_api::Request>& all) {
  auto gate = std::make_shared<Recorder>(1);
  engine.submit(exactly(chat("Hi"), 2), gate);
  gate->wait_until_held();
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (const auto& r : all) {
    sinks.push_back(std::make_shared<Recorder>());
    engine.submit(r, sinks.back());
  }
  gate->release();
  std::vector<Outcome> out;
  for (const auto& s : sinks) out.push_back(s->wait());
  return out;
}

void expect_same(const std::vector<Outcome>& got, const std::vector<Outcome>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].end(), want[i].end()) << i;
    EXPECT_EQ(got[i].ids(), want[i].ids()) << i;
    EXPECT_EQ(got[i].logprob_list(), want[i].logprob_list()) << i;
    EXPECT_EQ(got[i].usage().completion_tokens, want[i].usage().completion_tokens) << i;
  }
}

double metric(TestEngine& engine, const std::string& name) {
  const std::string text = engine.metrics.prometheus_text();
  const size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST(BatchTest, EachGetsItsOwnAnswer) {
  const auto all = requests(12);
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 5, .prefix_cache = false});
  expect_same(together(engine, all), alone(all));
  // They shared steps: fewer steps than tokens.
  EXPECT_LT(metric(engine, "hadal_engine_step_sequences_count"),
            metric(engine, "hadal_engine_completion_tokens_total") / 2);
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

// Long steps, other neighbours, pages that run out, and prefixes of earlier answers: with batch
// invariance the bits do not change. Without it this test fails.
TEST(BatchTest, DeterministicAnswersDoNotDependOnNeighbours) {
  const kernels::CpuOptions cpu{.threads = 1, .batch_invariant = true};
  std::vector<engine_api::Request> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(exactly(after_ids(some_ids(380 - 45 * i, 300 + 11 * i)), 60 + 9 * i));
    all.back().sampling.logprobs = 0;
  }
  std::vector<Outcome> want;
  {
    TestEngine quiet(*try_load({.context_tokens_max = 512, .prefix_cache = false}, nullptr, cpu));
    for (const auto& r : all) want.push_back(quiet.ask(r));
  }
  auto model = *try_load({.context_tokens_max = 512, .sequences_max = 5}, nullptr, cpu);
  while (model->kv->pages_free() > 14) model->kv->take_page();
  TestEngine busy(std::move(model));
  expect_same(together(busy, all), want);
  EXPECT_GT(metric(busy, "hadal_engine_preemptions_total"), 0);
  for (const auto& r : all) EXPECT_EQ(busy.ask(r).ids(), want[&r - all.data()].ids());
}

TEST(BatchTest, ALateOneJoinsWhileTheFirstStillWrites) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 2});
  auto first = std::make_shared<Recorder>(5);
  engine.submit(exactly(after_ids(some_ids(10)), 1500), first);
  first->wait_until_held();
  auto second = std::make_shared<Recorder>();
  engine.submit(exactly(after_ids(some_ids(100)), 5), second);
  first->release();
  EXPECT_EQ(second->wait().end(), "length");
  EXPECT_FALSE(first->now().finished) << "the first has 1495 tokens to go";
  EXPECT_EQ(first->wait().usage().completion_tokens, 1500);
}

TEST(BatchTest, WhoeverFindsNoPagesStepsBackAndEndsAllTheSame) {
  const auto all = requests(4, 150);
  auto model = load({.context_tokens_max = 512,
                     .step_tokens_max = kStep,
                     .sequences_max = 4,
                     .prefix_cache = false});
  while (model->kv->pages_free() > 8) model->kv->take_page();  // one context's worth is left
  TestEngine engine(std::move(model));
  expect_same(together(engine, all), alone(all));
  EXPECT_GT(metric(engine, "hadal_engine_preemptions_total"), 0);
  EXPECT_EQ(engine.pages_free_at_end(), 8);
}

TEST(BatchTest, ThePrefixCacheServesThoseWhoRunAtOnce) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 4});
  auto first = std::make_shared<Recorder>(2);
  engine.submit(exactly(after_ids(some_ids(200)), 100), first);
  first->wait_until_held();
  auto second = std::make_shared<Recorder>();
  auto same = exactly(after_ids(some_ids(200)), 100);
  engine.submit(same, second);
  first->release();
  EXPECT_EQ(second->wait().usage().cached_tokens, 192) << "three pages of the first's prompt";
  EXPECT_EQ(second->wait().content, first->wait().content);
}

TEST(BatchTest, OneThatIsCancelledLeavesTheOthersAlone) {
  const auto all = requests(3);
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 4, .prefix_cache = false});
  auto gone = std::make_shared<Recorder>(2);
  const auto id = engine.submit(exactly(after_ids(some_ids(30)), 1000), gone);
  gone->wait_until_held();
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (const auto& r : all) {
    sinks.push_back(std::make_shared<Recorder>());
    engine.submit(r, sinks.back());
  }
  engine.backend->cancel(id);
  gone->release();
  EXPECT_EQ(gone->wait().end(), "cancelled");
  std::vector<Outcome> got;
  for (const auto& s : sinks) got.push_back(s->wait());
  expect_same(got, alone(all));
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

// One place, four requests of a talkative user before one of another: the other is served second.
TEST(BatchTest, UsersTakeTurns) {
  TestEngine engine({.sequences_max = 1});
  auto gate = std::make_shared<Recorder>(1);
  engine.submit(exactly(chat("Hi"), 2), gate);
  gate->wait_until_held();
  std::vector<std::shared_ptr<Recorder>> talkative;
  auto request = exactly(after_ids(some_ids(20)), 20);
  for (int i = 0; i < 4; ++i) {
    request.user = "talkative";
    talkative.push_back(std::make_shared<Recorder>(i == 1 ? 1 : 0));
    engine.submit(request, talkative.back());
  }
  request.user = "shy";
  auto shy = std::make_shared<Recorder>();
  engine.submit(request, shy);
  gate->release();
  talkative[1]->wait_until_held();
  EXPECT_EQ(shy->now().end(), "length") << "before the second of the talkative one";
  EXPECT_FALSE(talkative[2]->now().started);
  talkative[1]->release();
  for (const auto& s : talkative) EXPECT_EQ(s->wait().end(), "length");
}

TEST(BatchTest, PrefixesAreSharedUnderOneSaltOnly) {
  TestEngine engine;
  auto request = exactly(after_ids(some_ids(200)), 3);
  request.cache_salt = "mine";
  EXPECT_EQ(engine.ask(request).usage().cached_tokens, 0);
  EXPECT_EQ(engine.ask(request).usage().cached_tokens, 192);
  request.cache_salt = "yours";
  EXPECT_EQ(engine.ask(request).usage().cached_tokens, 0);
}

TEST(BatchTest, DestroyingItFinishesAll) {
  TestEngine engine({.sequences_max = 3});
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 6; ++i) {
    sinks.push_back(std::make_shared<Recorder>());
    engine.submit(exactly(after_ids(some_ids(20)), 1'000'000), sinks.back());
  }
  engine.backend.reset();
  for (const auto& s : sinks) EXPECT_EQ(s->now().end(), "cancelled");
}

}  // namespace
}  // namespace hadal::engine
