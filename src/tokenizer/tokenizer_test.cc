#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/internal/test_vocabulary.h"

namespace hadal::tokenizer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Vocabulary;
using Ids = std::vector<int32_t>;

// ids 256 "ab", 257 "bc", 258 "abc", 259 " a", 260 "aa", 261 "aaaa"
const std::vector<std::pair<std::string, std::string>> kMerges = {
    {"a", "b"}, {"b", "c"}, {"ab", "c"}, {" ", "a"}, {"a", "a"}, {"aa", "aa"}};

constexpr const char* kAdded =
    "{\"content\":\"<s>\",\"special\":true,\"normalized\":false}\n"
    "{\"content\":\"<think>\",\"special\":false,\"normalized\":true}\n"
    "{\"content\":\"\u00F6\",\"special\":false,\"normalized\":true}\n"
    "{\"content\":\"</s>\",\"special\":true,\"normalized\":false}";
constexpr int32_t kBos = 262, kThink = 263, kOe = 264, kEos = 265;

std::unique_ptr<const Tokenizer> open(const Vocabulary& v, std::string config = "") {
  auto tok = v.open(std::move(config));
  EXPECT_TRUE(tok) << tok.error().to_string();
  return tok ? *std::move(tok) : nullptr;
}

TEST(TokenizerTest, MergesLowestRankFirstThenLeftmost) {
  const auto tok = open({.merges = kMerges});
  EXPECT_THAT(tok->encode("abc"), ElementsAre(258));
  EXPECT_THAT(tok->encode("bbc"), ElementsAre('b', 257));
  EXPECT_THAT(tok->encode("aaa"), ElementsAre(260, 'a'));
  EXPECT_THAT(tok->encode("aaaaa"), ElementsAre(261, 'a'));
  EXPECT_THAT(tok->encode(""), IsEmpty());
}

// Byte-pair encoding as it is defined, without any cleverness.
Ids merge_by_definition(const std::vector<std::pair<std::string, std::string>>& merges,
                        const std::string& word) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    size_t best = parts.size(), best_rank = merges.size();
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      for (size_t r = 0; r < best_rank; ++r) {
        if (merges[r].first == parts[i] && merges[r].second == parts[i + 1])
          best = i, best_rank = r;
      }
    }
    if (best == parts.size()) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
  std::map<std::string, int32_t> ids;
  for (int b = 0; b < 256; ++b) ids[std::string(1, static_cast<char>(b))] = b;
  for (size_t r = 0; r < merges.size(); ++r) {
    ids.emplace(merges[r].first + merges[r].second, 256 + static_cast<int32_t>(r));
  }
  Ids out;
  for (const std::string& part : parts) out.push_back(ids.at(part));
  return out;
}

// A vocabulary over three letters: merges of earlier tokens in random order, no text twice.
Vocabulary random_vocabulary(std::mt19937& random) {
  std::vector<std::string> tokens = {"a", "b", "c"};
  Vocabulary v;
  while (v.merges.size() < 40) {
    const std::string left = tokens[random() % tokens.size()];
    const std::string right = tokens[random() % tokens.size()];
    if (left.size() + right.size() > 6) continue;
    if (std::find(tokens.begin(), tokens.end(), left + right) != tokens.end()) continue;
    tokens.push_back(left + right);
    v.merges.emplace_back(left, right);
  }
  std::shuffle(v.merges.begin(), v.merges.end(), random);
  return v;
}

TEST(TokenizerTest, ShortAndLongWordsMergeByDefinition) {
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    const Vocabulary v = random_vocabulary(random);
    const auto tok = open(v);
    for (const size_t length : {10u, 47u, 48u, 49u, 120u}) {
      std::string word;
      while (word.size() < length) word += static_cast<char>('a' + random() % 3);
      ASSERT_EQ(tok->encode(word), merge_by_definition(v.merges, word)) << word;
    }
  }
}

TEST(TokenizerTest, IgnoreMergesTakesWholeWords) {
  Vocabulary v{.merges = {{"a", "b"}, {"c", "d"}, {"ab", "cd"}, {"b", "c"}}};
  // Without it, "bc" (rank 3) never wins; the whole word "abcd" is a token either way.
  v.merges = {{"b", "c"}, {"a", "b"}, {"c", "d"}, {"ab", "cd"}};
  EXPECT_THAT(open(v)->encode("abcd"), ElementsAre('a', 256, 'd'));
  v.model_extras = ",\"ignore_merges\":true";
  EXPECT_THAT(open(v)->encode("abcd"), ElementsAre(259));
}

