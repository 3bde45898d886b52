// The one executable: picks a command, checks its settings, runs it, and turns errors into one line
// and an exit code.

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/commands.h"
#include "base/utf8.h"

namespace hadal::apps {
namespace {

constexpr const char* kVersion = "0.1.0";

int fail(const Error& error) {
  // Messages quote files and peers, which may be hostile.
  std::fprintf(stderr, "hadal: %s\n", for_terminal(error.message).c_str());
  if (!error.hint.empty()) std::fprintf(stderr, "       %s\n", for_terminal(error.hint).c_str());
  return error_class(error.code).exit_code;
}

void print_help() {
  std::printf("hadal runs DeepSeek models.\n\nUsage: hadal COMMAND [arguments]\n\n");
  for (const Command* c : kCommands) {
    std::printf("  %-10.*s %.*s\n", static_cast<int>(c->spec.command.size()),
                c->spec.command.data(), static_cast<int>(c->spec.summary.size()),
                c->spec.summary.data());
  }
  std::printf(
      "\n`hadal COMMAND --help` explains a command. `hadal --version` prints the version.\n");
}

Error unknown_command(const std::string& name) {
  std::vector<std::string_view> names;
  for (const Command* c : kCommands) names.push_back(c->spec.command);
  const std::string best(config::closest(name, names));
  return invalid_argument("there is no command '" + name + "'")
      .with_hint(best.empty() ? "`hadal --help` lists all commands"
                              : "did you mean `hadal " + best + "`?");
}

int run(const std::vector<std::string>& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    print_help();
    return args.empty() ? 64 : 0;
  }
  if (args[0] == "--version") {
    std::printf("hadal %s\n", kVersion);
    return 0;
  }
  for (const Command* c : kCommands) {
    if (c->spec.command != args[0]) continue;
    const auto flags = config::Flags::parse_with_file(c->spec, std::span(args).subspan(1));
    if (!flags) return fail(flags.error());
    if (flags->help_wanted()) {
      std::fputs(config::help_text(c->spec).c_str(), stdout);
      return 0;
    }
    const Result<int> code = c->run(*flags);
    if (!code) return fail(code.error());
    return *code;
  }
  return fail(unknown_command(args[0]));
}

// A full disk behind standard output must not look like success.
int flushed(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  return fail(make_error(ErrorCode::resource_exhausted, "standard output cannot be written"));
}

}  // namespace
}  // namespace hadal::apps

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return hadal::apps::flushed(hadal::apps::run(std::vector<std::string>(argv + 1, argv + argc)));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "hadal: internal error: %s\n", e.what());
    return 70;
  }
}
