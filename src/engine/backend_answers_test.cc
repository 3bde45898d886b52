// What a LocalBackend answers: the text, its counts, and what a request may ask of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <set>

#include "engine/prompt_tokens.h"
#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

using testing::HasSubstr;

// Which way a number is computed, in long steps or short, changes its last digits. The texts that
// are compared here are those of which the demo model is sure: by 5 nats or more at every token.
constexpr const char* kQuestion = "Who are you?";
constexpr const char* kParting = "Thank you, goodbye!";

// Long enough for the prefix cache: more than two pages.
std::string long_system() {
  std::string text;
  for (int i = 0; i < 28; ++i) text += "You are a helpful assistant. ";
  return text;
}

TEST(BackendAnswersTest, AnswersAChatAndCountsIt) {
  TestEngine engine;
  const Outcome out = engine.ask(chat(kQuestion));
  EXPECT_EQ(out.end(), "stop");
  EXPECT_THAT(out.content, HasSubstr("hadal"));
  EXPECT_EQ(out.content.find("<｜"), std::string::npos) << "a marker in " << out.content;
  ASSERT_TRUE(out.started);
  EXPECT_GT(out.deltas, 5u) << "it streams";
  EXPECT_EQ(out.started->prompt_tokens, out.usage().prompt_tokens);
  EXPECT_EQ(out.usage().cached_tokens, 0);
  EXPECT_EQ(out.usage().reasoning_tokens, 0);
  const auto prompt = make_prompt(engine.backend->model(), chat(kQuestion));
  ASSERT_TRUE(prompt);
  EXPECT_EQ(out.usage().prompt_tokens, static_cast<int64_t>(prompt->ids.size()));
  // The end-of-sequence token counts; it is no text.
  const auto text_tokens = static_cast<int64_t>(engine.tokenizer().encode(out.content).size());
  EXPECT_EQ(out.usage().completion_tokens, text_tokens + 1);
}

TEST(BackendAnswersTest, GreedyTextDoesNotDependOnTheStepSize) {
  std::set<std::string> texts;
  for (const int64_t step : std::initializer_list<int64_t>{512, 64, 7, 1}) {
    TestEngine engine({.step_tokens_max = step});
    for (int i = 0; i < 2; ++i) {
      texts.insert(engine.ask(chat(kQuestion)).content);
      texts.insert(engine.ask(chat(kQuestion, long_system())).content);
    }
  }
  EXPECT_EQ(texts.size(), 1u) << testing::PrintToString(texts);
}

TEST(BackendAnswersTest, PrefixCacheSparesTokensAndChangesNoText) {
  const auto request = [] { return exactly(chat(kQuestion, long_system()), 24); };
  TestEngine without({.prefix_cache = false});
  TestEngine with;
  const Outcome plain = without.ask(request());
  EXPECT_EQ(without.ask(request()).usage().cached_tokens, 0);
  const Outcome first = with.ask(request());
  const Outcome second = with.ask(request());
  const int64_t prompt = plain.usage().prompt_tokens;
  ASSERT_GT(prompt, 128);
  EXPECT_EQ(first.usage().cached_tokens, 0);
  EXPECT_EQ(second.usage().cached_tokens, (prompt - 1) / 64 * 64);
  EXPECT_EQ(second.started->cached_tokens, second.usage().cached_tokens);
  EXPECT_EQ(first.content, plain.content);
  EXPECT_EQ(second.content, plain.content);
  // The same rules, another question: what is common is shared.
  const Outcome other = with.ask(chat(kParting, long_system()));
  EXPECT_GE(other.usage().cached_tokens, 128);
  EXPECT_EQ(other.content, without.ask(chat(kParting, long_system())).content);
  EXPECT_EQ(with.metrics.counter("hadal_engine_cached_tokens_total", "").value(),
            static_cast<uint64_t>(second.usage().cached_tokens + other.usage().cached_tokens));
}

