#include "engine/prompt_tokens.h"

#include <gtest/gtest.h>

#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

using engine_api::TextPrompt;
using engine_api::Token;
using engine_api::TokenizeRequest;

std::vector<int32_t> ids_of(const Result<std::vector<Token>>& tokens) {
  EXPECT_TRUE(tokens) << tokens.error().message;
  std::vector<int32_t> ids;
  if (tokens) {
    for (const Token& t : *tokens) ids.push_back(t.id);
  }
  return ids;
}

TEST(TokenizeTest, GivesWhatARequestWouldRead) {
  const auto model = load();
  const auto asked = chat("Who are you?", "Be brief.");
  EXPECT_EQ(ids_of(tokenize(*model, {.prompt = asked.prompt})), make_prompt(*model, asked)->ids);
  const TextPrompt text{.text = "The sea is deep."};
  EXPECT_EQ(ids_of(tokenize(*model, {.prompt = text})),
            make_prompt(*model, continuation(text))->ids);
}

TEST(TokenizeTest, SpecialTokensAreTextUnlessAskedFor) {
  const auto model = load();
  const std::string eos(model->tokenizer->token_bytes(*model->tokenizer->eos_id()));
  TokenizeRequest request{.prompt = TextPrompt{.text = eos}, .add_special = false};
  EXPECT_GT(ids_of(tokenize(*model, request)).size(), 1u);
  request.parse_special = true;
  EXPECT_EQ(ids_of(tokenize(*model, request)), std::vector<int32_t>{*model->tokenizer->eos_id()});
}

TEST(TokenizeTest, PiecesJoinToTheText) {
  const auto model = load();
  const std::string text = "Tief im Meer: 深海, \xF0\x9F\x90\x99!";
  const auto tokens = tokenize(*model, {.prompt = TextPrompt{.text = text}, .add_special = false});
  ASSERT_TRUE(tokens);
  std::string joined;
  for (const Token& t : *tokens) joined += t.bytes;
  EXPECT_EQ(joined, text);
  const auto back = detokenize(*model, ids_of(tokens));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, text);
}

TEST(TokenizeTest, HoldsItsLimits) {
  const auto model = load({.context_tokens_max = 64});
  const std::string beyond_the_context(5000, 'x');
  EXPECT_GT(ids_of(tokenize(*model, {.prompt = TextPrompt{.text = beyond_the_context}})).size(),
            64u);
  const auto long_text =
      tokenize(*model, {.prompt = TextPrompt{.text = std::string(5 << 20, 'x')}});
  ASSERT_FALSE(long_text);
  EXPECT_EQ(long_text.error().code, ErrorCode::too_large);
  EXPECT_EQ(long_text.error().param, "prompt");
  const auto outside = detokenize(*model, std::vector<int32_t>{1, 1 << 30});
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().param, "tokens");
  EXPECT_EQ(*detokenize(*model, {}), "");
}

}  // namespace
}  // namespace hadal::engine
