// Requests with several answers: choices of one prompt, several prompts, and both.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

using engine_api::PromptList;
using engine_api::TextPrompt;
using engine_api::TokenPrompt;

// Steps of at most 64 tokens all take the same form of attention: logits are then equal bit by bit
// whatever shares a step.
constexpr int64_t kStep = 64;

/// Keeps the answers of one request apart.
class PartsRecorder final : public engine_api::EventSink {
 public:
  explicit PartsRecorder(size_t answers) : answers_(answers) {}

  struct Part {
    std::string content;
    std::vector<int32_t> ids;
    std::optional<engine_api::FinishReason> reason;
  };

  void on_event(engine_api::Event&& event) override {
    std::lock_guard lock(mutex_);
    EXPECT_FALSE(over()) << "an event after the last";
    if (std::get_if<engine_api::Started>(&event)) {
      ++started_;
    } else if (auto* delta = std::get_if<engine_api::Delta>(&event)) {
      EXPECT_EQ(started_, 1);
      Part& part = parts_[delta->index];
      EXPECT_FALSE(part.reason) << "text after the end of an answer";
      part.content += delta->content;
      for (const auto& p : delta->logprobs) part.ids.push_back(p.chosen.id);
      order_.push_back(delta->index);
    } else if (auto* finished = std::get_if<engine_api::Finished>(&event)) {
      usage_ = finished->usage;
      if (finished->reason == engine_api::FinishReason::cancelled) {
        end_ = "cancelled";
      } else {
        parts_[finished->index].reason = finished->reason;
        if (++finished_ == answers_) end_ = "finished";
      }
    } else {
      end_ = error_class(std::get<engine_api::Failed>(event).error.code).name;
    }
    changed_.notify_all();
  }

  /// Waits for the last event: "finished", "cancelled" or an error's name.
  std::string wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return over(); }));
    return end_;
  }
  void wait_for_deltas(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60),
                                  [&] { return over() || order_.size() >= count; }));
  }
  Part part(int index) { return parts_[index]; }
  const engine_api::Usage& usage() const { return usage_; }
  const std::vector<int>& order() const { return order_; }

 private:
  bool over() const { return !end_.empty(); }

  const size_t answers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, Part> parts_;
  std::vector<int> order_;  ///< whose deltas came
  int started_ = 0;
  size_t finished_ = 0;
  std::string end_;
  engine_api::Usage usage_;
};

std::shared_ptr<PartsRecorder> ask(TestEngine& engine, engine_api::Request request,
                                   size_t answers) {
  auto sink = std::make_shared<PartsRecorder>(answers);
  const auto id = engine.backend->submit(std::move(request), sink);
  EXPECT_TRUE(id) << id.error().message;
  return sink;
}

engine_api::Request sampled(engine_api::Request request, int choices) {
  request.choices = choices;
  request.sampling.temperature = 1;
  request.sampling.seed = 42;
  request.sampling.logprobs = 0;
  return request;
}

double prompt_tokens_computed(TestEngine& engine) {
  return static_cast<double>(
      engine.metrics.counter("hadal_engine_prompt_tokens_total", "").value());
}

TEST(PartsTest, ChoicesShareTheirPromptAndDiffer) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 4});
  const auto request = [] { return sampled(exactly(after_ids(some_ids(200)), 20), 4); };
  const auto sink = ask(engine, request(), 4);
  EXPECT_EQ(sink->wait(), "finished");
  std::set<std::vector<int32_t>> texts;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(sink->part(i).ids.size(), 20u);
    EXPECT_EQ(sink->part(i).reason, engine_api::FinishReason::length);
    texts.insert(sink->part(i).ids);
  }
  EXPECT_EQ(texts.size(), 4u) << "each has a seed of its own";
  EXPECT_EQ(sink->usage().prompt_tokens, 200);
  EXPECT_EQ(sink->usage().cached_tokens, 0);
  EXPECT_EQ(sink->usage().completion_tokens, 80);
  // The first computes all, the others what is left of the last page.
  EXPECT_EQ(prompt_tokens_computed(engine), 200 + 3 * 8);
  // They write side by side.
  const auto& order = sink->order();
  const auto last_of_first = std::find(order.rbegin(), order.rend(), 0).base() - order.begin();
  const auto first_of_last = std::find(order.begin(), order.end(), 3) - order.begin();
  EXPECT_LT(first_of_last, last_of_first);
  // The same seed gives the same choices, and the first is that of one choice.
  const auto again = ask(engine, request(), 4);
  EXPECT_EQ(again->wait(), "finished");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(again->part(i).ids, sink->part(i).ids) << i;
  EXPECT_EQ(again->usage().cached_tokens, 192);
  auto one = request();
  one.choices = 1;
  EXPECT_EQ(engine.ask(one).ids(), sink->part(0).ids);
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages - 3) << "those of the prefix cache";
}

TEST(PartsTest, MoreChoicesThanPlacesTakeTurns) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 2});
  const auto sink = ask(engine, sampled(exactly(after_ids(some_ids(70)), 5), 7), 7);
  EXPECT_EQ(sink->wait(), "finished");
  for (int i = 0; i < 7; ++i) EXPECT_EQ(sink->part(i).ids.size(), 5u);
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages - 1) << "that of the prefix cache";
}

TEST(PartsTest, ChoicesNeedNoPrefixCache) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 2, .prefix_cache = false});
  const auto sink = ask(engine, sampled(exactly(after_ids(some_ids(70)), 5), 2), 2);
  EXPECT_EQ(sink->wait(), "finished");
  EXPECT_EQ(prompt_tokens_computed(engine), 140);
}

