// Splitting into words and Unicode: what the rules of each family do with a text.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tokenizer/internal/added_tokens.h"
#include "tokenizer/internal/pretokenizer.h"
#include "tokenizer/internal/unicode.h"

namespace hadal::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words split(std::vector<SplitRule> rules, std::string_view text) {
  Words out;
  const PreTokenizer pre(std::move(rules));
  pre.split(text, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

Words split_gguf(std::string_view pre, std::string_view text) {
  auto rules = split_rules_of_gguf(pre);
  EXPECT_TRUE(rules) << pre;
  return rules ? split(*std::move(rules), text) : Words{};
}

Words split_regex(std::string_view regex, std::string_view text) {
  auto rule = parse_split_pattern(regex);
  EXPECT_TRUE(rule) << regex;
  return rule ? split({*std::move(rule)}, text) : Words{};
}

TEST(SplitTest, DeepSeekV3) {
  EXPECT_THAT(split_gguf("deepseek-v3", "Hello  world!\n\nx"),
              ElementsAre("Hello", " ", " world", "!\n\n", "x"));
  EXPECT_THAT(split_gguf("deepseek-v3", "12345a"), ElementsAre("123", "45", "a"));
  EXPECT_THAT(split_gguf("deepseek-v3", "don't"), ElementsAre("don", "'t"));
  EXPECT_THAT(split_gguf("deepseek-v3", "你好ですworld"), ElementsAre("你好です", "world"));
  EXPECT_THAT(split_gguf("deepseek-v3", "a\n  \n b"), ElementsAre("a", "\n  \n", " b"));
  EXPECT_THAT(split_gguf("deepseek-v3", "_foo \tbar"), ElementsAre("_foo", " ", "\tbar"));
  EXPECT_THAT(split_gguf("deepseek-v3", "e\u0301 \u0301x"), ElementsAre("e\u0301", " \u0301x"));
  EXPECT_THAT(split_gguf("deepseek-v3", "a \x01\x02 b"), ElementsAre("a", " ", "\x01\x02", " b"));
  EXPECT_THAT(split_gguf("joyai-llm", "12345a"), ElementsAre("123", "45", "a"));
}

TEST(SplitTest, Llama3AndQwen2) {
  EXPECT_THAT(split_gguf("llama-bpe", "I'LL pay 12345"),
              ElementsAre("I", "'LL", " pay", " ", "123", "45"));
  EXPECT_THAT(split_gguf("qwen2", "x12"), ElementsAre("x", "1", "2"));
  EXPECT_THAT(split_gguf("qwen2", "it'\u017F 'x"), ElementsAre("it", "'\u017F", " '", "x"));
  EXPECT_THAT(split_gguf("qwen2", "a   b"), ElementsAre("a", "  ", " b"));
  EXPECT_THAT(split_gguf("qwen2", "a   "), ElementsAre("a", "   "));
  EXPECT_THAT(split_gguf("qwen2", " \u3000x"), ElementsAre(" ", "\u3000x"));
  EXPECT_THAT(split_gguf("deepseek-r1-qwen", "?!\n\n x"), ElementsAre("?!\n\n", " x"));
}

TEST(SplitTest, Gpt2) {
  EXPECT_THAT(split_gguf("gpt-2", "I'LL don't 12 ??\n x"),
              ElementsAre("I", "'", "LL", " don", "'t", " 12", " ??", "\n", " x"));
}

TEST(SplitTest, FirstDeepSeekModels) {
  EXPECT_THAT(split_gguf("deepseek-coder", "if (x):\r\n  y12"),
              ElementsAre("if", " (", "x", "):", "\r", "\n", " ", " y", "1", "2"));
  EXPECT_THAT(split_gguf("deepseek-llm", "a+b  \n c"),
              ElementsAre("a", "+", "b", "  ", "\n", " c"));
  // Arabic is in no list: it stays with what surrounds it.
  EXPECT_THAT(split_gguf("deepseek-llm", "\u0645\u0631 x"), ElementsAre("\u0645\u0631", " x"));
  EXPECT_THAT(split_gguf("deepseek-llm", "a   \u0645"), ElementsAre("a", "   \u0645"));
}

TEST(SplitTest, RunsOfOneClass) {
  EXPECT_THAT(split_regex(R"(\s?[b-d\-]+)", "a b-cxd"), ElementsAre("a", " b-c", "x", "d"));
  EXPECT_THAT(split_regex(" ?[\\p{L}_]+", "\ta  b_"), ElementsAre("\t", "a", " ", " b_"));
  // A blank that is itself a member may be the optional one or the first of the run.
  EXPECT_THAT(split_regex("\\s?[\u3000-\u3002]+", "x\u3000"), ElementsAre("x", "\u3000"));
  EXPECT_THAT(split_regex("[\r\n]", "a\r\n"), ElementsAre("a", "\r", "\n"));
  EXPECT_THAT(split_regex(R"([\r\n])", "a\r\n"), ElementsAre("a", "\r", "\n"));
  EXPECT_THAT(split({digits_rule(false)}, "a12"), ElementsAre("a", "12"));
}

TEST(SplitTest, UnknownPatternsAreNamed) {
  for (const char* regex : {R"(\w+)", "[^a]+", "[z-a]", "[a", "a+", "", R"(\p{L}+|x)", "[a&&b]",
                            R"([\d]+)", "[a]{2,3}", "[[a]]"}) {
    const auto rule = parse_split_pattern(regex);
    ASSERT_FALSE(rule) << regex;
    EXPECT_EQ(rule.error().code, ErrorCode::unsupported);
    EXPECT_THAT(rule.error().message, HasSubstr(regex));
  }
  const auto rules = split_rules_of_gguf("tekken");
  ASSERT_FALSE(rules);
  EXPECT_THAT(rules.error().message, HasSubstr("tekken"));
}

TEST(SplitTest, WordsAreTheText) {
  const std::string text = "a\xFF\xC3 b\xE2\x82\r\n\xF0\x9F 12\u00A0\u2028 '\xC5";
  for (const char* pre :
       {"deepseek-v3", "qwen2", "llama-bpe", "gpt-2", "deepseek-coder", "deepseek-llm"}) {
    std::string joined;
    for (const std::string& word : split_gguf(pre, text)) joined += word;
    EXPECT_EQ(joined, text) << pre;
  }
}

TEST(UnicodeTest, Classes) {
  EXPECT_EQ(class_of(0x4E00), CharClass::letter);
  EXPECT_EQ(class_of(0x301), CharClass::mark);
  EXPECT_EQ(class_of(0x00BD), CharClass::number);
  EXPECT_EQ(class_of(0xFF5C), CharClass::symbol);
  EXPECT_EQ(class_of(0x3002), CharClass::punct);
  EXPECT_EQ(class_of(0x85), CharClass::space);
  EXPECT_EQ(class_of(0x200B), CharClass::other);
  EXPECT_EQ(class_of(0x1F600), CharClass::symbol);
  EXPECT_EQ(class_of(0x10FFFF), CharClass::other);
  EXPECT_EQ(class_of(0x1C89), CharClass::letter);  // new in Unicode 16
  for (uint32_t c = 0; c < 128; ++c) EXPECT_EQ(class_of(c), kAsciiClasses[c]) << c;
}

TEST(NfcTest, ComposesAndOrders) {
  const std::pair<std::string, std::string> cases[] = {
      {"e\u0301", "\u00E9"},
      {"A\u030A\u212B", "\u00C5\u00C5"},   // Angstrom sign: one other letter
      {"\u1112\u1161\u11AB", "\uD55C"},    // Hangul L V T
      {"\uD558\u11AB", "\uD55C"},          // LV T
      {"a\u0323\u0302", "\u1EAD"},         // in order
      {"a\u0302\u0323", "\u1EAD"},         // ordered by combining class
      {"a\u0301\u0300", "\u00E1\u0300"},   // the second finds no partner
      {"a\u0305\u0301", "a\u0305\u0301"},  // and is blocked by a mark of its own class
      {"\u0958", "\u0915\u093C"},          // excluded from composition
      {"\u0344", "\u0308\u0301"},          // a mark that decomposes
      {"\u0301e", "\u0301e"},              // a mark without a base
      {"e\xFF\u0301", "e\xFF\u0301"},      // an ill-formed byte stands between
      {"x\u0F71\u0F72\u0F73", "x\u0F71\u0F71\u0F72\u0F72"},
  };
  for (const auto& [in, out] : cases) {
    EXPECT_EQ(to_nfc(in), out);
    EXPECT_EQ(to_nfc(to_nfc(in)), out);
    EXPECT_TRUE(in == out || !is_nfc_quick(in)) << out;
  }
  EXPECT_TRUE(is_nfc_quick("plain \u00E9 \u4F60\u597D \uD55C \U0001F600 \xFF"));
}

TEST(NfcTest, ManyMarksTakeNoLonger) {
  std::string text = "e";
  for (int i = 0; i < 200'000; ++i) text += i % 2 ? "\u0301" : "\u0323";
  EXPECT_EQ(to_nfc(text).substr(0, 5), "\u1EB9\u0323");
}

TEST(AddedTokenTest, LeftmostThenLongest) {
  const auto token = [](int32_t id, std::string text, bool left = false, bool right = false) {
    AddedToken t;
    t.id = id;
    t.text = std::move(text);
    t.lstrip = left;
    t.rstrip = right;
    return t;
  };
  const AddedTokenFinder finder({token(1, "<a>"), token(2, "<a><b>"), token(3, "<b>c"),
                                 token(4, "[s]", true, true), token(5, "")});
  const auto parts = [&](std::string_view text) {
    Words out;
    finder.split(text, [&](std::string_view part, const AddedToken* t) {
      out.push_back((t ? std::to_string(t->id) : "-") + ":" + std::string(part));
    });
    return out;
  };
  EXPECT_THAT(parts("x<a>y"), ElementsAre("-:x", "1:<a>", "-:y"));
  EXPECT_THAT(parts("<a><b>c"), ElementsAre("2:<a><b>", "-:c"));
  EXPECT_THAT(parts("<a<b>c<"), ElementsAre("-:<a", "3:<b>c", "-:<"));
  EXPECT_THAT(parts("x \n[s]\u3000 [s] y"), ElementsAre("-:x", "4: \n[s]\u3000 ", "4:[s] ", "-:y"));
  EXPECT_THAT(parts(""), ElementsAre());
}

}  // namespace
}  // namespace hadal::tokenizer
