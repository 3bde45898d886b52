// Answers held to a form, with the demo model and its vocabulary.

#include "engine/constraint.h"

#include <gtest/gtest.h>

#include "engine/prompt_tokens.h"
#include "engine/test_engine.h"
#include "json/json.h"

namespace hadal::engine {
namespace {

using engine_api::FinishReason;
using engine_api::Request;

json::Value parsed(const std::string& text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  return value ? *value : json::Value();
}

Request free_chat(uint64_t seed, engine_api::AnswerFormat format, double temperature = 1.3) {
  Request request = chat("Tell me about the sea.");
  request.sampling.temperature = temperature;
  request.sampling.seed = seed;
  request.stop.max_tokens = 200;
  request.format = std::move(format);
  return request;
}

TEST(ConstraintTest, AnswersFollowTheSchemaWhateverTheModelSays) {
  TestEngine engine({.context_tokens_max = 512});
  const json::Value schema = parsed(
      R"({"type": "object", "properties": {
            "name": {"type": "string", "maxLength": 20},
            "depth_m": {"type": "integer", "minimum": 0, "maximum": 11000},
            "kinds": {"type": "array", "items": {"enum": ["fish", "crab"]}, "maxItems": 3}},
          "required": ["name", "depth_m", "kinds"], "additionalProperties": false})");
  int whole = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const double temperature = seed == 0 ? 0 : 1.3;
    const Outcome out =
        engine.ask(free_chat(seed, engine_api::JsonSchemaFormat{schema}, temperature));
    ASSERT_FALSE(out.error) << out.error->message;
    if (out.finished->reason != FinishReason::stop) continue;
    ++whole;
    const json::Value v = parsed(out.content);
    ASSERT_TRUE(v.is_object()) << out.content;
    EXPECT_EQ(v.as_object().size(), 3u) << out.content;
    EXPECT_TRUE(v.find("name")->is_string()) << out.content;
    const int64_t depth = v.find("depth_m")->as_int();
    EXPECT_TRUE(depth >= 0 && depth <= 11000) << out.content;
    for (const json::Value& k : v.find("kinds")->as_array()) {
      EXPECT_TRUE(k == "fish" || k == "crab") << out.content;
    }
  }
  EXPECT_GE(whole, 10);
}

TEST(ConstraintTest, JsonObjectsAndGrammars) {
  TestEngine engine({.context_tokens_max = 512});
  int whole = 0;
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Request request = free_chat(seed, engine_api::JsonObjectFormat{});
    // The demo model knows no JSON: without this it never ends a string.
    for (const char* mark : {"\"", "}", "1"}) {
      request.sampling.logit_bias.emplace_back(engine.tokenizer().token_id(mark).value_or(-1), 9);
    }
    const Outcome out = engine.ask(request);
    ASSERT_TRUE(out.finished);
    if (out.finished->reason != FinishReason::stop) continue;
    ++whole;
    EXPECT_TRUE(parsed(out.content).is_object()) << out.content;
  }
  EXPECT_GT(whole, 0);
  const Outcome out = engine.ask(free_chat(
      1, engine_api::GrammarFormat{"root ::= (\"yes\" | \"no\") \", \" [0-9]{3} \"é!\""}));
  EXPECT_EQ(out.end(), "stop");
  EXPECT_TRUE(out.content.starts_with("yes, ") || out.content.starts_with("no, ")) << out.content;
  EXPECT_TRUE(out.content.ends_with("é!")) << out.content;

  Request text = continuation({.text = "The sea is "});
  text.format = engine_api::GrammarFormat{"root ::= [a-z]+ \".\""};
  text.stop.max_tokens = 40;
  const Outcome continued = engine.ask(std::move(text));
  ASSERT_TRUE(continued.finished);
  for (const char c : continued.content) EXPECT_TRUE(c == '.' || (c >= 'a' && c <= 'z'));
}