// What goes on from the middle of an answer finds the pages of the answer too, not just those of
// its prompt, and goes on as the answer did.
TEST(BackendAnswersTest, AnAnswerIsAPrefixOfWhatFollows) {
  TestEngine engine;
  auto request = exactly(chat(kQuestion, long_system()), 34);
  request.sampling.logprobs = 0;
  const auto prompt = make_prompt(engine.backend->model(), request);
  ASSERT_TRUE(prompt);
  const Outcome whole = engine.ask(request);
  const std::vector<int32_t> answer = whole.ids();
  ASSERT_EQ(answer.size(), 34u);
  const size_t said = 24;
  std::vector<int32_t> longer = prompt->ids;
  longer.insert(longer.end(), answer.begin(), answer.begin() + said);
  ASSERT_LT(prompt->ids.size(), 192u);
  ASSERT_GT(longer.size(), 192u) << "a page that prompt and answer share is full";
  const Outcome rest = engine.ask(exactly(after_ids(longer), 10));
  EXPECT_EQ(rest.usage().cached_tokens, 192);
  EXPECT_EQ(engine.tokenizer().decode(std::span(answer).first(said)) + rest.content, whole.content);
}

TEST(BackendAnswersTest, SeedsDecideTheText) {
  TestEngine engine;
  const auto text = [&](std::optional<uint64_t> seed) {
    auto request = exactly(after_ids(some_ids(10)), 16);
    request.sampling.temperature = 1;
    request.sampling.seed = seed;
    return engine.ask(request).content;
  };
  EXPECT_EQ(text(7), text(7));
  EXPECT_GT((std::set<std::string>{text(1), text(2), text(3), text(4)}).size(), 1u);
  // Without a seed every request draws its own.
  std::set<std::string> free;
  for (int i = 0; i < 6; ++i) free.insert(text(std::nullopt));
  EXPECT_GT(free.size(), 1u);
}

TEST(BackendAnswersTest, StopStringsEndTheAnswerWhereverTokensAreCut) {
  TestEngine engine;
  auto request = exactly(chat(kQuestion), 24);
  request.sampling.logprobs = 0;
  const Outcome whole = engine.ask(request);
  std::vector<std::string> pieces;
  for (const auto& p : whole.logprobs) pieces.push_back(p.chosen.bytes);
  ASSERT_EQ(pieces.size(), 24u);
  std::string before;
  int across = 0;
  for (size_t i = 0; i + 2 < pieces.size(); ++i) {
    // The end of one token, a whole one, and the beginning of a third.
    const std::string stop = pieces[i].substr(pieces[i].size() / 2) + pieces[i + 1] +
                             pieces[i + 2].substr(0, (pieces[i + 2].size() + 1) / 2);
    if (i % 4 == 0) {
      request.stop.stop = {"never said", stop};
      const Outcome out = engine.ask(request);
      EXPECT_EQ(out.end(), "stop") << stop;
      EXPECT_EQ(out.content, whole.content.substr(0, whole.content.find(stop))) << stop;
      EXPECT_EQ(out.finished->stop_string, stop);
      EXPECT_LE(out.usage().completion_tokens, static_cast<int64_t>(i + 3));
      ++across;
    }
  }
  EXPECT_GE(across, 5);
  request.stop.stop = {"never said"};
  const Outcome out = engine.ask(request);
  EXPECT_EQ(out.end(), "length");
  EXPECT_EQ(out.content, whole.content);
  EXPECT_EQ(out.finished->stop_string, "");
}

