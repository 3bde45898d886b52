// Renders chats line by line for the reference test.
//
// usage: prompt_tool FORMAT
//   a chat as JSON in (chat_json.h), {"prompt": ...} or {"error": ...} out
#include <iostream>
#include <string>

#include "chat_json.h"
#include "prompt/prompt_format.h"

namespace hadal {
namespace {

Result<std::string> render(const prompt::PromptFormat& format, const std::string& line) {
  TRY(const json::Value chat, json::parse(line));
  TRY(const prompt::Rendered rendered, format.render(tests::chat_from_json(chat)));
  return rendered.text();
}

int run(std::string_view name) {
  const prompt::PromptFormat* format = prompt::find_format(name);
  if (format == nullptr) return 64;
  for (std::string line; std::getline(std::cin, line);) {
    const auto prompt = render(*format, line);
    json::Value out;
    if (prompt) {
      out.set("prompt", *prompt);
    } else {
      out.set("error", prompt.error().message);
    }
    std::cout << json::dump(out) << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: prompt_tool FORMAT\n";
    return 64;
  }
  return hadal::run(argv[1]);
}
