#include "protocol/openai_request.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal::protocol {
namespace {

using engine_api::Chat;
using engine_api::Role;
using engine_api::TextPrompt;
using engine_api::Thinking;
using engine_api::TokenPrompt;

std::string chat_body(const std::string& more = "") {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + more + "}";
}

Chat chat_of(const std::string& body) {
  auto parsed = parse_chat_request(body);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? std::get<Chat>(parsed->request.prompt) : Chat{};
}

TEST(ParseChatRequestTest, ReadsEveryParameter) {
  const auto parsed = parse_chat_request(chat_body(
      R"(,"stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"top_p":0.9,)"
      R"("top_k":40,"min_p":0.05,"repetition_penalty":1.1,"presence_penalty":-1,)"
      R"("frequency_penalty":2,"seed":-1,"logit_bias":{"5":-100,"6":1.5},"logprobs":true,)"
      R"("top_logprobs":3,"max_tokens":7,"max_completion_tokens":9,"min_tokens":2,)"
      R"("stop":["a","b"],"stop_token_ids":[1,2],"ignore_eos":true,"user":"u","n":1,)"
      R"("timeout_ms":500,"metadata":{"x":1},"some_future_field":[1])"));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->stream);
  EXPECT_TRUE(parsed->include_usage);
  const auto& r = parsed->request;
  EXPECT_EQ(r.model, "m");
  EXPECT_EQ(r.timeout_ms, 500);
  EXPECT_EQ(r.sampling.temperature, 0.5);
  EXPECT_EQ(r.sampling.top_p, 0.9);
  EXPECT_EQ(r.sampling.top_k, 40);
  EXPECT_EQ(r.sampling.min_p, 0.05);
  EXPECT_EQ(r.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(r.sampling.presence_penalty, -1);
  EXPECT_EQ(r.sampling.frequency_penalty, 2);
  EXPECT_EQ(r.sampling.seed, ~uint64_t{0});
  EXPECT_EQ(r.sampling.logprobs, 3);
  ASSERT_EQ(r.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(r.sampling.logit_bias[1], (std::pair<int32_t, float>{6, 1.5f}));
  EXPECT_EQ(r.stop.max_tokens, 9) << "the newer name wins";
  EXPECT_EQ(r.stop.min_tokens, 2);
  EXPECT_EQ(r.stop.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(r.stop.stop_token_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(r.stop.ignore_eos);
}

TEST(ParseChatRequestTest, DefaultsAreOpenAis) {
  const auto parsed =
      parse_chat_request(chat_body(R"(,"temperature":null,"stop":null,"top_k":-1)"));
  ASSERT_TRUE(parsed);
  EXPECT_FALSE(parsed->stream);
  EXPECT_EQ(parsed->request.sampling.temperature, 1);
  EXPECT_EQ(parsed->request.sampling.top_k, 0);
  EXPECT_EQ(parsed->request.sampling.logprobs, -1);
  EXPECT_FALSE(parsed->request.stop.max_tokens);
  EXPECT_EQ(parse_chat_request(chat_body(R"(,"logprobs":true)"))->request.sampling.logprobs, 0);
  EXPECT_GT(parse_chat_request(chat_body(R"(,"top_p":0)"))->request.sampling.top_p, 0);
}

TEST(ParseChatRequestTest, ReadsMessages) {
  const Chat chat = chat_of(
      R"({"messages":[{"role":"developer","content":[{"type":"text","text":"a"},)"
      R"({"type":"text","text":"b"}]},{"role":"assistant","content":null,"reasoning_content":"r",)"
      R"("tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},)"
      R"({"role":"tool","tool_call_id":"c1","content":"42"},)"
      R"({"role":"assistant","content":"So","prefix":true}]})");
  ASSERT_EQ(chat.messages.size(), 4u);
  EXPECT_EQ(chat.messages[0].role, Role::developer);
  EXPECT_EQ(chat.messages[0].content, "ab");
  EXPECT_EQ(chat.messages[1].reasoning_content, "r");
  EXPECT_EQ(chat.messages[1].tool_calls.at(0).name, "f");
  EXPECT_EQ(chat.messages[2].tool_call_id, "c1");
  EXPECT_TRUE(chat.messages[3].prefix);
}

TEST(ParseChatRequestTest, ReadsTools) {
  const std::string tools =
      R"(,"tools":[{"type":"function","function":{"name":"f","description":"d",)"
      R"("parameters":{"type":"object"},"strict":true}}])";
  const Chat chat = chat_of(chat_body(tools));
  ASSERT_EQ(chat.tools.size(), 1u);
  EXPECT_EQ(chat.tools[0].description, "d");
  EXPECT_TRUE(chat.tools[0].parameters.is_object());
  EXPECT_TRUE(chat.tools[0].strict);
  EXPECT_TRUE(chat_of(chat_body(tools + R"(,"tool_choice":"none")")).tools.empty());
  EXPECT_EQ(chat_of(chat_body(tools + R"(,"tool_choice":"auto")")).tools.size(), 1u);
  const auto forced = parse_chat_request(chat_body(tools + R"(,"tool_choice":"required")"));
  ASSERT_FALSE(forced);
  EXPECT_EQ(forced.error().param, "tool_choice");
}

TEST(ParseChatRequestTest, ReadsThinking) {
  EXPECT_EQ(chat_of(chat_body()).thinking, Thinking::automatic);
  EXPECT_EQ(chat_of(chat_body(R"(,"thinking":{"type":"enabled"})")).thinking, Thinking::on);
  EXPECT_EQ(chat_of(chat_body(R"(,"thinking":{"type":"disabled"})")).thinking, Thinking::off);
  EXPECT_EQ(chat_of(chat_body(R"(,"chat_template_kwargs":{"thinking":true})")).thinking,
            Thinking::on);
  EXPECT_EQ(chat_of(chat_body(R"(,"chat_template_kwargs":{"enable_thinking":false})")).thinking,
            Thinking::off);
  EXPECT_EQ(chat_of(chat_body(R"(,"reasoning_effort":"none")")).thinking, Thinking::off);
  EXPECT_EQ(chat_of(chat_body(R"(,"reasoning_effort":"medium")")).reasoning_effort, "high");
  EXPECT_EQ(chat_of(chat_body(R"(,"reasoning_effort":"max")")).reasoning_effort, "max");
}

TEST(ParseChatRequestTest, ReadsResponseFormat) {
  EXPECT_TRUE(
      chat_of(chat_body(R"(,"response_format":{"type":"text"})")).response_format.is_null());
  EXPECT_TRUE(chat_of(chat_body(R"(,"response_format":{"type":"json_object"})"))
                  .response_format.is_object());
}

TEST(ParseChatRequestTest, NamesThePlaceOfWhatIsWrong) {
  const struct {
    std::string body;
    const char* param;
  } cases[] = {
      {"", ""},
      {"[]", ""},
      {"{", ""},
      {"{\"messages\":[]}", "messages"},
      {"{}", "messages"},
      {R"({"messages":{}})", "messages"},
      {R"({"messages":[1]})", "messages[0]"},
      {R"({"messages":[{"role":"king","content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"user"}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":5}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
       "messages[0].content[0].type"},
      {R"({"messages":[{"role":"tool","content":"x"}]})", "messages[0].tool_call_id"},
      {R"({"messages":[{"role":"assistant","content":"x","prefix":true},)"
       R"({"role":"user","content":"x"}]})",
       "messages[0].prefix"},
      {R"({"messages":[{"role":"assistant","content":"x","tool_calls":[{"function":{}}]}]})",
       "messages[0].tool_calls[0].function.name"},
      {chat_body(R"(,"temperature":"hot")"), "temperature"},
      {chat_body(R"(,"temperature":2.5)"), "temperature"},
      {chat_body(R"(,"temperature":1e999)"), ""},
      {chat_body(R"(,"top_p":-0.1)"), "top_p"},
      {chat_body(R"(,"min_p":1)"), "min_p"},
      {chat_body(R"(,"repetition_penalty":0)"), "repetition_penalty"},
      {chat_body(R"(,"n":2)"), "n"},
      {chat_body(R"(,"max_tokens":0)"), "max_tokens"},
      {chat_body(R"(,"max_tokens":1.5)"), "max_tokens"},
      {chat_body(R"(,"max_tokens":1,"min_tokens":2)"), "min_tokens"},
      {chat_body(R"(,"stop":[1])"), "stop"},
      {chat_body(R"(,"stop":"")"), "stop"},
      {chat_body(R"(,"stop_token_ids":[-1])"), "stop_token_ids[0]"},
      {chat_body(R"(,"logit_bias":{"x":1})"), "logit_bias"},
      {chat_body(R"(,"logit_bias":{"1":101})"), "logit_bias"},
      {chat_body(R"(,"top_logprobs":5)"), "top_logprobs"},
      {chat_body(R"(,"logprobs":true,"top_logprobs":21)"), "top_logprobs"},
      {chat_body(R"(,"stream":"yes")"), "stream"},
      {chat_body(R"(,"stream_options":{"include_usage":1})"), "stream_options.include_usage"},
      {chat_body(R"(,"tools":[{"type":"code"}])"), "tools[0].type"},
      {chat_body(R"(,"tools":[{"type":"function","function":{"name":"a b"}}])"),
       "tools[0].function.name"},
      {chat_body(R"(,"thinking":{"type":"maybe"})"), "thinking.type"},
      {chat_body(R"(,"reasoning_effort":"extreme")"), "reasoning_effort"},
      {chat_body(R"(,"response_format":{"type":"xml"})"), "response_format.type"},
  };
  for (const auto& c : cases) {
    const auto parsed = parse_chat_request(c.body);
    ASSERT_FALSE(parsed) << c.body;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument) << c.body;
    EXPECT_EQ(parsed.error().param, c.param) << c.body << ": " << parsed.error().message;
    EXPECT_FALSE(parsed.error().message.empty());
  }
}

