// Answers whose tokens the test chooses itself: the logits are all but one.

#include "engine/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/utf8.h"
#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

using engine_api::Delta;
using engine_api::FinishReason;
using testing::ElementsAre;

// What an answer gave out.
struct Written {
  std::vector<std::string> pieces;  ///< content, a delta each
  std::string content, reasoning;
  std::vector<engine_api::ToolCall> calls;

  void take(Delta&& d) {
    if (!d.content.empty()) pieces.push_back(d.content);
    content += d.content;
    reasoning += d.reasoning;
    for (auto& c : d.tool_calls) calls.push_back(std::move(c));
  }
};

class AnswerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { model = load({.context_tokens_max = 256}).release(); }
  static void TearDownTestSuite() {
    delete model;
    model = nullptr;
  }

  static std::unique_ptr<Answer> make(engine_api::Request request, const LoadedModel& m = *model) {
    request.sampling.temperature = 0;
    auto prompt = make_prompt(m, request);
    EXPECT_TRUE(prompt) << prompt.error().message;
    auto answer = Answer::create(m, request, *prompt, 1);
    EXPECT_TRUE(answer) << answer.error().message;
    return *std::move(answer);
  }
  static std::unique_ptr<Answer> make(const engine_api::StopParams& stop) {
    engine_api::Request request = continuation({.text = "x"});
    request.stop = stop;
    return make(request);
  }
  // Logits that make `best` certain and `second` the next best.
  static std::vector<float> logits(int32_t best, int32_t second = 2000) {
    std::vector<float> out(4096, -5.0f);
    out[static_cast<size_t>(second)] = 5;
    out[static_cast<size_t>(best)] = 10;
    return out;
  }
  static Result<int32_t> choose(Answer& answer, std::vector<float> from) {
    return answer.choose(from);
  }
  // Lets the model say `ids`, until the answer ends.
  static Written say(Answer& answer, std::span<const int32_t> ids) {
    Written out;
    for (const int32_t id : ids) {
      if (answer.finished()) break;
      const auto token = choose(answer, logits(id));
      EXPECT_TRUE(token);
      Delta delta;
      answer.accept(*token, delta);
      out.take(std::move(delta));
    }
    return out;
  }
  static Written say(Answer& answer, std::string_view text) {
    return say(answer, model->tokenizer->encode(text));
  }
  static int32_t token(std::string_view text) {
    return model->tokenizer->token_id(text).value_or(-1);
  }

  static LoadedModel* model;
};
LoadedModel* AnswerTest::model = nullptr;

TEST_F(AnswerTest, EveryPartOfATextCanStopIt) {
  const std::string text = "Good morning, I would like to book a table.";
  for (size_t length = 1; length <= 7; ++length) {
    for (size_t at = 0; at + length <= text.size(); ++at) {
      const std::string stop = text.substr(at, length);
      auto answer = make({.stop = {stop}});
      const Written out = say(*answer, text);
      ASSERT_EQ(out.content, text.substr(0, text.find(stop))) << "stop '" << stop << "'";
      ASSERT_EQ(answer->finished(), FinishReason::stop);
      ASSERT_EQ(answer->stop_string(), stop);
    }
  }
}

TEST_F(AnswerTest, TextThatOnlyBeganAStopStringIsGivenOut) {
  const std::string text = "Good morning, I would like to book a table.";
  for (size_t at = 0; at < text.size(); at += 3) {
    auto answer = make({.stop = {text.substr(at) + "#"}});
    Written out = say(*answer, text);
    EXPECT_EQ(out.content, text.substr(0, at)) << "held back";
    EXPECT_FALSE(answer->finished());
    Delta rest;
    answer->finish(FinishReason::cancelled, rest);
    out.take(std::move(rest));
    EXPECT_EQ(out.content, text);
    EXPECT_EQ(answer->finished(), FinishReason::cancelled);
    EXPECT_EQ(answer->stop_string(), "");
  }
}

TEST_F(AnswerTest, TheFirstOfSeveralStopStringsCounts) {
  auto answer = make({.stop = {"three", "", "two", "wo thr"}});
  EXPECT_EQ(say(*answer, "one two three").content, "one ");
  EXPECT_EQ(answer->stop_string(), "two");
}

