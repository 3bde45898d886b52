// Embeddings: pooled final states, beside answers and in pieces.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "engine/pooler.h"
#include "engine/test_engine.h"
#include "model/step_batch.h"

namespace hadal::engine {
namespace {

using engine_api::Pooling;
using engine_api::PromptList;
using engine_api::TextPrompt;
using engine_api::TokenPrompt;

/// Keeps the embeddings of one request.
class Vectors final : public engine_api::EventSink {
 public:
  explicit Vectors(size_t count) : count_(count) {}

  void on_event(engine_api::Event&& event) override {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(std::holds_alternative<engine_api::Delta>(event));
    if (auto* e = std::get_if<engine_api::Embedding>(&event)) {
      values_[e->index] = std::move(e->values);
    } else if (auto* finished = std::get_if<engine_api::Finished>(&event)) {
      EXPECT_TRUE(values_.contains(finished->index));
      usage = finished->usage;
      over_ = ++finished_ == count_;
    } else if (auto* failed = std::get_if<engine_api::Failed>(&event)) {
      ADD_FAILURE() << failed->error.message;
      over_ = true;
    }
    changed_.notify_all();
  }
  std::map<int, std::vector<float>> wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return over_; }));
    return values_;
  }
  engine_api::Usage usage;

 private:
  const size_t count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::vector<float>> values_;
  size_t finished_ = 0;
  bool over_ = false;
};

std::vector<float> embed(TestEngine& engine, engine_api::Prompt prompt, Pooling pooling,
                         engine_api::Usage* usage = nullptr) {
  engine_api::Request request;
  request.prompt = std::move(prompt);
  request.pooling = pooling;
  const auto sink = std::make_shared<Vectors>(1);
  const auto id = engine.backend->submit(std::move(request), sink);
  EXPECT_TRUE(id) << id.error().message;
  auto values = sink->wait();
  if (usage != nullptr) *usage = sink->usage;
  return values[0];
}

// The states of all tokens in one step, by the model alone; pooled and scaled.
std::vector<float> reference(const std::vector<int32_t>& ids, Pooling pooling) {
  const auto loaded = load_exact();
  auto& m = *loaded->model;
  const auto n = static_cast<int64_t>(ids.size());
  const int64_t width = m.config().hidden;
  std::vector<int32_t> pages;
  while (static_cast<int64_t>(pages.size()) * loaded->kv->page_tokens() < n) {
    pages.push_back(*loaded->kv->take_page());
  }
  model::StepBatch batch;
  const model::StepSequence sequence{
      .tokens = ids, .block_table = pages, .slot = 0, .logits = 0, .states = n};
  EXPECT_TRUE(batch.set(*loaded->device, {&sequence, 1}));
  const auto floats = static_cast<size_t>(n * width);
  auto states = loaded->device->allocate(floats * sizeof(float));
  EXPECT_TRUE(states);
  m.forward(batch.view(), loaded->kv->views(), nullptr, {nullptr, DType::f32, 0, 0, 0},
            {.rows = batch.state_rows(), .last = {states->data(), DType::f32, n, width, width}});
  std::vector<float> host(floats);
  loaded->device->copy_to_host(host.data(), states->data(), floats * sizeof(float));
  Pooler pooler(pooling, width);
  const auto all = std::span<const float>(host);
  pooler.add(pooling == Pooling::mean ? all : all.last(static_cast<size_t>(width)));
  return *pooler.result();
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  const float length = std::inner_product(got.begin(), got.end(), got.begin(), 0.0f);
  EXPECT_NEAR(length, 1, 1e-5);
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4) << i;
}

TEST(EmbeddingTest, PoolsFinalStatesInPiecesOfAnyLength) {
  const auto ids = some_ids(150);
  for (const Pooling pooling : {Pooling::mean, Pooling::last}) {
    const auto want = reference(ids, pooling);
    for (const int64_t step : {512, 64, 7, 1}) {
      TestEngine engine(load_exact({.step_tokens_max = step}));
      engine_api::Usage usage;
      for (int64_t time = 0; time < 2; ++time) {
        expect_near(embed(engine, TokenPrompt{ids}, pooling, &usage), want);
        EXPECT_EQ(usage.prompt_tokens, 150);
        EXPECT_EQ(usage.completion_tokens, 0);
        // The mean needs every state, the last token only its own.
        EXPECT_EQ(usage.cached_tokens, pooling == Pooling::last ? 128 * time : 0);
      }
      EXPECT_GT(embed(engine, TokenPrompt{{300}}, pooling).size(), 0u);
    }
  }
}

TEST(EmbeddingTest, AListIsEmbeddedInOrderBesideAnswers) {
  TestEngine engine(load_exact({.step_tokens_max = 64, .sequences_max = 3}));
  auto writing = exactly(after_ids(some_ids(20)), 60);
  writing.sampling.logprobs = 0;
  const Outcome alone = engine.ask(writing);
  auto gate = std::make_shared<Recorder>(1);
  engine.submit(writing, gate);
  gate->wait_until_held();
  engine_api::Request request;
  request.pooling = Pooling::mean;
  PromptList list;
  for (int i = 0; i < 9; ++i)
    list.prompts.emplace_back(TokenPrompt{some_ids(20 + 13 * i, 310 + i)});
  list.prompts.emplace_back(TextPrompt{.text = "The sea"});
  request.prompt = list;
  const auto sink = std::make_shared<Vectors>(10);
  ASSERT_TRUE(engine.backend->submit(request, sink));
  gate->release();
  const auto values = sink->wait();
  EXPECT_EQ(gate->wait().ids(), alone.ids());
  ASSERT_EQ(values.size(), 10u);
  for (int i = 0; i < 9; ++i) {
    expect_near(values.at(i), reference(some_ids(20 + 13 * i, 310 + i), Pooling::mean));
  }
  expect_near(values.at(9), embed(engine, TextPrompt{.text = "The sea"}, Pooling::mean));
}

TEST(EmbeddingTest, SteppingBackBeginsAnew) {
  const auto ids = some_ids(400);
  auto model = load_exact({.step_tokens_max = 32, .sequences_max = 2});
  while (model->kv->pages_free() > 8) model->kv->take_page();
  TestEngine engine(std::move(model));
  auto gate = std::make_shared<Recorder>(1);
  engine.submit(exactly(after_ids(some_ids(120)), 200), gate);
  gate->wait_until_held();
  engine_api::Request request;
  request.pooling = Pooling::mean;
  request.prompt = TokenPrompt{ids};
  const auto sink = std::make_shared<Vectors>(1);
  ASSERT_TRUE(engine.backend->submit(request, sink));
  gate->release();
  expect_near(sink->wait()[0], reference(ids, Pooling::mean));
  EXPECT_EQ(gate->wait().end(), "length");
  EXPECT_GT(engine.metrics.counter("hadal_engine_preemptions_total", "").value(), 0u);
}

TEST(EmbeddingTest, ErrorsNameTheInput) {
  TestEngine engine({.context_tokens_max = 64});
  engine_api::Request request;
  request.pooling = Pooling::last;
  request.prompt = PromptList{{TokenPrompt{{5}}, TokenPrompt{{-5}}}};
  EXPECT_EQ(engine.ask(request).error->param, "input[1]");
  request.prompt = TextPrompt{.text = std::string(10'000, 'x')};
  EXPECT_EQ(engine.ask(request).error->param, "input");
}

}  // namespace
}  // namespace hadal::engine
