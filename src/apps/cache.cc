// `hadal cache build`: computes prompts once, for servers to begin with.

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "apps/command.h"
#include "apps/progress_line.h"
#include "apps/serving_flags.h"
#include "engine/prompt_tokens.h"
#include "engine/warm_up.h"
#include "format/mapped_file.h"
#include "json/json.h"
#include "protocol/openai_request.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr size_t kPromptsBytesMax = 256 << 20;

constexpr config::Positional kPositionals[] = {
    {.name = "build", .help = "what to do; `build` is all there is"},
    {.name = "MODEL",
     .help = "a checkpoint; the built-in demo model when absent",
     .required = false},
};
constexpr Flag kFlags[] = {
    {.name = "prompts",
     .unit = "FILE",
     .help = "a request of the API per line: {\"messages\": [...]} or {\"prompt\": \"...\"}"},
    {.name = "out", .unit = "IMAGE", .help = "the file to write"},
    {.name = "sign",
     .unit = "KEY.pem",
     .help = "sign it with this private key (Ed25519): IMAGE.sig beside it"},
    {.name = "json", .kind = Kind::boolean, .help = "print the result as JSON"},
    HADAL_MODEL_FLAGS,
};
constexpr config::Spec kSpec{
    "cache", "Computes prompts once, for `serve --warm`.", kPositionals, kFlags,
    "Whole pages of tokens are kept. A prompt that begins with a kept one is answered as if it "
    "had\n"
    "been asked before. The server must run the same model with the same --kv-dtype. Do not put\n"
    "into it what a client should not notice: kept prompts serve everybody."};

Result<engine_api::Request> parse_line(std::string_view line) {
  TRY(const json::Value value, json::parse(line));
  const bool chat = value.find("messages") != nullptr;
  TRY(auto parsed,
      chat ? protocol::parse_chat_request(line) : protocol::parse_completion_request(line));
  return std::move(parsed.request);
}

// The tokens of every line's prompt.
Result<std::vector<std::vector<int32_t>>> read_prompts(const engine::LoadedModel& model,
                                                       const std::string& path) {
  TRY(const std::string text, format::read_text_file(path, kPromptsBytesMax));
  std::vector<std::vector<int32_t>> prompts;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = path + ", line " + std::to_string(number);
    const auto request = parse_line(line);
    if (!request) return Error(request.error()).in(place);
    auto made = engine::make_prompts(model, *request);
    if (!made) return std::move(made).error().in(place);
    for (auto& prompt : *made) prompts.push_back(std::move(prompt.ids));
  }
  if (prompts.empty()) return invalid_argument(path + " has no prompts").about("prompts");
  return prompts;
}

Result<int> run(const config::Flags& flags) {
  if (flags.positional(0) != "build") {
    return invalid_argument("'" + flags.positional(0) + "' is nothing that `hadal cache` does")
        .with_hint("`hadal cache build MODEL --prompts FILE --out IMAGE`");
  }
  for (const char* name : {"prompts", "out"}) {
    if (flags.text(name).empty())
      return invalid_argument(std::string("--") + name + " is missing").about(name);
  }
  TRY(const auto model, load_for_answers(flags.positional(1), flags));
  TRY(const auto prompts, read_prompts(*model, flags.text("prompts")));
  uint64_t total = 0;
  uint64_t done = 0;
  for (const auto& p : prompts) total += p.size();
  {
    ProgressLine line("tokens");
    for (const auto& p : prompts) {
      const uint64_t before = done;
      TRY_VOID(engine::warm_prompt(*model, p, [&](int64_t n) {
        done += static_cast<uint64_t>(n);
        return line.step(done, total);
      }));
      done = before + p.size();  // what was known already counts too
    }
  }
  const std::string& out = flags.text("out");
  TRY_VOID(engine::save_warm_image(*model, out, flags.text("sign")));
  const int64_t pages = model->prefixes->shared_pages();
  if (flags.boolean("json")) {
    json::Value v;
    v.set("file", out);
    v.set("prompts", static_cast<int64_t>(prompts.size()));
    v.set("prompt_tokens", static_cast<int64_t>(total));
    v.set("kept_tokens", pages * model->kv->page_tokens());
    std::printf("%s\n", json::dump(v).c_str());
  } else {
    std::printf("%s: %zu prompts, %lld tokens kept\n", out.c_str(), prompts.size(),
                static_cast<long long>(pages * model->kv->page_tokens()));
  }
  return 0;
}

}  // namespace

extern const Command kCacheCommand;
const Command kCacheCommand{kSpec, run};

}  // namespace hadal::apps
