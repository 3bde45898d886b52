// What a constrained answer may be, in each generation's own form.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "grammar/matcher.h"
#include "prompt/prompt_format.h"

namespace hadal::prompt {
namespace {

using engine_api::Chat;
using engine_api::Delta;
using engine_api::Role;
using engine_api::Thinking;
using engine_api::ToolChoice;

// Every byte, and the special tokens of the family.
const std::shared_ptr<const grammar::Vocabulary>& vocabulary() {
  static const auto shared = [] {
    std::vector<std::string> texts;
    for (int b = 0; b < 256; ++b) texts.emplace_back(1, static_cast<char>(b));
    for (const char* t :
         {"</think>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
          "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "｜DSML｜", "<｜User｜>"}) {
      texts.emplace_back(t);
    }
    std::vector<grammar::Vocabulary::Token> tokens;
    for (size_t i = 0; i < texts.size(); ++i) tokens.push_back({texts[i], i >= 256});
    return std::make_shared<const grammar::Vocabulary>(tokens, texts.size());
  }();
  return shared;
}

Chat weather_chat(bool strict = true) {
  Chat chat;
  chat.messages.push_back({.role = Role::user, .content = "hi"});
  const auto schema = json::parse(
      R"({"type": "object", "properties": {"city": {"type": "string"},
          "days": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["city"],
          "additionalProperties": false})");
  chat.tools.push_back({.name = "get_weather", .parameters = *schema, .strict = strict});
  chat.tools.push_back({.name = "now", .strict = strict});
  return chat;
}

// A format's answers to a chat, and how they are read.
struct Answers {
  Answers(const std::string& name, const Chat& chat, const char* content = nullptr)
      : format(find_format(name)) {
    auto r = format->render(chat);
    EXPECT_TRUE(r) << r.error().message;
    rendered = *std::move(r);
    grammar::Grammar g;
    std::optional<grammar::RuleId> rule;
    if (content != nullptr) rule = g.add_rule("content", g.literal(content));
    const auto answers = format->write_answers(g, chat, rendered, rule);
    EXPECT_TRUE(answers) << answers.error().message;
    g.set_root(g.add_rule("root", *answers));
    auto c = grammar::CompiledGrammar::create(g, vocabulary());
    EXPECT_TRUE(c) << c.error().message;
    compiled = *std::move(c);
  }

  // Whether this is a whole answer; special tokens count where they are spelled.
  bool matches(std::string_view answer) const {
    grammar::Matcher m(compiled);
    for (size_t i = 0; i < answer.size();) {
      int32_t token = static_cast<uint8_t>(answer[i]);
      size_t bytes = 1;
      for (int32_t id = 256; id < static_cast<int32_t>(vocabulary()->size()); ++id) {
        const auto text = special_text(id);
        if (!answer.substr(i).starts_with(text)) continue;
        token = id;
        bytes = text.size();
      }
      const auto read = m.accept(token);
      EXPECT_TRUE(read);
      if (!read || !*read) return false;
      i += bytes;
    }
    return m.may_end();
  }
  Delta read(std::string_view answer) const {
    Delta delta;
    const auto parser = format->make_parser(rendered);
    parser->feed(answer, delta);
    parser->finish(delta);
    return delta;
  }

  static std::string special_text(int32_t id) {
    static const char* texts[] = {"</think>",
                                  "<｜tool▁calls▁begin｜>",
                                  "<｜tool▁calls▁end｜>",
                                  "<｜tool▁call▁begin｜>",
                                  "<｜tool▁call▁end｜>",
                                  "<｜tool▁sep｜>",
                                  "｜DSML｜",
                                  "<｜User｜>"};
    return texts[id - 256];
  }