TEST(TokenizerTest, PlainTextNeverYieldsMarkup) {
  const auto tok = open({.merges = kMerges, .added = kAdded});
  EXPECT_THAT(tok->encode("<s>"), ElementsAre('<', 's', '>'));
  EXPECT_THAT(tok->encode("<think>").size(), 7u);
  EXPECT_THAT(tok->encode("a\u00F6"), ElementsAre('a', kOe));  // a letter that was added
  EXPECT_THAT(tok->encode_with_specials("<s>ab<think></s>"), ElementsAre(kBos, 256, kThink, kEos));
}

TEST(TokenizerTest, NotEvenOneSpecialLetter) {
  const auto tok = open({.added = R"({"content":"\u00A7","special":true,"normalized":true})"});
  EXPECT_THAT(tok->encode("\u00A7"), ElementsAre(0xC2, 0xA7));
  EXPECT_THAT(tok->encode_with_specials("\u00A7"), ElementsAre(256));
}

TEST(TokenizerTest, PromptsAreMadeOfPieces) {
  const auto tok = open({.merges = kMerges, .added = kAdded});
  const Piece pieces[] = {{true, "<s>"},       {false, "<s>a"}, {false, "bc"},
                          {true, "<unknown>"}, {true, "</s>"},  {false, ""}};
  EXPECT_THAT(tok->encode_prompt(pieces), ElementsAre(kBos, '<', 's', '>', 258, '<', 'u', 'n', 'k',
                                                      'n', 'o', 'w', 'n', '>', kEos));
}

TEST(TokenizerTest, LooksUpTokens) {
  const auto tok = open({.merges = kMerges, .added = kAdded});
  EXPECT_EQ(tok->token_id("<think>"), kThink);
  EXPECT_EQ(tok->token_id(" a"), 259);
  EXPECT_EQ(tok->token_id("nothing"), std::nullopt);
  EXPECT_EQ(tok->token_bytes(258), "abc");
  EXPECT_EQ(tok->token_bytes(kBos), "<s>");
  EXPECT_EQ(tok->token_bytes(-1), "");
  EXPECT_EQ(tok->token_bytes(1 << 30), "");
  EXPECT_TRUE(tok->is_special(kEos));
  EXPECT_FALSE(tok->is_special(kThink));
  EXPECT_FALSE(tok->is_special(-1));
  EXPECT_EQ(tok->vocab_size(), 266u);
  EXPECT_EQ(tok->decode(Ids{kBos, 258, kThink, kEos}), "abc<think>");
  EXPECT_EQ(tok->decode(Ids{kBos, 258, 999999, -4}, false), "<s>abc");
}

TEST(TokenizerTest, BosComesFromConfigThenTemplate) {
  Vocabulary v{.merges = kMerges, .added = kAdded};
  EXPECT_EQ(open(v)->bos_id(), std::nullopt);
  const auto config = R"({"bos_token":{"content":"<s>"},"eos_token":"</s>","add_bos_token":true})";
  auto tok = open(v, config);
  EXPECT_EQ(tok->bos_id(), kBos);
  EXPECT_EQ(tok->eos_id(), kEos);
  EXPECT_TRUE(tok->add_bos());
  v.post_processor = R"({"type":"Sequence","processors":[{"type":"ByteLevel"},
      {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
      {"Sequence":{"id":"A","type_id":0}}]}]})";
  EXPECT_TRUE(open(v)->add_bos());
  EXPECT_EQ(open(v)->bos_id(), kBos);
  EXPECT_FALSE(open(v, R"({"bos_token":"<s>","add_bos_token":false})")->add_bos());
}

TEST(TokenizerTest, NormalizesBeforeSplitting) {
  Vocabulary v{.merges = {{"\xC3", "\xA9"}}, .normalizer = R"({"type":"NFC"})"};
  EXPECT_THAT(open(v)->encode("e\u0301"), ElementsAre(256));
  v.normalizer = R"({"type":"Sequence","normalizers":[]})";
  EXPECT_THAT(open(v)->encode("e\u0301"), ElementsAre('e', 0xCC, 0x81));
}