TEST_F(AnswerTest, MinTokensHoldsBackEveryEnd) {
  const int32_t eos = *model->tokenizer->eos_id();
  const int32_t word = token("a"), other = token("b");
  auto answer = make({.min_tokens = 3, .stop = {"aa"}, .stop_token_ids = {word + 2}});
  Written out;
  for (const int32_t end : {eos, word + 2, eos}) {
    const auto chosen = choose(*answer, logits(end, word));
    ASSERT_TRUE(chosen);
    EXPECT_EQ(*chosen, word) << "the next best instead of an end";
    Delta delta;
    answer->accept(*chosen, delta);
    EXPECT_FALSE(answer->finished());
    out.take(std::move(delta));
  }
  EXPECT_EQ(out.content, "aa") << "the stop string passes; the last letter may begin another";
  EXPECT_EQ(say(*answer, std::vector<int32_t>{other}).content, "ab");
  const auto chosen = choose(*answer, logits(eos));
  EXPECT_EQ(*chosen, eos);
  Delta delta;
  answer->accept(*chosen, delta);
  EXPECT_EQ(answer->finished(), FinishReason::stop);
  EXPECT_EQ(answer->tokens(), 5);
}

TEST_F(AnswerTest, AfterMinTokensAnEndCounts) {
  auto answer = make({.min_tokens = 1});
  const std::vector<int32_t> ids = {token("a"), *model->tokenizer->eos_id()};
  EXPECT_EQ(say(*answer, ids).content, "a");
  EXPECT_EQ(answer->finished(), FinishReason::stop);
  EXPECT_EQ(answer->tokens(), 2);
}

TEST_F(AnswerTest, PenaltiesKnowThePromptAndTheAnswer) {
  engine_api::Request request = after_ids({token("a")});
  request.sampling.repetition_penalty = 3;  // logits 10 and 5: a third of 10 is less
  auto prompt = make(request);
  EXPECT_EQ(*choose(*prompt, logits(token("a"), token("b"))), token("b"));
  EXPECT_EQ(*choose(*prompt, logits(token("c"), token("b"))), token("c"));
  request.sampling.repetition_penalty = 1;
  request.sampling.frequency_penalty = 2;
  auto answer = make(request);
  // Three times it is worth 10 - 2 * 3 < 5.
  EXPECT_EQ(say(*answer, std::vector<int32_t>(3, token("a"))).content, "aaa");
  EXPECT_EQ(*choose(*answer, logits(token("a"), token("b"))), token("b"));
}

TEST_F(AnswerTest, EndTokensAreNoText) {
  const int32_t eos = *model->tokenizer->eos_id();
  const std::vector<int32_t> ids = {token("a"), eos, token("b")};
  auto plain = make(engine_api::StopParams{});
  EXPECT_EQ(say(*plain, ids).content, "a");
  EXPECT_EQ(plain->finished(), FinishReason::stop);
  EXPECT_EQ(plain->tokens(), 2);
  auto deaf = make({.ignore_eos = true});
  EXPECT_EQ(say(*deaf, ids).content, "ab");
  EXPECT_FALSE(deaf->finished());
  auto own = make({.stop_token_ids = {token("b")}, .ignore_eos = true});
  EXPECT_EQ(say(*own, ids).content, "a");
  EXPECT_EQ(own->finished(), FinishReason::stop);
}

TEST_F(AnswerTest, CharactersComeWhole) {
  const std::string text = "\xF0\x9F\x8D\x95!";  // a pizza, four tokens or so
  const std::vector<int32_t> ids = model->tokenizer->encode(text);
  ASSERT_GT(ids.size(), 2u);
  auto answer = make(engine_api::StopParams{});
  const Written out = say(*answer, ids);
  EXPECT_EQ(out.content, text);
  for (const std::string& piece : out.pieces) EXPECT_EQ(piece, to_valid_utf8(piece));
  // Cut off in the middle, it is a replacement character.
  auto cut = make({.max_tokens = 1});
  EXPECT_EQ(say(*cut, ids).content, "\xEF\xBF\xBD");
  EXPECT_EQ(cut->finished(), FinishReason::length);
}

TEST_F(AnswerTest, ReasoningIsToldApartAndCounted) {
  const auto r1 = load({.prompt_format = "deepseek-r1"});
  auto answer = make(chat("Hi"), *r1);
  std::vector<int32_t> ids = model->tokenizer->encode("Let me think.");
  const auto thought = static_cast<int64_t>(ids.size()) + 1;  // and its end
  ids.push_back(token("</think>"));
  for (const int32_t id : model->tokenizer->encode("Hello!")) ids.push_back(id);
  ids.push_back(*model->tokenizer->eos_id());
  const Written out = say(*answer, ids);
  EXPECT_EQ(out.reasoning, "Let me think.");
  EXPECT_EQ(out.content, "Hello!");
  EXPECT_EQ(answer->reasoning_tokens(), thought);
  EXPECT_EQ(answer->tokens(), static_cast<int64_t>(ids.size()));
}

