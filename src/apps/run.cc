// `hadal run`: a conversation in the terminal, or one answer for a pipe.

#include <unistd.h>

#include <cstdio>
#include <string>

#include "apps/line_editor.h"
#include "apps/open_model.h"
#include "apps/serving_flags.h"
#include "apps/terminal.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "engine/local_backend.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;
using engine_api::Message;
using engine_api::Role;

constexpr config::Positional kPositionals[] = {
    {"MODEL", "a checkpoint; the built-in demo model when absent", false, false}};
constexpr Flag kFlags[] = {
    {.name = "prompt",
     .unit = "TEXT",
     .help = "ask once, print the answer, exit; standard input when it is a pipe",
     .letter = 'p'},
    {.name = "system", .unit = "TEXT", .help = "system message"},
    {.name = "max-tokens",
     .kind = Kind::integer,
     .fallback = "0",
     .unit = "TOKENS",
     .help = "longest answer; 0: as long as the context",
     .min = 0,
     .max = 1 << 24},
    {.name = "temperature",
     .kind = Kind::number,
     .fallback = "0.6",
     .help = "0: always the most likely token",
     .min = 0,
     .max = 100},
    {.name = "top-p",
     .kind = Kind::number,
     .fallback = "0.95",
     .help = "keep the most likely tokens of this share",
     .min = 1e-9,
     .max = 1},
    {.name = "top-k",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "keep this many tokens; 0: all",
     .min = 0,
     .max = 1 << 24},
    {.name = "min-p",
     .kind = Kind::number,
     .fallback = "0",
     .help = "keep tokens this likely relative to the best",
     .min = 0,
     .max = 0.999999},
    {.name = "repetition-penalty",
     .kind = Kind::number,
     .fallback = "1",
     .help = "above 1: avoid what was said",
     .min = 1e-9,
     .max = 100},
    {.name = "seed",
     .kind = Kind::integer,
     .fallback = "-1",
     .help = "same seed, same text; -1: another each time",
     .min = -1,
     .max = 9.2e18},
    {.name = "thinking",
     .fallback = "auto",
     .help = "let the model reason first",
     .choices = "auto|on|off"},
    {.name = "raw", .kind = Kind::boolean, .help = "continue the text without a chat format"},
    HADAL_MODEL_FLAGS,
};
constexpr config::Spec kSpec{
    "run", "Chats in the terminal, or answers once with -p.", kPositionals, kFlags,
    "In a conversation: /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves."};

constexpr const char* kHelp =
    "/new          forget the conversation\n"
    "/system TEXT  set the system message and start anew\n"
    "/think on|off|auto\n"
    "/exit         leave (as does Ctrl-D)\n"
    "Ctrl-C stops an answer. End a line with \\ to go on writing on the next.\n";

struct Session {
  engine::LocalBackend& backend;
  engine_api::Chat chat;
  engine_api::SamplingParams sampling;
  engine_api::StopParams stop;
  bool raw = false;
  bool color = false;
};

engine_api::Thinking thinking_of(const std::string& text) {
  if (text == "on") return engine_api::Thinking::on;
  return text == "off" ? engine_api::Thinking::off : engine_api::Thinking::automatic;
}

// Asks and prints the answer as it comes. Errors: what the backend says.
Result<TerminalSink::Answer> ask(Session& s, const std::string& text, InterruptGuard& interrupts) {
  engine_api::Request request;
  if (s.raw) {
    request.prompt = engine_api::TextPrompt{text, {}, false};
  } else {
    s.chat.messages.push_back({.role = Role::user, .content = text});
    request.prompt = s.chat;
  }
  request.sampling = s.sampling;
  request.stop = s.stop;
  auto sink = std::make_shared<TerminalSink>(s.color);
  const auto id = s.backend.submit(std::move(request), sink);
  if (!id) {
    if (!s.raw) s.chat.messages.pop_back();
    return id.error();
  }
  TerminalSink::Answer answer = sink->wait([&] {
    if (interrupts.take()) s.backend.cancel(*id);
  });
  if (answer.error) {
    if (!s.raw) s.chat.messages.pop_back();
    return *answer.error;
  }
  std::printf("\n");
  std::fflush(stdout);
  if (!s.raw)
    s.chat.messages.push_back({.role = Role::assistant,
                               .content = answer.content,
                               .reasoning_content = answer.reasoning});
  return answer;
}

void forget(Session& s) {
  std::erase_if(s.chat.messages, [](const Message& m) { return m.role != Role::system; });
}