TEST(TokenizerTest, AnyBytesComeBack) {
  const auto rules = R"({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":
      "\\p{N}{1,3}"},"behavior":"Isolated","invert":false},{"type":"ByteLevel",
      "add_prefix_space":false,"use_regex":true}]})";
  const auto tok = open({.merges = kMerges, .pre_tokenizer = rules, .added = kAdded});
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (size_t n = random() % 60; n > 0; --n) text += static_cast<char>(random());
    const Ids ids = tok->encode(text);
    std::string bytes;
    for (const int32_t id : ids) bytes += tok->token_bytes(id);
    EXPECT_EQ(bytes, text);
    EXPECT_EQ(tok->decode(ids), to_valid_utf8(text));
  }
}

TEST(TokenizerTest, LongTextsEqualTheirWords) {
  const auto rules = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":true})";
  const auto tok = open({.merges = kMerges, .pre_tokenizer = rules});
  std::mt19937 random(5);
  std::string text;
  Ids expected;
  for (int i = 0; i < 5000; ++i) {  // enough for the word cache to be used and to collide
    std::string word = " ";
    for (size_t n = 1 + random() % 5; n > 0; --n) word += static_cast<char>('a' + random() % 4);
    const Ids ids = tok->encode(word);
    expected.insert(expected.end(), ids.begin(), ids.end());
    text += word;
  }
  EXPECT_EQ(tok->encode(text), expected);
}

TEST(TokenizerTest, MegabyteWords) {
  const auto tok = open({.merges = kMerges});
  EXPECT_EQ(tok->encode(std::string(1 << 20, 'a')).size(), (1u << 20) / 4);
  EXPECT_EQ(tok->encode(std::string(1 << 20, ' ')).size(), 1u << 20);
}

TEST(TokenizerTest, SaysWhatIsWrongWithAFile) {
  const std::string good = Vocabulary{.merges = {{"a", "b"}}}.to_json();
  const auto change = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const struct {
    std::string text;
    ErrorCode code;
    const char* says;
  } cases[] = {
      {"{", ErrorCode::corrupt, "tokenizer.json"},
      {"{}", ErrorCode::corrupt, "model is missing"},
      {change("\"BPE\"", "\"Unigram\""), ErrorCode::unsupported, "Unigram"},
      {change("\"ab\":256", "\"ab\":255"), ErrorCode::corrupt, "255"},
      {change("\"ab\":256", "\"ab\":-1"), ErrorCode::corrupt, "ab"},
      {change("\"ab\":256", "\"ab\":9999999"), ErrorCode::corrupt, "ab"},
      {change("\"ab\":256", "\"ax\":256"), ErrorCode::corrupt, "merge 0"},
      {change("[\"a\",\"b\"]", "[\"a\",\"zz\"]"), ErrorCode::corrupt, "right side"},
      {change("[\"a\",\"b\"]", "\"ab\""), ErrorCode::corrupt, "entry 0"},
      {change("[\"a\",\"b\"]", "7"), ErrorCode::corrupt, "entry 0"},
      {change("\"ByteLevel\"", "\"Metaspace\""), ErrorCode::unsupported, "Metaspace"},
      {change("\"add_prefix_space\":false", "\"add_prefix_space\":true"), ErrorCode::unsupported,
       "add_prefix_space"},
      {change("\"normalizer\":null", "\"normalizer\":{\"type\":\"Lowercase\"}"),
       ErrorCode::unsupported, "Lowercase"},
      {change("\"added_tokens\":[", "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\"}"),
       ErrorCode::corrupt, "id 3 has another token"},
      {change("\"added_tokens\":[",
              "\"added_tokens\":[{\"id\":256,\"content\":\"ab\","
              "\"special\":true}"),
       ErrorCode::corrupt, "the result"},
      {change("\"added_tokens\":[", "\"added_tokens\":[{\"content\":\"<s>\"}"), ErrorCode::corrupt,
       "id"},
      {change("\"merges\":", "\"byte_fallback\":true,\"merges\":"), ErrorCode::unsupported,
       "byte_fallback"},
  };
  for (const auto& c : cases) {
    format::TokenizerSource source;
    source.tokenizer_json = c.text;
    const auto tok = Tokenizer::open(source);
    ASSERT_FALSE(tok) << c.says;
    EXPECT_EQ(tok.error().code, c.code) << tok.error().message;
    EXPECT_THAT(tok.error().message, HasSubstr(c.says));
  }
}