// Where </think> is a special token, text that waits for its stop string stays on its side of it.
TEST_F(AnswerTest, HeldTextStaysBeforeASpecialMarker) {
  auto demo = open_checkpoint(kDemoPath);
  auto source = demo->tokenizer_source();
  ASSERT_TRUE(source);
  ASSERT_EQ(source->token_types.size(), 4096u);
  source->token_types[static_cast<size_t>(token("</think>"))] = 3;  // control
  const auto r1 = load({.prompt_format = "deepseek-r1"},
                       std::make_unique<WithTokenizer>(std::move(demo), *source));
  ASSERT_TRUE(r1->tokenizer->is_special(token("</think>")));
  auto request = chat("Hi");
  request.stop.stop = {"me.#", "END"};
  auto answer = make(request, *r1);
  std::vector<int32_t> ids = model->tokenizer->encode("It is me.");
  ids.push_back(token("</think>"));
  for (const int32_t id : model->tokenizer->encode("Hello! THE END.")) ids.push_back(id);
  const Written out = say(*answer, ids);
  EXPECT_EQ(out.reasoning, "It is me.");
  EXPECT_EQ(out.content, "Hello! THE ");
  EXPECT_EQ(answer->stop_string(), "END");
}

TEST_F(AnswerTest, ToolCallsAreTheReasonOfTheEnd) {
  auto request = chat("What is the weather in Paris?");
  auto& c = std::get<engine_api::Chat>(request.prompt);
  c.tools.push_back({.name = "weather", .description = "", .parameters = {}});
  auto answer = make(request);
  const std::string text =
      "Let me look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
      "```json\n{\"city\": \"Paris\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  std::vector<int32_t> ids = model->tokenizer->encode_with_specials(text);
  ids.push_back(*model->tokenizer->eos_id());
  const Written out = say(*answer, ids);
  EXPECT_EQ(out.content, "Let me look.");
  ASSERT_EQ(out.calls.size(), 1u);
  EXPECT_EQ(out.calls[0].name, "weather");
  EXPECT_EQ(out.calls[0].arguments, "{\"city\": \"Paris\"}");
  EXPECT_EQ(answer->finished(), FinishReason::tool_calls);
}

TEST_F(AnswerTest, AnotherTurnEndsAnAnswerOfAChat) {
  const std::vector<int32_t> ids = {token("a"), token("<｜User｜>"), token("b")};
  auto answer = make(chat("Hi"));
  EXPECT_EQ(say(*answer, ids).content, "a");
  EXPECT_EQ(answer->finished(), FinishReason::stop);
}

TEST_F(AnswerTest, LogprobsComeWithEveryTokenOfTheText) {
  engine_api::Request request = continuation({.text = "x"});
  request.sampling.logprobs = 2;
  auto answer = make(request);
  const auto chosen = choose(*answer, logits(token("a"), token("b")));
  ASSERT_TRUE(chosen);
  Delta delta;
  answer->accept(*chosen, delta);
  ASSERT_EQ(delta.logprobs.size(), 1u);
  EXPECT_EQ(delta.logprobs[0].chosen.bytes, "a");
  EXPECT_NEAR(delta.logprobs[0].chosen.logprob,
              10 - std::log(std::exp(10.0) + std::exp(5.0) + 4094 * std::exp(-5.0)), 1e-4);
  ASSERT_EQ(delta.logprobs[0].top.size(), 2u);
  EXPECT_EQ(delta.logprobs[0].top[1].bytes, "b");
}

TEST_F(AnswerTest, RoomInTheContextLimitsIt) {
  auto request = after_ids(some_ids(250));
  request.stop.max_tokens = 100;
  auto answer = make(request);
  const Written out = say(*answer, std::vector<int32_t>(20, token("a")));
  EXPECT_EQ(out.content, "aaaaaa");
  EXPECT_EQ(answer->finished(), FinishReason::length);
}

TEST_F(AnswerTest, SenselessParametersAndLogitsAreErrors) {
  engine_api::Request request = continuation({.text = "x"});
  const auto prompt = make_prompt(*model, request);
  ASSERT_TRUE(prompt);
  request.stop.max_tokens = 0;
  const auto none = Answer::create(*model, request, *prompt, 1);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().param, "max_tokens");
  request.stop.max_tokens.reset();
  request.sampling.min_p = 1.5;
  EXPECT_FALSE(Answer::create(*model, request, *prompt, 1));
  auto answer = make(engine_api::StopParams{});
  std::vector<float> broken(4096, std::nanf(""));
  const auto chosen = answer->choose(broken);
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().code, ErrorCode::internal);
}

}  // namespace
}  // namespace hadal::engine