TEST(PartsTest, SeveralPromptsAreAnsweredAsIfAlone) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 3, .prefix_cache = false});
  engine_api::Request request = exactly(after_ids({}), 8);
  request.sampling.logprobs = 0;
  PromptList list;
  for (int i = 0; i < 5; ++i) list.prompts.emplace_back(TokenPrompt{some_ids(10 + 30 * i)});
  list.prompts.emplace_back(TextPrompt{.text = "The sea", .echo = true});
  request.prompt = list;
  const auto sink = ask(engine, request, 6);
  EXPECT_EQ(sink->wait(), "finished");
  int64_t prompt_tokens = 0;
  for (int i = 0; i < 6; ++i) {
    const size_t at = static_cast<size_t>(i);
    request.prompt =
        std::visit([](const auto& p) { return engine_api::Prompt(p); }, list.prompts[at]);
    const Outcome alone = engine.ask(request);
    EXPECT_EQ(sink->part(i).ids, alone.ids()) << i;
    EXPECT_EQ(sink->part(i).content, alone.content) << i;
    prompt_tokens += alone.usage().prompt_tokens;
  }
  EXPECT_EQ(sink->part(5).content.substr(0, 7), "The sea");
  EXPECT_EQ(sink->usage().prompt_tokens, prompt_tokens);
  EXPECT_EQ(sink->usage().completion_tokens, 48);
  EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
}

TEST(PartsTest, PromptsWithChoicesAreNumberedByPrompt) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 8});
  engine_api::Request request = exactly(after_ids({}), 3);
  request.choices = 2;
  request.prompt = PromptList{
      {TextPrompt{.text = "One", .echo = true}, TextPrompt{.text = "Two", .echo = true}}};
  const auto sink = ask(engine, request, 4);
  EXPECT_EQ(sink->wait(), "finished");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(sink->part(i).content.substr(0, 3), i < 2 ? "One" : "Two");
  }
  EXPECT_EQ(sink->part(0).content, sink->part(1).content) << "greedy";
}

TEST(PartsTest, CancellingEndsAll) {
  for (const int64_t places : {2, 4}) {
    TestEngine engine({.step_tokens_max = kStep, .sequences_max = places, .prefix_cache = false});
    auto sink = std::make_shared<PartsRecorder>(4);
    const auto id =
        engine.backend->submit(sampled(exactly(after_ids(some_ids(70)), 100'000), 4), sink);
    ASSERT_TRUE(id);
    sink->wait_for_deltas(20);
    engine.backend->cancel(*id);
    EXPECT_EQ(sink->wait(), "cancelled");
    EXPECT_GT(sink->usage().completion_tokens, 19);
    // Its place in the queue and its pages are free again.
    EXPECT_EQ(engine.ask(exactly(after_ids(some_ids(10)), 3)).end(), "length");
    EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
  }
}

TEST(PartsTest, ATimeLimitEndsAllWithOneFailure) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 2});
  auto request = sampled(exactly(after_ids(some_ids(70)), 100'000), 4);
  request.timeout_ms = 1000;
  const auto sink = ask(engine, request, 4);
  sink->wait_for_deltas(20);
  engine.clock.advance_ms(1001);
  EXPECT_EQ(sink->wait(), "timeout");
  EXPECT_EQ(engine.ask(exactly(after_ids(some_ids(10)), 3)).end(), "length");
}

TEST(PartsTest, DestroyingTheBackendEndsAll) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 2});
  const auto sink = ask(engine, sampled(exactly(after_ids(some_ids(70)), 100'000), 4), 4);
  sink->wait_for_deltas(3);
  engine.backend.reset();
  EXPECT_EQ(sink->wait(), "cancelled");
}

// One place: the parts of a long list wait in turn with the requests of others.
TEST(PartsTest, AListDoesNotKeepOthersWaiting) {
  TestEngine engine({.step_tokens_max = kStep, .sequences_max = 1});
  engine_api::Request request = exactly(after_ids({}), 20);
  request.user = "talkative";
  request.prompt =
      PromptList{std::vector<std::variant<TextPrompt, TokenPrompt>>(40, TokenPrompt{some_ids(40)})};
  const auto list = ask(engine, request, 40);
  list->wait_for_deltas(1);
  auto shy = exactly(after_ids(some_ids(10)), 3);
  shy.user = "shy";
  EXPECT_EQ(engine.ask(shy).end(), "length");
  EXPECT_FALSE(list->part(39).reason) << "the list is still at work";
  EXPECT_EQ(list->wait(), "finished");
}

TEST(PartsTest, ErrorsNameThePrompt) {
  TestEngine engine({.context_tokens_max = 64});
  engine_api::Request request = exactly(after_ids({}), 3);
  request.prompt = PromptList{{TokenPrompt{{5}}, TokenPrompt{{5, -1}}}};
  EXPECT_EQ(engine.ask(request).error->param, "prompt[1]");
  request.prompt = PromptList{{TextPrompt{.text = std::string(10'000, 'x')}, TokenPrompt{{5}}}};
  const Outcome beyond = engine.ask(request);
  EXPECT_EQ(beyond.error->param, "prompt[0]");
  EXPECT_EQ(beyond.error->code, ErrorCode::context_length_exceeded);
  request.prompt = PromptList{};
  EXPECT_EQ(engine.ask(request).error->param, "prompt");
}

}  // namespace
}  // namespace hadal::engine