TEST(ConstraintTest, EndsAreHeldToTheFormToo) {
  TestEngine engine({.context_tokens_max = 512});
  // The likeliest token is an end; the grammar says more comes.
  Request request = free_chat(1, engine_api::GrammarFormat{"root ::= \"a\"{5} \"b\"?"}, 0);
  for (const int32_t id : engine.backend->model().end_ids) {
    request.sampling.logit_bias.emplace_back(id, 100.0f);
  }
  const Outcome out = engine.ask(request);
  EXPECT_EQ(out.end(), "stop");
  EXPECT_EQ(out.content, "aaaaa");
  request.stop.ignore_eos = true;
  EXPECT_EQ(engine.ask(request).content, "aaaaab") << "with no end but the grammar's";
}

TEST(ConstraintTest, APrefixCounts) {
  TestEngine engine({.context_tokens_max = 512});
  Request request = free_chat(1, engine_api::GrammarFormat{"root ::= \"one two\" \" three\"?"}, 0);
  std::get<engine_api::Chat>(request.prompt)
      .messages.push_back(
          {.role = engine_api::Role::assistant, .content = "one t", .prefix = true});
  EXPECT_TRUE(engine.ask(request).content.starts_with("wo"));
  std::get<engine_api::Chat>(request.prompt).messages.back().content = "two";
  const Outcome refused = engine.ask(request);
  ASSERT_TRUE(refused.refused);
  EXPECT_EQ(refused.error->param, "messages[1].content");
}

TEST(ConstraintTest, RefusesAtOnceWhatCannotBe) {
  TestEngine engine({.context_tokens_max = 512});
  const auto param = [&](engine_api::AnswerFormat format) {
    const Outcome out = engine.ask(free_chat(1, std::move(format)));
    EXPECT_TRUE(out.refused);
    return out.error ? out.error->param : "";
  };
  EXPECT_EQ(param(engine_api::GrammarFormat{"nonsense"}), "grammar");
  EXPECT_EQ(param(engine_api::GrammarFormat{"root ::= root"}), "grammar");
  EXPECT_EQ(param(engine_api::JsonSchemaFormat{parsed(R"({"not": {}})")}),
            "response_format.json_schema.schema");
  EXPECT_EQ(param(engine_api::JsonSchemaFormat{parsed(R"({"allOf": [false]})")}),
            "response_format.json_schema.schema");
}

// An ambiguous grammar ends its own request and nobody else's.
TEST(ConstraintTest, HostileGrammarsEndTheirOwnRequest) {
  TestEngine engine({.context_tokens_max = 2048});
  Request request =
      free_chat(1, engine_api::GrammarFormat{"root ::= root root root | [a-z ] | \"\""}, 1);
  request.stop.max_tokens = 1500;
  const Outcome out = engine.ask(request);
  EXPECT_TRUE(out.end() == "resource_exhausted" || out.end() == "stop" || out.end() == "length")
      << out.end();
  EXPECT_EQ(engine.ask(exactly(chat("hello"), 5)).end(), "length");
}

TEST(ConstraintTest, KeepsWhatItCompiledWithinItsBytes) {
  const auto model = load({.context_tokens_max = 256});
  Constraints constraints(*model->tokenizer, model->prompt_format,
                          static_cast<size_t>(model->model->config().vocab), 1 << 20);
  PromptTokens prompt;
  Request request;
  request.prompt = engine_api::TextPrompt{.text = "x", .suffix = {}};
  const auto start = [&](int i) {
    request.format = engine_api::GrammarFormat{"root ::= [a-z]{" + std::to_string(i) + ",900}"};
    auto m = constraints.start(request, prompt);
    ASSERT_TRUE(m) << m.error().message;
    ASSERT_TRUE(*m);
    std::vector<uint64_t> bits((static_cast<size_t>(model->model->config().vocab) + 63) / 64);
    for (int step = 0; step < 50; ++step) {
      EXPECT_TRUE((*m)->allowed(bits));
      EXPECT_TRUE(*(*m)->accept_text("a"));
    }
  };
  for (int i = 0; i < 200; ++i) start(i);
  EXPECT_GT(constraints.bytes(), 0u);
  EXPECT_LT(constraints.bytes(), 2u << 20);
  request.format = {};
  const auto none = constraints.start(request, prompt);
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none) << "no form, no grammar";
}

}  // namespace
}  // namespace hadal::engine