TEST(BackendAnswersTest, TokenLimitsAndEndTokens) {
  TestEngine engine;
  auto request = exactly(chat(kQuestion), 12);
  request.sampling.logprobs = 0;
  const Outcome whole = engine.ask(request);
  EXPECT_EQ(whole.end(), "length");
  EXPECT_EQ(whole.usage().completion_tokens, 12);
  const std::vector<int32_t> ids = whole.ids();
  // A stop token ends the answer, is counted, and is no part of it.
  request.stop.stop_token_ids = {ids[5]};
  const auto at = std::find(ids.begin(), ids.end(), ids[5]) - ids.begin();
  const Outcome stopped = engine.ask(request);
  EXPECT_EQ(stopped.end(), "stop");
  EXPECT_EQ(stopped.usage().completion_tokens, at + 1);
  EXPECT_EQ(stopped.content,
            engine.tokenizer().decode(std::span(ids).first(static_cast<size_t>(at))));
  // Before min_tokens it cannot even be chosen.
  request.stop.min_tokens = 9;
  const Outcome late = engine.ask(request);
  EXPECT_GE(late.usage().completion_tokens, 9);
  for (size_t i = 0; i + 1 < 9; ++i) EXPECT_NE(late.logprobs[i].chosen.id, ids[5]);
  // ignore_eos writes on after the model's own end.
  auto polite = chat(kQuestion);
  const int64_t natural = engine.ask(polite).usage().completion_tokens;
  const Outcome beyond = engine.ask(exactly(chat(kQuestion), natural + 5));
  EXPECT_EQ(beyond.end(), "length");
  EXPECT_EQ(beyond.usage().completion_tokens, natural + 5);
  polite.stop.min_tokens = natural + 5;
  EXPECT_GE(engine.ask(polite).usage().completion_tokens, natural + 5);
}

TEST(BackendAnswersTest, AFullContextEndsTheAnswer) {
  for (const int64_t context : {64, 65, 100}) {
    TestEngine engine({.context_tokens_max = context});
    auto request = exactly(after_ids(some_ids(20)), 1'000'000);
    const Outcome out = engine.ask(request);
    EXPECT_EQ(out.end(), "length");
    EXPECT_EQ(out.usage().completion_tokens, context - 20);
    request.stop.max_tokens.reset();
    EXPECT_EQ(engine.ask(request).usage().completion_tokens, context - 20);
    // One token of room is enough, none is not.
    EXPECT_EQ(engine.ask(after_ids(some_ids(context - 1))).usage().completion_tokens, 1);
    const Outcome full = engine.ask(after_ids(some_ids(context)));
    EXPECT_TRUE(full.refused);
    EXPECT_EQ(full.end(), "context_length_exceeded");
  }
}

TEST(BackendAnswersTest, LogprobsAreThoseOfTheChosenTokens) {
  TestEngine engine;
  auto request = chat(kQuestion);
  request.sampling.logprobs = 20;
  const Outcome out = engine.ask(request);
  EXPECT_EQ(out.end(), "stop");
  ASSERT_EQ(static_cast<int64_t>(out.logprobs.size()), out.usage().completion_tokens - 1);
  std::string text;
  for (const auto& p : out.logprobs) {
    text += p.chosen.bytes;
    EXPECT_EQ(p.chosen.bytes, engine.bytes(p.chosen.id));
    ASSERT_EQ(p.top.size(), 20u);
    EXPECT_EQ(p.top[0].id, p.chosen.id) << "greedy takes the most likely";
    EXPECT_EQ(p.top[0].logprob, p.chosen.logprob);
    double sum = 0;
    for (size_t i = 0; i < p.top.size(); ++i) {
      sum += std::exp(p.top[i].logprob);
      EXPECT_EQ(p.top[i].bytes, engine.bytes(p.top[i].id));
      EXPECT_LE(p.top[i].logprob, p.top[i > 0 ? i - 1 : 0].logprob);
    }
    EXPECT_LE(sum, 1.0001);
    EXPECT_GT(sum, 0.05);
  }
  EXPECT_EQ(text, out.content);
  EXPECT_TRUE(engine.ask(chat(kQuestion)).logprobs.empty()) << "only on demand";
}

TEST(BackendAnswersTest, LogitBiasForcesAndForbids) {
  TestEngine engine;
  auto request = exactly(chat(kQuestion), 3);
  const int32_t forced = engine.tokenizer().token_id(" the").value_or(1234);
  request.sampling.logit_bias = {{forced, 100.0f}};
  const Outcome out = engine.ask(request);
  const std::string word = engine.bytes(forced);
  EXPECT_EQ(out.content, word + word + word);
  request.sampling.logit_bias = {};
  request.sampling.logprobs = 0;
  const int32_t usual = engine.ask(request).ids().at(0);
  request.sampling.logit_bias = {{usual, -100.0f}};
  EXPECT_NE(engine.ask(request).ids().at(0), usual);
}