format::TokenizerSource gguf_source() {
  format::TokenizerSource source;
  source.gguf_model = "gpt2";
  source.gguf_pre = "deepseek-v3";
  for (int b = 0; b < 256; ++b) {
    const char c = static_cast<char>(b);
    source.tokens.push_back(spell({&c, 1}));
    source.token_types.push_back(1);
  }
  source.tokens.insert(source.tokens.end(), {"ab", "<s>", "<think>", "[PAD1]"});
  source.token_types.insert(source.token_types.end(), {1, 3, 4, 5});
  source.merges = {"a b"};
  source.bos_id = 257;
  source.add_bos = true;
  return source;
}

TEST(TokenizerTest, ReadsGguf) {
  const auto opened = Tokenizer::open(gguf_source());
  ASSERT_TRUE(opened) << opened.error().message;
  const Tokenizer& tok = **opened;
  EXPECT_THAT(tok.encode("ab <s>"), ElementsAre(256, ' ', '<', 's', '>'));
  EXPECT_THAT(tok.encode_with_specials("ab<s><think>[PAD1]").size(), 9u);
  EXPECT_TRUE(tok.is_special(257));
  EXPECT_FALSE(tok.is_special(258));
  EXPECT_EQ(tok.bos_id(), 257);
  EXPECT_TRUE(tok.add_bos());
  EXPECT_EQ(tok.token_bytes(259), "[PAD1]");
}

TEST(TokenizerTest, ChecksGguf) {
  const auto code = [](auto change) {
    auto source = gguf_source();
    change(source);
    const auto tok = Tokenizer::open(source);
    return tok ? ErrorCode::internal : tok.error().code;
  };
  using S = format::TokenizerSource;
  EXPECT_EQ(code([](S& s) { s.gguf_model = "llama"; }), ErrorCode::unsupported);
  EXPECT_EQ(code([](S& s) { s.gguf_pre = "tekken"; }), ErrorCode::unsupported);
  EXPECT_EQ(code([](S& s) { s.merges = {"ab"}; }), ErrorCode::corrupt);
  EXPECT_EQ(code([](S& s) { s.merges = {"a zz"}; }), ErrorCode::corrupt);
  EXPECT_EQ(code([](S& s) { s.token_types.resize(9999); }), ErrorCode::corrupt);
  EXPECT_EQ(code([](S& s) { s.bos_id = 260; }), ErrorCode::corrupt);
  EXPECT_EQ(code([](S& s) { s.eos_id = -1; }), ErrorCode::corrupt);
}

TEST(DetokenizerTest, HoldsBackUnfinishedCharacters) {
  const auto tok = open({.merges = kMerges, .added = kAdded});
  Detokenizer d(*tok);
  EXPECT_EQ(d.push(0xF0), "");
  EXPECT_EQ(d.push(0x9F), "");
  EXPECT_EQ(d.push(0x98), "");
  EXPECT_EQ(d.pending_bytes(), 3u);
  EXPECT_EQ(d.push(0x80), "\U0001F600");
  EXPECT_EQ(d.push(kBos), "");
  EXPECT_EQ(d.push(0xE4), "");
  EXPECT_EQ(d.push(256), "\uFFFDab");  // it can no longer become a character
  EXPECT_EQ(d.push(0xFF), "\uFFFD");   // it never could
  EXPECT_EQ(d.push(0xE4), "");
  EXPECT_EQ(d.flush(), "\uFFFD");
  EXPECT_EQ(d.flush(), "");
}

TEST(DetokenizerTest, EqualsDecodeForAnyTokens) {
  const auto tok = open({.merges = kMerges, .added = kAdded});
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    Ids ids;
    for (size_t n = random() % 40; n > 0; --n) {
      // Mostly bytes that begin or continue characters.
      ids.push_back(static_cast<int32_t>(random() % 3 ? 0x80 + random() % 128 : random() % 270));
    }
    Detokenizer d(*tok);
    std::string text;
    for (const int32_t id : ids) {
      text += d.push(id);
      EXPECT_TRUE(is_utf8(text));
    }
    EXPECT_EQ(text + d.flush(), tok->decode(ids));
  }
}

}  // namespace
}  // namespace hadal::tokenizer