TEST(ParseChatRequestTest, HoldsItsLimits) {
  const auto deep = parse_chat_request(
      chat_body(",\"metadata\":" + std::string(100, '[') + std::string(100, ']')));
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, ErrorCode::too_large);
  const auto many = parse_chat_request(
      R"({"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]})",
      {.messages_max = 1});
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().param, "messages");
}

TEST(ParseCompletionRequestTest, ReadsEveryKindOfPrompt) {
  auto prompt = [](const char* body) { return parse_completion_request(body)->request.prompt; };
  EXPECT_EQ(std::get<TextPrompt>(prompt(R"({"prompt":"a","suffix":"b"})")).suffix, "b");
  EXPECT_EQ(std::get<TextPrompt>(prompt(R"({"prompt":["a"],"echo":true})")).text, "a");
  EXPECT_EQ(std::get<TokenPrompt>(prompt(R"({"prompt":[1,2]})")).ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(std::get<TokenPrompt>(prompt(R"({"prompt":[[3]]})")).ids, (std::vector<int32_t>{3}));
  EXPECT_EQ(parse_completion_request(R"({"prompt":"","logprobs":5})")->request.sampling.logprobs,
            5);
}

TEST(ParseCompletionRequestTest, RefusesOtherPrompts) {
  const struct {
    const char* body;
    const char* param;
  } cases[] = {
      {"{}", "prompt"},
      {R"({"prompt":5})", "prompt"},
      {R"({"prompt":[]})", "prompt"},
      {R"({"prompt":["a","b"]})", "prompt"},
      {R"({"prompt":[[1],[2]]})", "prompt"},
      {R"({"prompt":[1,"b"]})", "prompt[1]"},
      {R"({"prompt":[3000000000]})", "prompt[0]"},
      {R"({"prompt":"a","suffix":"b","echo":true})", "echo"},
      {R"({"prompt":[1],"suffix":"b"})", "suffix"},
  };
  for (const auto& c : cases) {
    const auto parsed = parse_completion_request(c.body);
    ASSERT_FALSE(parsed) << c.body;
    EXPECT_EQ(parsed.error().param, c.param) << c.body;
  }
}

TEST(OpenAiRequestTest, WhoseRequestItIs) {
  const auto parse = [](const std::string& fields) {
    return parse_completion_request(R"({"prompt":"a",)" + fields + "}", {});
  };
  const auto all = parse(R"("user":"ann","priority":-3,"cache_salt":"s")");
  ASSERT_TRUE(all);
  EXPECT_EQ(all->request.user, "ann");
  EXPECT_EQ(all->request.priority, -3);
  EXPECT_EQ(all->request.cache_salt, "s");
  EXPECT_EQ(parse(R"("user":"old","safety_identifier":"new")")->request.user, "new");
  EXPECT_EQ(parse(R"("priority":1e9)").error().param, "priority");
  EXPECT_EQ(parse(R"("user":5)").error().param, "user");
  EXPECT_EQ(parse(R"("cache_salt":")" + std::string(513, 'x') + '"').error().param, "cache_salt");
}

}  // namespace
}  // namespace hadal::protocol
