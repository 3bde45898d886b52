#include "grammar/matcher.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/test_grammar.h"

namespace hadal::grammar {
namespace {

TEST(MatcherTest, AllowsExactlyTheTokensThatFit) {
  const char* grammars[] = {
      R"(root ::= "abc" | "ab" [0-9]+)",
      R"(root ::= "{" pair ("," pair)* "}"
         pair ::= "\"" [a-z]* "\":" ("true" | "null" | "\"" [^"]{0,3} "\"" | root))",
      R"(root ::= [^\x00-\x1f]{2,5})",
      R"(root ::= root "ab" | "c" | root root)",
      "root ::= item{2,40} \"!\"\nitem ::= [a-z] [a-z]? [a-z]? \",\" | item-b\nitem-b ::= \"{\" "
      "root \"}\"",
      "root ::= a{20,30}\na ::= [ab] | \"abc\"",
      "root ::= x*\nx ::= y \"12\" | y \"0.5\"\ny ::= \"\" | \" \"{0,3}",
  };
  for (const char* text : grammars) {
    const auto g = compiled(text);
    ASSERT_TRUE(g) << text;
    int ended = 0;
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const auto drawn = draw(g, seed, 40, true);
      if (!drawn) continue;
      ++ended;
      EXPECT_TRUE(matches(g, *drawn)) << text << "\n" << *drawn;
    }
    EXPECT_GT(ended, 0) << text;
  }
}

TEST(MatcherTest, TokensCrossTheBordersOfRulesAndCharacters) {
  const auto& v = small_vocabulary();
  const auto g =
      compiled("root ::= \"{\" key \":\" key \"}\"\nkey ::= \"\\\"\" [a-z\u4e2d\u6587]* \"\\\"\"");
  Matcher m(g);
  const auto take = [&](std::string_view token) {
    const bool is_allowed = has(allowed(m, *v.shared), static_cast<size_t>(v.id(token)));
    EXPECT_TRUE(is_allowed) << token;
    EXPECT_TRUE(*m.accept(v.id(token))) << token;
  };
  take("{\"");
  take("abc");
  take("\xE4\xB8");
  EXPECT_FALSE(*m.accept(v.id("ab"))) << "in the middle of a character";
  take("\xAD");
  take("\":\"");
  take("\xE4\xB8");
  take("\xAD");
  take("\xE6");
  take("\x96\x87");
  EXPECT_FALSE(m.may_end());
  take("\"}");
  EXPECT_TRUE(m.may_end());
  EXPECT_TRUE(m.is_over());
  for (const uint64_t word : allowed(m, *v.shared)) EXPECT_EQ(word, 0u);
}

TEST(MatcherTest, SpecialTokensAreAllowedOnlyWhereTheGrammarNamesThem) {
  const auto& v = small_vocabulary();
  Grammar g;
  const Expr text = g.text_without({"<call>"});
  const Expr call = g.token("<call>");
  const Expr other = g.token("<not there>");
  const Expr name = g.literal("f");
  g.set_root(g.add_rule("root", g.sequence({text, call, name, other})));
  Matcher m(compiled(Result<Grammar>(g)));
  const auto call_id = v.id("<call>");
  const auto end_id = v.id("<end>");
  EXPECT_TRUE(*m.accept_text("any <call"));
  auto bits = allowed(m, *v.shared);
  EXPECT_TRUE(has(bits, static_cast<size_t>(call_id)));
  EXPECT_FALSE(has(bits, static_cast<size_t>(end_id)));
  EXPECT_FALSE(has(bits, static_cast<size_t>(v.id(">")))) << "spelled it would be a call too";
  EXPECT_FALSE(*m.accept(end_id));
  EXPECT_TRUE(*m.accept(call_id));
  EXPECT_FALSE(*m.accept(call_id));
  EXPECT_TRUE(*m.accept_text("f<not there>")) << "a token that the vocabulary lacks is text";
  EXPECT_TRUE(m.is_over());
}

TEST(MatcherTest, TextWithoutWordsHoldsNoneOfThem) {
  Grammar g;
  g.set_root(g.add_rule("root", g.text_without({"abab", "bb"})));
  const auto c = compiled(Result<Grammar>(g));
  for (const char* good : {"", "aba", "abaab", "xyz", "b", "aabaa", "\xFF\xFE"}) {
    EXPECT_TRUE(matches(c, good)) << good;
  }
  for (const char* bad : {"abab", "xababx", "bb", "ababab", "abaabab"}) {
    EXPECT_FALSE(matches(c, bad)) << bad;
  }
}

TEST(MatcherTest, RefusedTokensChangeNothing) {
  const auto& v = small_vocabulary();
  Matcher m(compiled("root ::= \"hello\" \" world\""));
  EXPECT_FALSE(*m.accept(v.id("ab")));
  EXPECT_FALSE(*m.accept(-1));
  EXPECT_FALSE(*m.accept(1 << 20));
  EXPECT_FALSE(*m.accept_text("help"));
  EXPECT_TRUE(*m.accept(v.id("hello")));
  EXPECT_FALSE(*m.accept_text(" wordl"));
  EXPECT_TRUE(*m.accept_text(" world"));
  EXPECT_TRUE(m.is_over());
}

TEST(MatcherTest, EndsWhereNothingCanFollow) {
  Matcher number(compiled("root ::= [0-9]{1,3}"));
  EXPECT_FALSE(number.may_end());
  EXPECT_TRUE(*number.accept_text("12"));
  EXPECT_TRUE(number.may_end());
  EXPECT_FALSE(number.is_over());
  EXPECT_TRUE(*number.accept_text("3"));
  EXPECT_TRUE(number.is_over());
  Matcher nothing(compiled("root ::= \"\""));
  EXPECT_TRUE(nothing.is_over());
}

// Counting takes no room: a billion rounds are one state.
TEST(MatcherTest, CountsFar) {
  const auto g = compiled("root ::= [a-z]{0,1000000000} \"!\"");
  ASSERT_TRUE(g);
  EXPECT_LT(g->bytes(), 1u << 16);
  EXPECT_TRUE(matches(g, std::string(100000, 'x') + "!"));
  const auto exact = compiled("root ::= ([a-z] [0-9]){1000} \"!\"");
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "x1";
  EXPECT_TRUE(matches(exact, text + "!"));
  EXPECT_FALSE(matches(exact, text + "x1!"));
  EXPECT_FALSE(matches(exact, text.substr(2) + "!"));
  const auto least = compiled("root ::= \"ab\"{100,}");
  EXPECT_TRUE(matches(least, std::string(600, 'a').replace(0, 600, [] {
    std::string s;
    for (int i = 0; i < 300; ++i) s += "ab";
    return s;
  }())));
  EXPECT_FALSE(matches(least, "abab"));
}

// Recursion on the right is as cheap as a loop, and memory follows the nesting, not the length.
TEST(MatcherTest, LongListsTakeLittle) {
  for (const char* text :
       {"root ::= c root | \"!\"\nc ::= [a-z]", "root ::= s \"!\"\ns ::= s c | \"\"\nc ::= [a-z]",
        "root ::= s \"!\"\ns ::= c s | \"\"\nc ::= [a-z]",
        "root ::= a \"!\"\na ::= b | \"\"\nb ::= [a-z] a"}) {
    const double begin = cpu_seconds();
    Matcher m(compiled(text));
    for (int i = 0; i < 2000; ++i) ASSERT_TRUE(*m.accept_text(std::string(100, 'x'))) << text;
    EXPECT_TRUE(*m.accept_text("!")) << text;
    EXPECT_TRUE(m.may_end());
    EXPECT_LT(cpu_seconds() - begin, 2.0) << text;
  }
}

TEST(MatcherTest, DeepNestingIsKept) {
  Matcher m(compiled("root ::= \"(\" root \")\" | \"[\" root \"]\" | \"x\""));
  std::string open;
  std::string close;
  for (int i = 0; i < 30000; ++i) {
    open += i % 3 == 0 ? '[' : '(';
    close += i % 3 == 0 ? ']' : ')';
  }
  EXPECT_TRUE(*m.accept_text(open + "x"));
  EXPECT_TRUE(*m.accept_text(std::string(close.rbegin(), close.rend() - 1)));
  EXPECT_FALSE(*m.accept_text(")"));
  EXPECT_TRUE(*m.accept_text("]"));
  EXPECT_TRUE(m.is_over());
}

TEST(MatcherTest, NothingMatchesIsAnError) {
  for (const char* text : {"root ::= root", "root ::= root \"a\"", "root ::= \"a\" b\nb ::= b b",
                           "root ::= a\na ::= \"(\" a \")\""}) {
    const auto g = CompiledGrammar::create(*read_ebnf(text), small_vocabulary().shared);
    ASSERT_FALSE(g) << text;
    EXPECT_EQ(g.error().code, ErrorCode::invalid_argument);
  }
  // A way that never ends is left out, the others stay.
  const auto g = compiled("root ::= \"a\" b | \"ac\"\nb ::= \"c\" b");
  Matcher m(g);
  EXPECT_TRUE(*m.accept_text("a"));
  EXPECT_TRUE(*m.accept_text("c"));
  EXPECT_TRUE(m.is_over());
}

// What is meant to break a compiler: it ends soon, with a grammar or an error.
TEST(MatcherTest, HostileGrammarsEndSoon) {
  std::string chain = "root ::= a0\n";
  std::string doubling = "root ::= a0\n";
  std::string lists = "root ::= a0\n";
  for (int i = 0; i < 2000; ++i) {
    const std::string a = "a" + std::to_string(i);
    const std::string b = i < 1999 ? "a" + std::to_string(i + 1) : "\"x\"";
    chain += a + " ::= " + b + "\n";
    doubling += a + " ::= " + b + " " + b + "\n";
    lists += a + " ::= " + b + "? (\",\" " + b + ")*\n";
  }
  std::string optional = "root ::= ";
  for (int i = 0; i < 8000; ++i) optional += "\"a\"? ";
  std::string alternatives = "root ::= \"x\"";
  for (int i = 0; i < 8000; ++i) alternatives += " | \"key" + std::to_string(i * 7919) + "\"";
  const std::string grammars[] = {
      chain,
      doubling,
      lists,
      optional,
      alternatives,
      R"(root ::= ([ab]* "a" [ab]{20})+)",
      R"(root ::= ((((("a"{1000}){1000}){1000}){1000}){1000}))",
      R"(root ::= (("a"?){1000}){1000})",
      R"(root ::= (("a"*)*)*)",
      R"(root ::= ("a" | "a" | "aa"){1,1000000})",
      "root ::= root root root | \"a\" | \"\"",
      "root ::= a root b root c | \"x\"\na ::= \"a\"*\nb ::= a a a\nc ::= b b b",
  };
  for (const std::string& text : grammars) {
    const double begin = cpu_seconds();
    const auto grammar = read_ebnf(text);
    if (grammar) {
      const auto g = CompiledGrammar::create(*grammar, small_vocabulary().shared);
      if (g) {
        Matcher m(*g);
        std::vector<uint64_t> bits((small_vocabulary().shared->size() + 63) / 64);
        for (int i = 0; i < 300; ++i) {
          const Status done = m.allowed(bits);
          if (!done) {
            EXPECT_EQ(done.error().code, ErrorCode::resource_exhausted);
            break;
          }
          const auto read = m.accept_text("a");
          if (!read || !*read) break;
        }
        EXPECT_LT((*g)->bytes(), 64u << 20);
      } else {
        EXPECT_EQ(g.error().code, ErrorCode::too_large) << g.error().message;
      }
    } else {
      EXPECT_EQ(grammar.error().code, ErrorCode::too_large) << grammar.error().message;
    }
    const double took = cpu_seconds() - begin;
    EXPECT_LT(took, 3.0) << text.substr(0, 80);
  }
}

}  // namespace
}  // namespace hadal::grammar
