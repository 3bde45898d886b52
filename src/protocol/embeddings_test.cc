#include "protocol/embeddings.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal::protocol {
namespace {

using engine_api::Pooling;
using engine_api::PromptList;
using engine_api::TextPrompt;
using engine_api::TokenPrompt;

ParsedEmbeddings parsed(const std::string& body) {
  auto out = parse_embeddings_request(body);
  EXPECT_TRUE(out) << out.error().message;
  return out ? *out : ParsedEmbeddings{};
}

TEST(EmbeddingsRequestTest, ReadsEveryKindOfInput) {
  const auto text = parsed(R"({"input":"a","model":"m","user":"u","priority":2})");
  EXPECT_EQ(std::get<TextPrompt>(text.request.prompt).text, "a");
  EXPECT_EQ(text.request.model, "m");
  EXPECT_EQ(text.request.user, "u");
  EXPECT_EQ(text.request.priority, 2);
  EXPECT_EQ(text.request.pooling, Pooling::mean);
  EXPECT_FALSE(text.base64);
  EXPECT_EQ(std::get<TokenPrompt>(parsed(R"({"input":[1,2]})").request.prompt).ids.size(), 2u);
  const auto list = parsed(R"({"input":["a",[1],"b"],"pooling":"last",)"
                           R"("encoding_format":"base64","dimensions":3})");
  EXPECT_EQ(std::get<PromptList>(list.request.prompt).prompts.size(), 3u);
  EXPECT_EQ(list.inputs, 3);
  EXPECT_EQ(list.request.pooling, Pooling::last);
  EXPECT_TRUE(list.base64);
  EXPECT_EQ(list.dimensions, 3);
}

TEST(EmbeddingsRequestTest, NamesThePlaceOfWhatIsWrong) {
  const struct {
    const char* body;
    const char* param;
  } cases[] = {
      {"{}", "input"},
      {R"({"input":[]})", "input"},
      {R"({"input":{}})", "input"},
      {R"({"input":["a",1]})", "input[1]"},
      {R"({"input":[[1],[-1]]})", "input[1][0]"},
      {R"({"input":"a","encoding_format":"int8"})", "encoding_format"},
      {R"({"input":"a","dimensions":0})", "dimensions"},
      {R"({"input":"a","dimensions":1.5})", "dimensions"},
      {R"({"input":"a","pooling":"max"})", "pooling"},
      {R"({"input":"a","model":7})", "model"},
  };
  for (const auto& c : cases) {
    const auto out = parse_embeddings_request(c.body);
    ASSERT_FALSE(out) << c.body;
    EXPECT_EQ(out.error().param, c.param) << c.body << ": " << out.error().message;
  }
}

TEST(EmbeddingsAnswerTest, WritesNumbersAndBytes) {
  const std::vector<float> vectors[] = {{0.6f, -0.8f, 0.0f}, {1.0f, 0.0f, 0.0f}};
  const engine_api::Usage usage{.prompt_tokens = 7};
  EXPECT_EQ(embeddings_answer("m", vectors, usage, {}),
            R"({"object":"list","data":[{"object":"embedding","index":0,)"
            R"("embedding":[0.6,-0.8,0]},{"object":"embedding","index":1,"embedding":[1,0,0]}],)"
            R"("model":"m","usage":{"prompt_tokens":7,"total_tokens":7}})");
  const std::vector<float> one[] = {{1.0f, -2.0f}};  // 0000803f 000000c0
  EXPECT_NE(
      embeddings_answer("m", one, usage, {.base64 = true}).find(R"("embedding":"AACAPwAAAMA=")"),
      std::string::npos);
}

TEST(EmbeddingsAnswerTest, FewerDimensionsHaveLengthOneAgain) {
  const std::vector<float> vectors[] = {{0.3f, -0.4f, 0.5f}, {0.0f, 0.0f, 1.0f}};
  const std::string body = embeddings_answer("m", vectors, {}, {.dimensions = 2});
  EXPECT_NE(body.find(R"("embedding":[0.6,-0.8])"), std::string::npos) << body;
  EXPECT_NE(body.find(R"("embedding":[0,0])"), std::string::npos) << body;
}

}  // namespace
}  // namespace hadal::protocol