  const PromptFormat* format;
  Rendered rendered;
  std::shared_ptr<const grammar::CompiledGrammar> compiled;
};

struct Case {
  std::string format;
  std::string city;   ///< a call of get_weather for "Paris" and 3 days
  std::string wrong;  ///< the same for 30 days
  std::string both;   ///< and a call of now
};

std::string dsml(const std::string& block, const std::string& space, const std::string& days,
                 bool both) {
  const std::string d = "｜DSML｜" + space;
  std::string out = "\n\n<｜DSML｜" + block + ">\n<" + d + "invoke name=\"get_weather\">\n<" + d +
                    "parameter name=\"city\" string=\"true\">Paris</" + d + "parameter>\n<" + d +
                    "parameter name=\"days\" string=\"false\">" + days + "</" + d +
                    "parameter>\n</" + d + "invoke>\n";
  if (both) out += "<" + d + "invoke name=\"now\">\n\n</" + d + "invoke>\n";
  return out + "</｜DSML｜" + block + ">";
}

std::vector<Case> cases() {
  const auto v3 = [](const std::string& days, const std::string& more) {
    return "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
           "{\"city\": \"Paris\", \"days\": " +
           days + "}\n```<｜tool▁call▁end｜>" + more + "<｜tool▁calls▁end｜>";
  };
  const auto v31 = [](const std::string& days, const std::string& more) {
    return "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
           "{\"city\": \"Paris\", \"days\": " +
           days + "}<｜tool▁call▁end｜>" + more + "<｜tool▁calls▁end｜>";
  };
  const std::string v3_now =
      "\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>";
  const std::string v31_now = "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>";
  std::vector<Case> out = {
      {"deepseek-v2.5", v3("3", ""), v3("30", ""), v3("3", v3_now)},
      {"deepseek-v3", v3("3", ""), v3("30", ""), v3("3", v3_now)},
      {"deepseek-v3.1", v31("3", ""), v31("30", ""), v31("3", v31_now)},
  };
  for (const auto& [format, block, space] : {std::tuple{"deepseek-v3.2", "function_calls", ""},
                                             {"deepseek-v4", "tool_calls", ""},
                                             {"deepseek-v4.1", " calls", " "}}) {
    out.push_back({format, dsml(block, space, "3", false), dsml(block, space, "30", false),
                   dsml(block, space, "3", true)});
  }
  return out;
}

TEST(AnswerWriterTest, RequiredCallsAreCallsAndNothingElse) {
  for (const Case& c : cases()) {
    for (const bool strict : {true, false}) {
      Chat chat = weather_chat(strict);
      chat.thinking = Thinking::off;
      chat.tool_choice = ToolChoice::required;
      const Answers answers(c.format, chat);
      EXPECT_TRUE(answers.matches(c.city)) << c.format;
      EXPECT_TRUE(answers.matches(c.both)) << c.format;
      EXPECT_FALSE(answers.matches(c.wrong)) << c.format;
      EXPECT_FALSE(answers.matches("text")) << c.format;
      EXPECT_FALSE(answers.matches("")) << c.format;
      EXPECT_FALSE(answers.matches("text" + c.city)) << c.format;
      EXPECT_FALSE(answers.matches(c.city + "text")) << c.format;
      const Delta delta = answers.read(c.both);
      ASSERT_EQ(delta.tool_calls.size(), 2u) << c.format;
      EXPECT_EQ(delta.tool_calls[0].arguments, R"({"city": "Paris", "days": 3})") << c.format;
      EXPECT_EQ(delta.tool_calls[1].arguments, "{}") << c.format;
      EXPECT_EQ(delta.content, "") << c.format;
      chat.tool_name = "now";
      EXPECT_FALSE(Answers(c.format, chat).matches(c.city)) << c.format;
      chat.tool_name = "get_weather";
      EXPECT_TRUE(Answers(c.format, chat).matches(c.city)) << c.format;
      chat.tool_name = "";
      chat.parallel_tool_calls = false;
      EXPECT_TRUE(Answers(c.format, chat).matches(c.city)) << c.format;
      EXPECT_FALSE(Answers(c.format, chat).matches(c.both)) << c.format;
    }
  }
}

TEST(AnswerWriterTest, ChosenCallsAreHeldToTheirSchemas) {
  for (const Case& c : cases()) {
    Chat chat = weather_chat();
    chat.thinking = Thinking::off;
    const Answers answers(c.format, chat);
    EXPECT_TRUE(answers.matches("")) << c.format;
    EXPECT_TRUE(answers.matches("Just text, even <tool> or {.")) << c.format;
    EXPECT_TRUE(answers.matches(c.city)) << c.format;
    EXPECT_TRUE(answers.matches("Let me see." + c.both)) << c.format;
    EXPECT_FALSE(answers.matches("Let me see." + c.wrong)) << c.format;
    EXPECT_FALSE(answers.matches("<｜User｜>")) << c.format;
    EXPECT_EQ(answers.read("Let me see." + c.both).tool_calls.size(), 2u) << c.format;
  }
}

TEST(AnswerWriterTest, CallsMayStandInPlaceOfTheFormat) {
  for (const Case& c : cases()) {
    Chat chat = weather_chat(false);
    chat.thinking = Thinking::off;
    const Answers answers(c.format, chat, "[1]");
    EXPECT_TRUE(answers.matches("[1]")) << c.format;
    EXPECT_TRUE(answers.matches(c.city)) << c.format;
    EXPECT_FALSE(answers.matches("[1]" + c.city)) << c.format;
    EXPECT_FALSE(answers.matches("[2]")) << c.format;
    chat.tools.clear();
    EXPECT_TRUE(Answers(c.format, chat, "[1]").matches("[1]")) << c.format;
    EXPECT_FALSE(Answers(c.format, chat, "[1]").matches(c.city)) << c.format;
  }
}

TEST(AnswerWriterTest, ReasoningComesFirstAndIsFree) {
  Chat chat;
  chat.messages.push_back({.role = Role::user, .content = "hi"});
  chat.thinking = Thinking::on;
  for (const char* format : {"deepseek-r1", "deepseek-v3.1", "deepseek-v3.2", "deepseek-v4"}) {
    const Answers answers(format, chat, "[1]");
    EXPECT_TRUE(answers.matches("I think {\n.</think>[1]")) << format;
    EXPECT_TRUE(answers.matches("</think>[1]")) << format;
    EXPECT_FALSE(answers.matches("[1]")) << format;
    EXPECT_FALSE(answers.matches("hm</think>")) << format;
    EXPECT_FALSE(answers.matches("hm</think>x[1]")) << format;
    EXPECT_FALSE(answers.matches("hm</think>[1]</think>")) << format;
    const Delta delta = answers.read("hm</think>[1]");
    EXPECT_EQ(delta.content, "[1]") << format;
  }
  const Answers r1("deepseek-r1", chat, "[1]");
  EXPECT_TRUE(r1.matches("hm\n</think>\n\n[1]"));
  EXPECT_EQ(r1.read("hm\n</think>\n\n[1]").content, "[1]");
}

TEST(AnswerWriterTest, OlderGenerationsAnswerAfterABlank) {
  Chat chat;
  chat.messages.push_back({.role = Role::user, .content = "hi"});
  const Answers answers("deepseek-llm", chat, "[1]");
  EXPECT_TRUE(answers.matches(" [1]"));
  EXPECT_TRUE(answers.matches("[1]"));
  EXPECT_EQ(answers.read(" [1]").content, "[1]");
}

TEST(AnswerWriterTest, ToolsOfEveryKindAreWritten) {
  const auto schema_of = [](const char* text) { return *json::parse(text); };
  Chat chat;
  chat.thinking = Thinking::off;
  chat.tool_choice = ToolChoice::required;
  chat.messages.push_back({.role = Role::user, .content = "hi"});
  chat.tools.push_back({.name = "f",
                        .parameters = schema_of(
                            R"({"type": "object", "properties": {
                                "mode": {"enum": ["a<b", 1, null]},
                                "text": {"anyOf": [{"type": "string", "maxLength": 3},
                                                   {"type": "array", "items": {}}]}}})"),
                        .strict = true});
  const auto call = [](const std::string& parameters) {
    return "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n" + parameters +
           "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  };
  const auto parameter = [](const std::string& name, const char* is_string,
                            const std::string& value) {
    return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + is_string + "\">" + value +
           "</｜DSML｜parameter>";
  };
  const Answers answers("deepseek-v4", chat);
  EXPECT_TRUE(answers.matches(call("")));
  EXPECT_TRUE(answers.matches(call(parameter("mode", "true", "a<b"))));
  EXPECT_TRUE(answers.matches(call(parameter("mode", "false", "null"))));
  EXPECT_FALSE(answers.matches(call(parameter("mode", "true", "null"))));
  EXPECT_FALSE(answers.matches(call(parameter("mode", "false", "\"a<b\""))));
  EXPECT_TRUE(answers.matches(call(parameter("text", "true", "é\"\n"))));
  EXPECT_FALSE(answers.matches(call(parameter("text", "true", "long"))));
  EXPECT_TRUE(answers.matches(
      call(parameter("mode", "false", "1") + "\n" + parameter("text", "false", "[1, \"x\"]"))));
  EXPECT_FALSE(answers.matches(
      call(parameter("text", "false", "[]") + "\n" + parameter("mode", "false", "1"))));
  EXPECT_FALSE(answers.matches(call(parameter("other", "true", "x"))));

  // What cannot be enforced is an error when it is strict, and left to the model otherwise.
  chat.tools[0].parameters = schema_of(R"({"type": "object", "not": {}})");
  grammar::Grammar g;
  const auto refused = answers.format->write_answers(g, chat, answers.rendered, std::nullopt);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "tools[0].function.parameters");
  chat.tools[0].strict = false;
  const Answers any("deepseek-v4", chat);
  EXPECT_TRUE(any.matches(
      call(parameter("other", "true", "x") + "\n" + parameter("more", "false", "{\"a\": 1}"))));
}

}  // namespace
}  // namespace hadal::prompt