// Whether the conversation goes on.
bool command(Session& s, const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  if (name == "/exit" || name == "/quit" || name == "/bye") return false;
  if (name == "/new") {
    forget(s);
  } else if (name == "/system") {
    s.chat.messages.clear();
    if (!rest.empty()) s.chat.messages.push_back({.role = Role::system, .content = rest});
  } else if (name == "/think" && (rest == "on" || rest == "off" || rest == "auto")) {
    s.chat.thinking = thinking_of(rest);
  } else {
    if (name != "/help") std::printf("There is no command %s here.\n", for_terminal(line).c_str());
    std::printf("%s", kHelp);
  }
  return true;
}

// What a person says next; false when they leave. Ctrl-C drops what was typed.
bool read_turn(std::string& text, LineEditor& editor) {
  text.clear();
  while (true) {
    auto line = editor.read(text.empty() ? ">>> " : "... ");
    if (!line) {
      std::printf("\n");
      if (editor.ended()) return false;
      text.clear();
      continue;
    }
    text += *line;
    if (!text.ends_with('\\')) {
      editor.remember(text);
      return true;
    }
    text.back() = '\n';
  }
}

int converse(Session& s, InterruptGuard& interrupts) {
  std::printf("%s on %s. /help lists the commands.\n", s.backend.model().id.c_str(),
              s.backend.model().device->description().c_str());
  LineEditor editor;
  for (std::string line; read_turn(line, editor);) {
    interrupts.take();
    if (line.empty()) continue;
    if (line[0] == '/') {
      if (!command(s, line)) break;
      continue;
    }
    const auto answer = ask(s, to_valid_utf8(line), interrupts);
    if (answer) continue;
    const Error& e = answer.error();
    const bool full = e.code == ErrorCode::context_length_exceeded;
    std::fprintf(stderr, "hadal: %s\n",
                 full ? "the conversation fills the model's context; /new begins another"
                      : for_terminal(e.to_string()).c_str());
  }
  return 0;
}

Result<std::string> read_stdin() {
  constexpr size_t kTextBytesMax = 64 << 20;
  std::string text;
  char block[1 << 16];
  while (const size_t n = std::fread(block, 1, sizeof block, stdin)) {
    text.append(block, n);
    if (text.size() > kTextBytesMax) return too_large("standard input is larger than 64 MiB");
  }
  return text;
}

Result<int> run(const config::Flags& flags) {
  std::string prompt = flags.text("prompt");
  const bool piped = isatty(STDIN_FILENO) == 0;
  const bool once = flags.given("prompt") || piped;
  if (piped && (!flags.given("prompt") || prompt == "-")) {
    TRY(prompt, read_stdin());
  }
  if (once && prompt.empty()) return invalid_argument("the prompt is empty").about("prompt");
  TRY(auto model, load_for_answers(flags.positional(0), flags));
  const SystemClock clock;
  MetricsRegistry metrics;
  engine::LocalBackend backend(std::move(model), {.timeout_ms_max = int64_t{24} * 3600 * 1000},
                               clock, metrics);

  Session s{backend, {}, {}, {}, false, false};
  s.raw = flags.boolean("raw");
  s.color = isatty(STDOUT_FILENO) == 1;
  s.chat.thinking = thinking_of(flags.text("thinking"));
  if (!flags.text("system").empty())
    s.chat.messages.push_back({.role = Role::system, .content = flags.text("system")});
  s.sampling.temperature = flags.number("temperature");
  s.sampling.top_p = flags.number("top-p");
  s.sampling.top_k = static_cast<int>(flags.integer("top-k"));
  s.sampling.min_p = flags.number("min-p");
  s.sampling.repetition_penalty = flags.number("repetition-penalty");
  if (flags.integer("seed") >= 0) s.sampling.seed = static_cast<uint64_t>(flags.integer("seed"));
  if (flags.integer("max-tokens") > 0) s.stop.max_tokens = flags.integer("max-tokens");

  InterruptGuard interrupts;
  if (!once) return converse(s, interrupts);
  TRY(const auto answer, ask(s, to_valid_utf8(prompt), interrupts));
  return answer.finished.reason == engine_api::FinishReason::cancelled
             ? error_class(ErrorCode::cancelled).exit_code
             : 0;
}

}  // namespace

extern const Command kRunCommand;
const Command kRunCommand{kSpec, run};

}  // namespace hadal::apps