TEST(BackendAnswersTest, TextAndTokenPromptsContinueWithoutAChat) {
  TestEngine engine;
  const std::string text = "I am looking for a place to";
  const Outcome plain = engine.ask(exactly(continuation({.text = text}), 8));
  EXPECT_EQ(plain.end(), "length");
  EXPECT_NE(plain.content, engine.ask(exactly(chat(text), 8)).content);
  const Outcome echoed = engine.ask(exactly(continuation({.text = text, .echo = true}), 8));
  EXPECT_EQ(echoed.content, text + plain.content);
  EXPECT_EQ(echoed.usage().completion_tokens, 8) << "what is repeated was not generated";
  const auto prompt = make_prompt(engine.backend->model(), continuation({.text = text}));
  ASSERT_TRUE(prompt);
  EXPECT_EQ(engine.ask(exactly(after_ids(prompt->ids), 8)).content, plain.content);
}

TEST(BackendAnswersTest, EveryKvDtypeAnswers) {
  std::set<std::string> texts;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::f8_e4m3}) {
    TestEngine engine({.kv_dtype = dtype, .step_tokens_max = 64});
    EXPECT_EQ(engine.backend->model().kv->view(0).dtype, dtype);
    const Outcome out = engine.ask(chat(kQuestion));
    EXPECT_EQ(out.end(), "stop");
    texts.insert(out.content);
    const auto long_one = exactly(after_ids(some_ids(150)), 12);
    const Outcome first = engine.ask(long_one);
    const Outcome again = engine.ask(long_one);
    EXPECT_EQ(again.usage().cached_tokens, 128);
    EXPECT_EQ(again.content, first.content) << "pages of " << dtype_name(dtype);
  }
  EXPECT_EQ(texts.size(), 1u) << testing::PrintToString(texts);
}

// A model that caches rings besides pages: nothing of one request may reach the next, and nothing
// can be shared.
TEST(BackendAnswersTest, AModelWithRingsAnswersTheSameAgainAndAgain) {
  const auto demo = open_checkpoint(kDemoPath)->tokenizer_source();
  ASSERT_TRUE(demo);
  format::TokenizerSource source = *demo;
  source.tokens.resize(384);
  source.token_types.resize(384);
  std::erase_if(source.merges, [&](std::string merge) {
    std::erase(merge, ' ');
    return std::ranges::find(source.tokens, merge) == source.tokens.end();
  });
  const auto open = [&] {
    return std::make_unique<WithTokenizer>(
        open_checkpoint(HADAL_SOURCE_DIR "/tests/golden/deepseek_v4"), source);
  };
  for (const int64_t step : {512, 7}) {
    std::set<std::vector<int32_t>> answers;
    TestEngine engine(load({.step_tokens_max = step}, open()));
    EXPECT_EQ(engine.backend->model().prefixes, nullptr);
    EXPECT_EQ(engine.backend->model().id, "deepseek_v4");
    for (int i = 0; i < 2; ++i) {
      std::vector<int32_t> ids = some_ids(90);
      for (int32_t& id : ids) id %= 384;
      auto request = exactly(after_ids(ids), 24);
      request.sampling.logprobs = 0;
      const Outcome out = engine.ask(request);
      EXPECT_EQ(out.end(), "length");
      EXPECT_EQ(out.usage().cached_tokens, 0);
      answers.insert(out.ids());
      engine.ask(exactly(after_ids(std::vector<int32_t>(200, 5)), 3));  // dirties the rings
    }
    EXPECT_EQ(answers.size(), 1u) << "steps of " << step;
    EXPECT_EQ(engine.pages_free_at_end(), engine.pages);
  }
}

}  // namespace
}  // namespace hadal::engine
