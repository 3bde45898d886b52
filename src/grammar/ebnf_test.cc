#include "grammar/ebnf.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grammar/test_grammar.h"

namespace hadal::grammar {
namespace {

struct Case {
  std::string grammar;
  std::vector<std::string> good;
  std::vector<std::string> bad;
};

TEST(EbnfTest, ReadsWhatItSays) {
  const Case cases[] = {
      {R"g(root ::= "yes" | "no")g", {"yes", "no"}, {"", "ye", "yesno", "maybe"}},
      {R"g(root ::= "a" "b"? "c"* "d"+)g", {"ad", "abd", "abccdd"}, {"abc", "bd", "abbd"}},
      {R"g(root ::= [a-c]{2})g", {"ab", "cc"}, {"a", "abc", "xd"}},
      {R"g(root ::= "a"{2,3} "b"{2,} "c"{,1})g", {"aabb", "aaabbbbc"}, {"abb", "aab", "aabbcc"}},
      {R"g(root ::= ("x" | "y" "z")*)g", {"", "xyzx", "yz"}, {"y", "z", "xy"}},
      {R"g(root ::= [^"\\]+)g", {"abc", "é中😀"}, {"", "a\"", "\\", "\xE4\xB8", "\xFF"}},
      {R"g(root ::= "\"" "\\" "\n" "\t" "\x41" "\u00e9" "\U0001F600")g", {"\"\\\n\tAé😀"}, {"\""}},
      {R"g(root ::= [\x41-\x43\-\]]+)g", {"ABC-]"}, {"D", "\\"}},
      {R"g(root ::= [-a]+ [b-])g", {"-a-b", "a-"}, {"c"}},
      {"root ::= .", {"a", "é", "\n", "😀"}, {"", "ab", "\xC3"}},
      {"# first\nroot ::= # here\n  one |\n  two\none ::= \"1\"\n\ntwo ::= \"2\" # end",
       {"1", "2"},
       {"12"}},
      {"root ::= one\n  | two\none ::= \"1\" two\ntwo ::= \"2\"", {"12", "2"}, {"1"}},
      {"root ::= a-b_1\na-b_1 ::= \"x\"", {"x"}, {"y"}},
      {"root ::= \"a\" |", {"a", ""}, {"b"}},
      {"root ::= ((((\"a\"))))", {"a"}, {"aa"}},
      {"root ::= \"a\"??", {"a", ""}, {"aa"}},
      {"root ::= \"ab\"{0}\"c\"", {"c"}, {"abc"}},
  };
  for (const Case& c : cases) {
    const auto g = compiled(c.grammar);
    ASSERT_TRUE(g) << c.grammar;
    for (const auto& t : c.good) EXPECT_TRUE(matches(g, t)) << c.grammar << " : " << t;
    for (const auto& t : c.bad) EXPECT_FALSE(matches(g, t)) << c.grammar << " : " << t;
  }
}

TEST(EbnfTest, RecursesOnEverySide) {
  const Case cases[] = {
      {R"g(root ::= root "a" | "b")g", {"b", "ba", "baaaa"}, {"", "a", "ab"}},
      {R"g(root ::= "a" root | "b")g", {"b", "aaab"}, {"", "a", "ba"}},
      {R"g(root ::= "(" root ")" | "")g", {"", "()", "((()))"}, {"(", "(()", ")("}},
      {R"g(root ::= root root | "a")g", {"a", "aa", "aaaaaaa"}, {"", "b"}},
      {"root ::= a\na ::= b\nb ::= a | \"x\"", {"x"}, {"", "xx"}},
      {"root ::= a \"1\"\na ::= b \"2\" | \"\"\nb ::= root", {"1", "121", "12121"}, {"21", "11"}},
      {"root ::= n n n\nn ::= \"\" | \"a\"", {"", "a", "aa", "aaa"}, {"aaaa"}},
      {"root ::= e\ne ::= t | e \"+\" t\nt ::= f | t \"*\" f\nf ::= [0-9] | \"(\" e \")\"",
       {"1", "1+2*3", "(1+2)*3", "((7))"},
       {"", "1+", "(1", "1)"}},
      {"root ::= s\ns ::= \"a\" s \"a\" | \"b\" s \"b\" | \"c\"",
       {"c", "aca", "abcba"},
       {"acb", "ac", "abcab"}},
  };
  for (const Case& c : cases) {
    const auto g = compiled(c.grammar);
    ASSERT_TRUE(g) << c.grammar;
    for (const auto& t : c.good) EXPECT_TRUE(matches(g, t)) << c.grammar << " : " << t;
    for (const auto& t : c.bad) EXPECT_FALSE(matches(g, t)) << c.grammar << " : " << t;
  }
}

TEST(EbnfTest, SaysWhereItIsWrong) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "there is no rule 'root'"},
      {"root", "line 1, column 5: expected ::="},
      {"root ::= \"a", "line 1, column 10: the literal has no end"},
      {"root ::= [a", "line 1, column 10: the set of characters has no end"},
      {"root ::= []", "the set of characters is empty"},
      {"root ::= [z-a]", "line 1, column 11: the range is empty"},
      {"root ::= (\"a\"", "expected ) for the ( at line 1, column 10"},
      {"root ::= \"a\" )", "line 1, column 14: expected an item, | or the next rule, not ')'"},
      {"root ::= a", "line 1, column 10: there is no rule 'a'"},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: the rule 'root' is defined twice"},
      {"root ::= \"\\q\"", "this escape is not known"},
      {"root ::= \"\\x4\"", "expected 2 hexadecimal digits"},
      {"root ::= \"\\ud800\"", "there is no such character"},
      {"root ::= \"a\"{3,2}", "the least number of times is more than the most"},
      {"root ::= \"a\"{", "expected a number"},
      {"root ::= \"a\"{,}", "expected a number"},
      {"root ::= \"a\"{2", "expected }"},
      {"root ::= \"a\"{99999999999999999999}", "counts to 1000000000 at most"},
      {"root ::= \"\xFF\"", "no valid UTF-8"},
      {"x ::= \"a\"", "there is no rule 'root'"},
      {"::= \"a\"", "expected the name of a rule"},
  };
  for (const auto& [text, expected] : cases) {
    const auto g = read_ebnf(text);
    ASSERT_FALSE(g) << text;
    EXPECT_NE(g.error().message.find(expected), std::string::npos) << text << "\n"
                                                                   << g.error().message;
  }
}

TEST(EbnfTest, RefusesWhatIsTooLarge) {
  const auto too_large = [](const std::string& text) {
    const auto g = read_ebnf(text);
    EXPECT_FALSE(g);
    return !g && g.error().code == ErrorCode::too_large;
  };
  EXPECT_TRUE(too_large(std::string(300 << 10, ' ')));
  EXPECT_TRUE(too_large("root ::= " + std::string(100, '(') + "\"a\"" + std::string(100, ')')));
  EXPECT_TRUE(too_large("root ::= \"a\"" + std::string(1000, '?')));
  std::string parts = "root ::= \"a\"";
  for (int i = 0; i < 50000; ++i) parts += " (a|)";
  parts += "\na ::= \"a\"";
  EXPECT_TRUE(too_large(parts));
}

}  // namespace
}  // namespace hadal::grammar
