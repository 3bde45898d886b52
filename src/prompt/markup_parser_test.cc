#include "prompt/internal/markup_parser.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "prompt/prompt_format.h"

namespace hadal::prompt {
namespace {

using engine_api::Delta;
using engine_api::ToolCall;

// One piece of an answer: text, or a special token.
struct Fed {
  std::string text;
  bool special = false;
};

std::string show(const Delta& d) {
  std::string out;
  if (!d.reasoning.empty()) out += "R[" + d.reasoning + "]";
  if (!d.content.empty()) out += "C[" + d.content + "]";
  for (const ToolCall& c : d.tool_calls) out += c.id + ":" + c.name + c.arguments;
  return out;
}

Delta read(AnswerParser& parser, const std::vector<Fed>& pieces) {
  Delta all;
  for (const Fed& p : pieces) {
    if (p.special) {
      parser.feed_special(p.text, all);
    } else {
      parser.feed(p.text, all);
    }
  }
  parser.finish(all);
  return all;
}

std::unique_ptr<AnswerParser> parser_for(std::string_view format, bool reasoning = false) {
  return find_format(format)->make_parser(
      {.starts_in_reasoning = reasoning, .offers_tools = true, .stop_specials = {}});
}

std::string parse(std::string_view format, const std::string& text, bool reasoning = false) {
  const auto parser = parser_for(format, reasoning);
  const std::string whole = show(read(*parser, {{text}}));
  // A byte at a time must give the same.
  std::vector<Fed> bytes;
  for (const char c : text) bytes.push_back({std::string(1, c)});
  EXPECT_EQ(show(read(*parser_for(format, reasoning), bytes)), whole) << text;
  return whole;
}

TEST(MarkupParserTest, ReasoningThenContent) {
  EXPECT_EQ(parse("deepseek-v4", "why</think>because", true), "R[why]C[because]");
  EXPECT_EQ(parse("deepseek-v4", "why", true), "R[why]");
  EXPECT_EQ(parse("deepseek-v4", "why</thi", true), "R[why</thi]") << "it never became a marker";
  EXPECT_EQ(parse("deepseek-v4", "a </think> b"), "C[a </think> b]") << "only where it ends one";
  EXPECT_EQ(parse("deepseek-v3", "<think>why</think>because"), "R[why]C[because]");
  EXPECT_EQ(parse("deepseek-v3", "say <think> b"), "C[say <think> b]");
}

TEST(MarkupParserTest, LineBreaksAroundR1sReasoningAreNotItsText) {
  EXPECT_EQ(parse("deepseek-r1", "why\n\n</think>\n\n  code", true), "R[why\n]C[  code]");
  EXPECT_EQ(parse("deepseek-r1", "why\n", true), "R[why\n]");
  EXPECT_EQ(parse("deepseek-v3.2", "why\n</think>\ncode", true), "R[why\n]C[\ncode]");
}

TEST(MarkupParserTest, TheBlankAfterAssistantIsNotText) {
  const auto fresh = find_format("deepseek-llm")->render({.messages = {{.content = "U"}}});
  const auto parser = find_format("deepseek-llm")->make_parser(*fresh);
  EXPECT_EQ(show(read(*parser, {{" "}, {" hi <think> x"}})), "C[ hi <think> x]");
}

TEST(MarkupParserTest, CallsBetweenTokens) {
  EXPECT_EQ(
      parse(
          "deepseek-v3",
          "see:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
          "{\"a\": \"```\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n"
          "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
      "C[see:]call_0:f{\"a\": \"```\"}call_1:g{}");
  EXPECT_EQ(
      parse("deepseek-v3.1",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\":1}<｜tool▁call▁end｜>"
            "<｜tool▁calls▁end｜>\n"),
      "call_0:f{\"a\":1}");
  EXPECT_EQ(parse("deepseek-v3.1",
                  "T<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}"
                  "<｜tool▁calls▁end｜>then",
                  true),
            "R[T]C[then]call_0:f{}")
      << "a forgotten end";
}

TEST(MarkupParserTest, CutCallsAreLeftOutUnlessTheyAreWhole) {
  const std::string head = "C<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>";
  EXPECT_EQ(parse("deepseek-v3.1", head + "{\"a\":"), "C[C]");
  EXPECT_EQ(parse("deepseek-v3.1", head + "{\"a\":1}"), "C[C]call_0:f{\"a\":1}");
  EXPECT_EQ(parse("deepseek-v3.1", head), "C[C]");
  EXPECT_EQ(parse("deepseek-v3.1", "C<｜tool▁ca"), "C[C]");
  EXPECT_EQ(parse("deepseek-v4",
                  "C\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n"
                  "<｜DSML｜parameter name=\"a\" string=\"true\">x"),
            "C[C]");
  EXPECT_EQ(parse("deepseek-v4", "C\n\n<｜DSML｜tool_"), "C[C]");
  EXPECT_EQ(parse("deepseek-v4", "C\n\n<"), "C[C\n\n<]");
}

TEST(MarkupParserTest, DsmlCalls) {
  EXPECT_EQ(
      parse(
          "deepseek-v3.2",
          "why</think>see\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
          "<｜DSML｜parameter name=\"s\" string=\"true\">a \"b\"\n</x></｜DSML｜parameter>\n"
          "<｜DSML｜parameter name=\"n\" string=\"false\">[1, {\"k\": null}]</｜DSML｜parameter>\n"
          "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"g\">\n\n</｜DSML｜invoke>\n"
          "</｜DSML｜function_calls>",
          true),
      "R[why]C[see]call_0:f{\"s\": \"a \\\"b\\\"\\n</x>\", \"n\": [1, {\"k\": null}]}"
      "call_1:g{}");
  EXPECT_EQ(
      parse("deepseek-v4.1",
            "<｜DSML｜ calls>\n<｜DSML｜ invoke name=\"f\">\n<｜DSML｜ parameter name=\"a\" "
            "string=\"false\">tru</｜DSML｜ parameter>\n</｜DSML｜ invoke>\n</｜DSML｜ calls>"),
      "call_0:f{\"a\": \"tru\"}")
      << "arguments are JSON whatever the model claims";
}

TEST(MarkupParserTest, MarkersComeAsSpecialTokensToo) {
  const auto v4 = parser_for("deepseek-v4", true);
  EXPECT_TRUE(v4->in_reasoning());
  Delta d;
  v4->feed_special("</think>", d);
  EXPECT_FALSE(v4->in_reasoning());
  EXPECT_EQ(show(read(*v4, {{"a\n\n<"},
                            {"｜DSML｜", true},
                            {"tool_calls>\n<"},
                            {"｜DSML｜", true},
                            {"invoke name=\"f\">\n\n</"},
                            {"｜DSML｜", true},
                            {"invoke>\n</"},
                            {"｜DSML｜", true},
                            {"tool_calls>"}})),
            "C[a]call_0:f{}");
  const auto v3 = parser_for("deepseek-v3");
  EXPECT_EQ(show(read(*v3, {{"a"},
                            {"<｜place▁holder▁no▁5｜>", true},
                            {"b"},
                            {"</think>", true},
                            {"c"},
                            {"<｜tool▁calls▁begin｜>", true},
                            {"<｜tool▁call▁begin｜>", true},
                            {"function"},
                            {"<｜tool▁sep｜>", true},
                            {"f\n```json\n{}\n```"},
                            {"<｜tool▁call▁end｜>", true},
                            {"<｜tool▁calls▁end｜>", true}})),
            "C[abc]call_0:f{}")
      << "special tokens without a meaning here are left out";
}

TEST(MarkupParserTest, TextIsGivenOutAsSoonAsItIsSure) {
  const auto parser = parser_for("deepseek-v4");
  Delta d;
  parser->feed("Hello\n", d);
  EXPECT_EQ(d.content, "Hello");
  parser->feed("\n", d);
  EXPECT_EQ(d.content, "Hello");
  parser->feed("<b>", d);
  EXPECT_EQ(d.content, "Hello\n\n<b>");
}

TEST(MarkupParserTest, CallsAreGivenOutOneByOne) {
  const auto parser = parser_for("deepseek-v4");
  Delta d;
  parser->feed("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>", d);
  EXPECT_EQ(d.tool_calls.size(), 1u);
  parser->feed("\n<｜DSML｜invoke name=\"g\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>", d);
  EXPECT_EQ(d.tool_calls.size(), 2u);
}

// Nobody offered tools: what is spelled like a call is text, and a call's own tokens are dropped.
TEST(MarkupParserTest, CallsCountOnlyWhereToolsAreOffered) {
  const std::string tokens =
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```"
      "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
  const std::string dsml =
      "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n</｜DSML｜invoke>\n"
      "</｜DSML｜function_calls>";
  for (const auto& [name, text] :
       {std::pair<std::string_view, std::string>{"deepseek-v3", tokens}, {"deepseek-v3.2", dsml}}) {
    EXPECT_NE(parse(name, text).find(":f{}"), std::string::npos) << name << " with tools";
    const auto parser = find_format(name)->make_parser({.stop_specials = {}});
    EXPECT_EQ(show(read(*parser, {{text}})), "C[" + text + "]") << name;
  }
  const auto parser = find_format("deepseek-v3")->make_parser({.stop_specials = {}});
  EXPECT_EQ(show(read(*parser, {{"a"}, {"<｜tool▁calls▁begin｜>", true}, {"b"}})), "C[ab]");
}

// What a format writes for old turns is what its parser reads in new ones.
TEST(MarkupParserTest, ReadsWhatTheFormatWrites) {
  for (const std::string_view name : format_names()) {
    engine_api::Chat chat;
    chat.messages.resize(3);
    chat.messages[0].content = "U";
    chat.messages[1].role = engine_api::Role::assistant;
    chat.messages[1].content = "C";
    chat.messages[1].tool_calls = {{"a", "f", R"({"a": "x < y", "b": [1.5, true]})"}};
    chat.messages[2].role = engine_api::Role::tool;
    const auto rendered = find_format(name)->render(chat);
    if (!rendered) continue;
    std::vector<Fed> answer;
    bool inside = false;
    for (const Piece& p : rendered->pieces) {
      if (p.text == "<｜end▁of▁sentence｜>") inside = false;
      if (inside) answer.push_back({p.text, p.special});
      if (p.text == "<｜Assistant｜>") inside = answer.empty();
    }
    if (!answer.empty() && answer[0].text == "<think>") answer.erase(answer.begin());
    const auto parser = parser_for(name, false);
    EXPECT_EQ(show(read(*parser, answer)),
              "C[C]call_0:f" + chat.messages[1].tool_calls[0].arguments)
        << name;
  }
}

// Random soups of markers, cut at random places, always read the same.
TEST(MarkupParserTest, ReadingDoesNotDependOnTheCuts) {
  const std::vector<std::string> parts = {
      "a",
      "\n",
      " ",
      "<",
      "think>",
      "<think>",
      "</think>",
      "</",
      "｜DSML｜",
      "<｜DSML｜",
      "tool_calls>",
      "<｜DSML｜tool_calls>",
      "\n\n<｜DSML｜tool_calls>",
      "</｜DSML｜tool_calls>",
      "<｜DSML｜invoke name=\"f\">\n",
      "</｜DSML｜invoke>",
      "<｜DSML｜parameter name=\"p\" string=\"true\">v</｜DSML｜parameter>",
      "<｜tool▁calls▁begin｜>",
      "<｜tool▁call▁begin｜>",
      "f<｜tool▁sep｜>{}",
      "<｜tool▁call▁end｜>",
      "<｜tool▁calls▁end｜>"};
  Rng rng(1);
  for (int round = 0; round < 4000; ++round) {
    const auto names = format_names();
    const std::string_view name = names[rng.next_below(names.size())];
    const bool reasoning = rng.next_below(2) == 0;
    std::string text;
    for (uint64_t n = rng.next_below(12); n > 0; --n) text += parts[rng.next_below(parts.size())];
    const std::string whole = show(read(*parser_for(name, reasoning), {{text}}));
    std::vector<Fed> cut;
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + rng.next_below(9);
      cut.push_back({text.substr(at, n)});
      at += n;
    }
    ASSERT_EQ(show(read(*parser_for(name, reasoning), cut)), whole) << name << ": " << text;
  }
}

}  // namespace
}  // namespace hadal::prompt
