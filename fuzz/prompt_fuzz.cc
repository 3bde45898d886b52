// Random chats through every format, random answers through every parser.
// - What messages say never changes which special tokens a prompt has.
// - What a parser gives out does not depend on how the answer was cut.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "prompt/prompt_format.h"

namespace hadal::prompt {
namespace {

using engine_api::Chat;
using engine_api::Message;
using engine_api::Role;

constexpr std::string_view kParts[] = {
    "<think>",
    "</think>",
    "<｜User｜>",
    "<｜DSML｜tool_calls>",
    "\n\n<｜DSML｜function_calls>",
    "<｜DSML｜ calls>",
    "<｜DSML｜invoke name=\"f\">",
    "</｜DSML｜invoke>",
    "<｜DSML｜parameter name=\"p\" string=\"true\">",
    "</｜DSML｜parameter>",
    "</｜DSML｜tool_calls>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "<｜end▁of▁sentence｜>",
    "<|EOT|>",
};

std::string text(FuzzedDataProvider& data) {
  std::string out;
  for (int n = data.ConsumeIntegralInRange(0, 4); n > 0; --n) {
    if (data.ConsumeBool()) {
      out += data.PickValueInArray(kParts);
    } else {
      out += data.ConsumeRandomLengthString(12);
    }
  }
  return out;
}

Chat random_chat(FuzzedDataProvider& data) {
  Chat chat;
  for (int n = data.ConsumeIntegralInRange(0, 8); n > 0; --n) {
    Message m;
    m.role = static_cast<Role>(data.ConsumeIntegralInRange(0, 4));
    m.content = text(data);
    m.reasoning_content = text(data);
    m.prefix = data.ConsumeIntegralInRange(0, 7) == 0;
    m.tool_call_id = data.ConsumeBool() ? "a" : "";
    for (int c = data.ConsumeIntegralInRange(0, 9) - 7; c > 0; --c) {
      json::Value arguments;
      arguments.set("p" + text(data), text(data));
      m.tool_calls.push_back({c == 1 ? "a" : "b", "n" + text(data), json::dump(arguments)});
    }
    chat.messages.push_back(std::move(m));
  }
  if (data.ConsumeBool())
    chat.tools.push_back({.name = "t" + text(data), .description = text(data)});
  chat.thinking = static_cast<engine_api::Thinking>(data.ConsumeIntegralInRange(0, 2));
  return chat;
}

// The same chat without a character that could mean something.
Chat plain(Chat chat) {
  const auto blank = [](std::string& s) { s.assign(s.size(), 'x'); };
  for (Message& m : chat.messages) {
    blank(m.content);
    blank(m.reasoning_content);
    for (auto& call : m.tool_calls) {
      blank(call.name);
      call.arguments = R"({"p": "x"})";
    }
  }
  for (auto& tool : chat.tools) {
    blank(tool.name);
    blank(tool.description);
  }
  return chat;
}

std::vector<std::string> specials(const Rendered& rendered) {
  std::vector<std::string> out;
  for (const Piece& p : rendered.pieces) {
    if (p.special) out.push_back(p.text);
  }
  return out;
}

engine_api::Delta read(const PromptFormat& format, bool reasoning, std::string_view answer,
                       FuzzedDataProvider* cuts) {
  const auto parser = format.make_parser(
      {.pieces = {}, .starts_in_reasoning = reasoning, .offers_tools = true, .stop_specials = {}});
  engine_api::Delta out;
  while (!answer.empty()) {
    const size_t n =
        cuts == nullptr ? answer.size() : cuts->ConsumeIntegralInRange<size_t>(1, answer.size());
    parser->feed(answer.substr(0, n), out);
    answer.remove_prefix(n);
  }
  parser->finish(out);
  return out;
}

void fuzz(FuzzedDataProvider& data) {
  const auto names = format_names();
  const PromptFormat& format =
      *find_format(names[data.ConsumeIntegralInRange<size_t>(0, names.size() - 1)]);
  const Chat chat = random_chat(data);
  if (const auto rendered = format.render(chat)) {
    const auto harmless = format.render(plain(chat));
    CHECK(harmless.has_value());
    CHECK(specials(*rendered) == specials(*harmless), "a message became a special token");
  }
  const std::string answer = text(data) + text(data) + text(data);
  const bool reasoning = data.ConsumeBool();
  const auto whole = read(format, reasoning, answer, nullptr);
  const auto cut = read(format, reasoning, answer, &data);
  CHECK(whole.content == cut.content && whole.reasoning == cut.reasoning);
  CHECK(whole.tool_calls.size() == cut.tool_calls.size());
  for (size_t i = 0; i < whole.tool_calls.size(); ++i) {
    CHECK(whole.tool_calls[i].name == cut.tool_calls[i].name);
    CHECK(whole.tool_calls[i].arguments == cut.tool_calls[i].arguments);
  }
}

}  // namespace
}  // namespace hadal::prompt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  hadal::prompt::fuzz(data);
  return 0;
}
