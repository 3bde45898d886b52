#include "protocol/tokenize.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal::protocol {
namespace {

using engine_api::Chat;
using engine_api::TextPrompt;

ParsedTokenize parsed(const std::string& body) {
  auto out = parse_tokenize_request(body);
  EXPECT_TRUE(out) << out.error().message;
  return out ? *out : ParsedTokenize{};
}

TEST(TokenizeTest, ReadsLlamaCppsForm) {
  const auto plain = parsed(R"({"content":"a b","model":"m"})");
  EXPECT_EQ(std::get<TextPrompt>(plain.request.prompt).text, "a b");
  EXPECT_EQ(plain.request.model, "m");
  EXPECT_FALSE(plain.request.add_special);
  EXPECT_FALSE(plain.request.parse_special);
  EXPECT_EQ(plain.style, TokenStyle::ids);
  const auto full =
      parsed(R"({"content":"","add_special":true,"parse_special":true,"with_pieces":true})");
  EXPECT_TRUE(full.request.add_special);
  EXPECT_TRUE(full.request.parse_special);
  EXPECT_EQ(full.style, TokenStyle::pieces);
}

TEST(TokenizeTest, ReadsVllmsForms) {
  const auto text = parsed(R"({"prompt":"a","return_token_strs":true})");
  EXPECT_TRUE(text.request.add_special);
  EXPECT_EQ(text.style, TokenStyle::strings);
  EXPECT_FALSE(parsed(R"({"prompt":"a","add_special_tokens":false})").request.add_special);
  const auto chat = parsed(R"({"messages":[{"role":"user","content":"hi"},)"
                           R"({"role":"assistant","content":"So"}],"thinking":{"type":"disabled"},)"
                           R"("continue_final_message":true,"add_generation_prompt":false})");
  const Chat& c = std::get<Chat>(chat.request.prompt);
  EXPECT_EQ(c.thinking, engine_api::Thinking::off);
  EXPECT_TRUE(c.messages.at(1).prefix);
}

TEST(TokenizeTest, NamesThePlaceOfWhatIsWrong) {
  const struct {
    const char* body;
    const char* param;
  } cases[] = {
      {"[]", ""},
      {"{}", "content"},
      {R"({"content":"a","prompt":"b"})", "content"},
      {R"({"content":5})", "content"},
      {R"({"prompt":["a"]})", "prompt"},
      {R"({"messages":[]})", "messages"},
      {R"({"prompt":"a","add_special_tokens":1})", "add_special_tokens"},
      {R"({"content":"a","with_pieces":"yes"})", "with_pieces"},
      {R"({"content":"a","with_pieces":true,"return_token_strs":true})", "return_token_strs"},
      {R"({"messages":[{"role":"user","content":"a"}],"add_generation_prompt":false})",
       "add_generation_prompt"},
      {R"({"messages":[{"role":"user","content":"a"}],"continue_final_message":true})",
       "continue_final_message"},
      {R"({"messages":[{"role":"assistant","content":"a"}],"continue_final_message":true,)"
       R"("add_generation_prompt":true})",
       "add_generation_prompt"},
  };
  for (const auto& c : cases) {
    const auto out = parse_tokenize_request(c.body);
    ASSERT_FALSE(out) << c.body;
    EXPECT_EQ(out.error().param, c.param) << c.body << ": " << out.error().message;
  }
}

TEST(TokenizeTest, WritesEveryStyle) {
  const std::vector<engine_api::Token> tokens = {{5, "a\"b"}, {6, "\xe2\x82"}};
  EXPECT_EQ(tokenize_answer(tokens, TokenStyle::ids, 99),
            R"({"count":2,"max_model_len":99,"tokens":[5,6]})");
  EXPECT_EQ(tokenize_answer(tokens, TokenStyle::pieces, 99),
            R"({"count":2,"max_model_len":99,)"
            R"("tokens":[{"id":5,"piece":"a\"b"},{"id":6,"piece":[226,130]}]})");
  EXPECT_EQ(tokenize_answer(tokens, TokenStyle::strings, 99),
            "{\"count\":2,\"max_model_len\":99,\"tokens\":[5,6],"
            "\"token_strs\":[\"a\\\"b\",\"\uFFFD\"]}");
  EXPECT_EQ(tokenize_answer({}, TokenStyle::ids, 1),
            R"({"count":0,"max_model_len":1,"tokens":[]})");
}

TEST(DetokenizeTest, ReadsIdsAndWritesText) {
  const auto good = parse_detokenize_request(R"({"tokens":[1,2],"model":"m"})");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(good->model, "m");
  EXPECT_TRUE(parse_detokenize_request(R"({"tokens":[]})"));
  const struct {
    const char* body;
    const char* param;
  } cases[] = {
      {"{}", "tokens"},
      {R"({"tokens":"1"})", "tokens"},
      {R"({"tokens":[1,-1]})", "tokens[1]"},
      {R"({"tokens":[1.5]})", "tokens[0]"},
  };
  for (const auto& c : cases) {
    const auto out = parse_detokenize_request(c.body);
    ASSERT_FALSE(out) << c.body;
    EXPECT_EQ(out.error().param, c.param) << c.body;
  }
  const auto many = parse_detokenize_request(R"({"tokens":[1,2,3]})", {.token_ids_max = 2});
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().param, "tokens");
  EXPECT_EQ(detokenize_answer("a\n"), R"({"content":"a\n","prompt":"a\n"})");
}

}  // namespace
}  // namespace hadal::protocol
