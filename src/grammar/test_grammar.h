#pragma once

#include <gtest/gtest.h>

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "grammar/ebnf.h"
#include "grammar/matcher.h"

/// What the tests of this room share: a small vocabulary, and ways to ask what a grammar matches.
namespace hadal::grammar {

/// Seconds that this thread computed: what else runs on the machine does not count.
inline double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Every byte, pieces that cross the borders of rules and of characters, and two special tokens.
struct TestVocabulary {
  explicit TestVocabulary(std::vector<std::string> more = {}, size_t unused = 3) {
    for (int b = 0; b < 256; ++b) texts.emplace_back(1, static_cast<char>(b));
    for (const char* t :
         {"ab",       "abc",          "bc",       "{\"",         "\":",  "\":\"", "\",\"",
          "\"}",      "}}",           "]}",       "true",        "tru",  "null",  "12",
          "123",      "0.5",          " \"",      "  ",          "\n  ", "hello", "\xC3\xA9",
          "\xE4\xB8", "\xB8\xAD\xE6", "\x96\x87", "\xF0\x9F\x98"}) {
      texts.emplace_back(t);
    }
    for (auto& t : more) texts.push_back(std::move(t));
    specials = texts.size();
    texts.emplace_back("<end>");
    texts.emplace_back("<call>");
    std::vector<Vocabulary::Token> tokens;
    for (size_t i = 0; i < texts.size(); ++i) tokens.push_back({texts[i], i >= specials});
    shared = std::make_shared<const Vocabulary>(tokens, texts.size() + unused);
  }
  int32_t id(std::string_view text) const {
    for (size_t i = 0; i < texts.size(); ++i) {
      if (texts[i] == text) return static_cast<int32_t>(i);
    }
    ADD_FAILURE() << "no token " << text;
    return -1;
  }

  std::vector<std::string> texts;
  size_t specials = 0;
  std::shared_ptr<const Vocabulary> shared;
};

inline const TestVocabulary& small_vocabulary() {
  static const TestVocabulary vocabulary;
  return vocabulary;
}

inline std::shared_ptr<const CompiledGrammar> compiled(
    const Result<Grammar>& grammar,
    const std::shared_ptr<const Vocabulary>& vocabulary = small_vocabulary().shared) {
  if (!grammar) {
    ADD_FAILURE() << grammar.error().message;
    return nullptr;
  }
  auto out = CompiledGrammar::create(*grammar, vocabulary);
  if (!out) {
    ADD_FAILURE() << out.error().message;
    return nullptr;
  }
  return *out;
}
inline std::shared_ptr<const CompiledGrammar> compiled(std::string_view ebnf) {
  return compiled(read_ebnf(ebnf));
}

/// Whether the whole text matches.
inline bool matches(const std::shared_ptr<const CompiledGrammar>& grammar, std::string_view text) {
  Matcher m(grammar);
  const auto read = m.accept_text(text);
  EXPECT_TRUE(read) << read.error().message;
  return read && *read && m.may_end();
}

inline std::vector<uint64_t> allowed(Matcher& m, const Vocabulary& v) {
  std::vector<uint64_t> bits((v.size() + 63) / 64);
  const Status done = m.allowed(bits);
  EXPECT_TRUE(done) << done.error().message;
  return bits;
}
inline bool has(const std::vector<uint64_t>& bits, size_t id) {
  return (bits[id / 64] >> (id % 64) & 1) != 0;
}

/// A text of at most `tokens_max` tokens drawn evenly from what is allowed, ended where it may end;
/// nothing when it did not come to an end. Checks each mask against trying every token.
inline std::optional<std::string> draw(const std::shared_ptr<const CompiledGrammar>& grammar,
                                       uint64_t seed, size_t tokens_max, bool check_masks = false) {
  Rng rng(seed);
  Matcher m(grammar);
  const Vocabulary& v = grammar->vocabulary();
  std::string text;
  for (size_t n = 0; n < tokens_max; ++n) {
    if (m.is_over() || (m.may_end() && rng.next_below(4) == 0)) return text;
    const auto bits = allowed(m, v);
    std::vector<int32_t> ids;
    for (size_t id = 0; id < v.size(); ++id) {
      if (has(bits, id)) ids.push_back(static_cast<int32_t>(id));
      if (!check_masks) continue;
      Matcher probe(grammar);
      EXPECT_TRUE(*probe.accept_text(text));
      EXPECT_EQ(*probe.accept(static_cast<int32_t>(id)), has(bits, id))
          << "token " << id << " after " << text;
    }
    if (ids.empty()) {
      EXPECT_TRUE(m.may_end()) << "a dead end after " << text;
      return text;
    }
    const int32_t id = ids[rng.next_below(ids.size())];
    EXPECT_TRUE(*m.accept(id));
    text += v.bytes(id);
  }
  return std::nullopt;
}

}  // namespace hadal::grammar
