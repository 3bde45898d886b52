#include "protocol/openai_response.h"

#include <gtest/gtest.h>

#include <cmath>

#include "json/json.h"

namespace hadal::protocol {
namespace {

using engine_api::Delta;
using engine_api::FinishReason;

const AnswerHead kHead{.id = "chatcmpl-1", .created_unix_s = 5, .model = "m"};

json::Value parsed(const std::string& text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value) << text;
  return value ? *value : json::Value();
}

const json::Value& choice(const json::Value& body) {
  return body.find("choices")->as_array().at(0);
}

Answer some_answer() {
  Answer answer;
  answer.add({.reasoning = "hm", .tool_calls = {}, .logprobs = {}});
  answer.add({.content = "Hi", .reasoning = {}, .tool_calls = {}, .logprobs = {}});
  answer.add({.content = "!", .reasoning = {}, .tool_calls = {}, .logprobs = {}});
  return answer;
}

constexpr engine_api::Usage kUsage{
    .prompt_tokens = 10, .cached_tokens = 4, .completion_tokens = 3, .reasoning_tokens = 1};

TEST(ChatCompletionTest, HasWhatClientsRead) {
  const json::Value body = parsed(chat_completion(kHead, {{some_answer()}}, kUsage, false));
  EXPECT_EQ(*body.string_at("object"), "chat.completion");
  const json::Value& message = *choice(body).find("message");
  EXPECT_EQ(*message.string_at("content"), "Hi!");
  EXPECT_EQ(*message.string_at("reasoning_content"), "hm");
  EXPECT_EQ(*choice(body).string_at("finish_reason"), "stop");
  const json::Value& usage = *body.find("usage");
  EXPECT_EQ(*usage.int_at("total_tokens"), 13);
  EXPECT_EQ(*usage.int_at("prompt_cache_hit_tokens"), 4);
  EXPECT_EQ(*usage.int_at("prompt_cache_miss_tokens"), 6);
  EXPECT_EQ(*usage.find("prompt_tokens_details")->int_at("cached_tokens"), 4);
  EXPECT_EQ(*usage.find("completion_tokens_details")->int_at("reasoning_tokens"), 1);
}

TEST(ChatCompletionTest, ToolCallsHaveNullContent) {
  Answer answer;
  answer.add({.content = {}, .reasoning = {}, .tool_calls = {{"c", "f", "{}"}}, .logprobs = {}});
  answer.reason = FinishReason::tool_calls;
  const std::string text = chat_completion(kHead, {{answer}}, {}, false);
  EXPECT_NE(text.find(R"("content":null)"), std::string::npos);
  EXPECT_NE(text.find(R"("finish_reason":"tool_calls")"), std::string::npos);
  EXPECT_NE(text.find(R"({"id":"c","type":"function","function":{"name":"f","arguments":"{}"}})"),
            std::string::npos);
}

TEST(ChatCompletionTest, LogprobsKeepRawBytes) {
  Answer answer;
  answer.add({.content = "x",
              .reasoning = {},
              .tool_calls = {},
              .logprobs = {{.chosen = {1, "\xe2\x82", -0.5f}, .top = {{1, "\xe2\x82", -0.5f}}}}});
  const json::Value body = parsed(chat_completion(kHead, {{answer}}, {}, true));
  const json::Value& first = choice(body).find("logprobs")->find("content")->as_array().at(0);
  EXPECT_EQ(first.find("bytes")->as_array().size(), 2u);
  EXPECT_EQ(*first.double_at("logprob"), -0.5);
  EXPECT_EQ(first.find("top_logprobs")->as_array().size(), 1u);
  const json::Value old = parsed(text_completion(kHead, {{answer}}, {}, true));
  EXPECT_EQ(choice(old).find("logprobs")->find("tokens")->as_array().size(), 1u);
}

TEST(TextCompletionTest, OffsetsFollowTheText) {
  // An echoed prompt with a special token in front, which is no text, and an answer.
  Answer answer;
  answer.add({.content = "ab",
              .logprobs = {{.chosen = {1, "<bos>", std::nanf("")}, .in_text = false},
                           {.chosen = {2, "ab", -1.0f}, .top = {{3, "x", -0.5f}}}}});
  answer.add({.content = "c", .logprobs = {{.chosen = {4, "c", -2.0f}}}});
  const json::Value body = parsed(text_completion(kHead, {{answer}}, {}, true));
  const json::Value& told = *choice(body).find("logprobs");
  EXPECT_EQ(json::dump(*told.find("text_offset")), "[0,0,2]");
  EXPECT_EQ(json::dump(*told.find("token_logprobs")), "[null,-1.0,-2.0]");
  EXPECT_EQ(json::dump(*told.find("top_logprobs")), R"([null,{"x":-0.5,"ab":-1.0},{}])");
  // An echoed prompt without logprobs of its own.
  Answer plain;
  plain.add({.content = "prompt"});
  plain.add({.content = "c", .logprobs = {{.chosen = {4, "c", -2.0f}}}});
  EXPECT_EQ(plain.first_offset, 6);
  ChunkWriter writer(kHead, false, false, 2);
  const std::string first =
      writer.delta({.index = 1, .content = "ab", .logprobs = answer.logprobs}).at(0);
  EXPECT_NE(first.find(R"("text_offset":[0,0,2])"), std::string::npos) << first;
}

TEST(ChatCompletionTest, NumbersSeveralAnswers) {
  const Answer two[] = {some_answer(), some_answer()};
  const json::Value body = parsed(chat_completion(kHead, two, kUsage, false));
  EXPECT_EQ(*body.find("choices")->as_array().at(1).int_at("index"), 1);
  EXPECT_EQ(*body.find("usage")->int_at("prompt_tokens"), 10);
}

TEST(ChunkWriterTest, WritesAChatStream) {
  ChunkWriter writer(kHead, true, true);
  const json::Value first = parsed(writer.begin(0));
  EXPECT_EQ(*choice(first).find("delta")->string_at("role"), "assistant");
  EXPECT_NE(writer.begin(0).find(R"("usage":null)"), std::string::npos);
  EXPECT_TRUE(writer.delta({}).empty());
  auto chunks = writer.delta({.content = {}, .reasoning = "r", .tool_calls = {}, .logprobs = {}});
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(*choice(parsed(chunks[0])).find("delta")->string_at("reasoning_content"), "r");
  chunks = writer.delta({.content = {},
                         .reasoning = {},
                         .tool_calls = {{"a", "f", "{}"}, {"b", "g", "{}"}},
                         .logprobs = {}});
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(
      *choice(parsed(chunks[1])).find("delta")->find("tool_calls")->as_array()[0].int_at("index"),
      1);
  EXPECT_EQ(*choice(parsed(writer.end(0, FinishReason::length))).string_at("finish_reason"),
            "length");
  const json::Value usage = parsed(writer.usage({.prompt_tokens = 2}));
  EXPECT_TRUE(usage.find("choices")->as_array().empty());
  EXPECT_EQ(*usage.find("usage")->int_at("prompt_tokens"), 2);
}

TEST(ChunkWriterTest, WritesATextStream) {
  ChunkWriter writer(kHead, false, false);
  EXPECT_EQ(writer.begin(0), "");
  const auto chunks =
      writer.delta({.content = "t", .reasoning = {}, .tool_calls = {}, .logprobs = {}});
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(*choice(parsed(chunks[0])).string_at("text"), "t");
  EXPECT_EQ(chunks[0].find("usage"), std::string::npos);
}

TEST(ErrorBodyTest, HasAllKeys) {
  const json::Value body =
      parsed(error_body(invalid_argument("n must be 1").about("n").with_hint("send more")));
  const json::Value& error = *body.find("error");
  EXPECT_EQ(*error.string_at("message"), "n must be 1");
  EXPECT_EQ(*error.string_at("type"), "invalid_request_error");
  EXPECT_EQ(*error.string_at("param"), "n");
  EXPECT_EQ(*error.string_at("code"), "invalid_argument");
  EXPECT_EQ(*error.string_at("hint"), "send more");
  EXPECT_NE(error_body(not_found("x")).find(R"("param":null)"), std::string::npos);
}

TEST(ModelListTest, ListsModels) {
  const engine_api::ModelInfo models[] = {{.id = "a"}, {.id = "b"}};
  const json::Value body = parsed(model_list(models));
  EXPECT_EQ(body.find("data")->as_array().size(), 2u);
  EXPECT_EQ(parsed(model_list({})).find("data")->as_array().size(), 0u);
}

}  // namespace
}  // namespace hadal::protocol
