// `hadal imatrix`: which channels of a model's weights matter, measured on a text.

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "apps/command.h"
#include "apps/open_model.h"
#include "apps/progress_line.h"
#include "apps/text_pieces.h"
#include "json/json.h"
#include "model/importance.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {.name = "MODEL", .help = "a model directory, a .safetensors or a .gguf file"},
};
constexpr Flag kFlags[] = {
    {.name = "text",
     .unit = "FILE",
     .help = "text of the kind that the model will read and write; special tokens count"},
    {.name = "out", .unit = "FILE", .help = "the importance matrix to write"},
    {.name = "piece-tokens",
     .kind = Kind::integer,
     .fallback = "512",
     .unit = "TOKENS",
     .help = "the text is read in pieces of this length",
     .min = 2,
     .max = 65536},
    {.name = "tokens-max",
     .kind = Kind::integer,
     .fallback = "0",
     .unit = "TOKENS",
     .help = "read no more than this; 0: the whole text",
     .min = 0,
     .max = 1e12},
    {.name = "force", .kind = Kind::boolean, .help = "replace the file if it is there"},
    {.name = "json", .kind = Kind::boolean, .help = "print the result as JSON"},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "compute threads; 0: all",
     .min = 0,
     .max = 1024},
};
constexpr config::Spec kSpec{
    "imatrix", "Measures on a text which channels of a model's weights matter.", kPositionals,
    kFlags,
    "`hadal quantize --imatrix FILE` then keeps the errors small where they count. 50,000 tokens "
    "and\nmore make a good matrix; of a mixture of experts, more. llama.cpp reads and writes the "
    "same\nfiles (GGUF)."};

Status check_flags(const config::Flags& flags) {
  if (flags.text("text").empty()) return invalid_argument("--text FILE is missing").about("text");
  const std::string& out = flags.text("out");
  if (out.empty()) return invalid_argument("--out FILE is missing").about("out");
  std::error_code ec;
  if (!flags.boolean("force") && std::filesystem::exists(out, ec)) {
    return make_error(ErrorCode::conflict, out + " is there already")
        .about("out")
        .with_hint("name another file, or replace it with --force");
  }
  return {};
}

Result<int> run(const config::Flags& flags) {
  TRY_VOID(check_flags(flags));
  const std::string& out = flags.text("out");
  TRY(const auto checkpoint, open_checkpoint(flags.positional(0)));
  TRY(const auto pieces, text_pieces(*checkpoint, flags.text("text"), flags.integer("piece-tokens"),
                                     flags.integer("tokens-max")));
  uint64_t tokens = 0;
  for (const auto& piece : pieces) tokens += piece.size();
  TRY(const auto device,
      open_device("auto", {.threads = static_cast<int>(flags.integer("threads")), .exact = true}));
  model::Importance importance;
  {
    ProgressLine line("tokens");
    TRY(importance, model::measure_importance(*checkpoint, *device, pieces, [&](int64_t done) {
          return line.step(static_cast<uint64_t>(done), tokens);
        }));
  }
  format::ImportanceMatrix& matrix = importance.matrix;
  matrix.datasets = {std::filesystem::path(flags.text("text")).filename().string()};
  matrix.chunks = static_cast<uint32_t>(pieces.size());
  matrix.chunk_tokens = static_cast<uint32_t>(flags.integer("piece-tokens"));
  TRY_VOID(matrix.write(out));
  if (flags.boolean("json")) {
    json::Value v;
    v.set("file", out);
    v.set("entries", static_cast<int64_t>(matrix.entries().size()));
    v.set("tokens", static_cast<int64_t>(tokens));
    v.set("experts_unseen", importance.experts_unseen);
    std::printf("%s\n", json::dump(v, json::Style::pretty).c_str());
    return 0;
  }
  std::printf("%s: %zu matrices over %llu tokens\n", out.c_str(), matrix.entries().size(),
              static_cast<unsigned long long>(tokens));
  if (importance.experts_unseen > 0) {
    std::fprintf(stderr, "note: no token chose %lld of the experts; more text would help\n",
                 static_cast<long long>(importance.experts_unseen));
  }
  return 0;
}

}  // namespace

extern const Command kImatrixCommand;
const Command kImatrixCommand{kSpec, run};

}  // namespace hadal::apps
