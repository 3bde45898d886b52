// `hadal quantize`: fewer bits per weight, and what that costs.

#include <cstdio>
#include <filesystem>
#include <optional>
#include <vector>

#include "apps/command.h"
#include "apps/open_model.h"
#include "apps/progress_line.h"
#include "apps/text_pieces.h"
#include "format/convert.h"
#include "json/json.h"
#include "model/model.h"
#include "model/score.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {.name = "MODEL", .help = "a model directory, a .safetensors or a .gguf file"},
};
constexpr Flag kFlags[] = {
    {.name = "type",
     .fallback = "q4_k_m",
     .help = "of most matrices; _m: more bits where errors hurt most",
     .choices = format::TypeMix::kNames},
    {.name = "out", .unit = "FILE.gguf", .help = "the file to write"},
    {.name = "tensor-type",
     .kind = Kind::list,
     .unit = "REGEX=TYPE",
     .help = "the type of the matrices whose name matches; may be repeated, the first counts"},
    {.name = "imatrix",
     .unit = "FILE",
     .help = "an importance matrix of the model, from `hadal imatrix`"},
    {.name = "allow-requantize",
     .kind = Kind::boolean,
     .help = "take a source that is quantized already"},
    {.name = "force", .kind = Kind::boolean, .help = "replace the file if it is there"},
    {.name = "report",
     .unit = "TEXTFILE",
     .help = "compare the result with the source on a text: KL divergence, same first choice, "
             "perplexity"},
    {.name = "report-tokens",
     .kind = Kind::integer,
     .fallback = "4096",
     .unit = "TOKENS",
     .help = "how much of the text, in pieces of 512; 0: all of it",
     .min = 0,
     .max = 1e12},
    {.name = "json", .kind = Kind::boolean, .help = "print the result as JSON"},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "compute threads; 0: all",
     .min = 0,
     .max = 1024},
};
constexpr config::Spec kSpec{
    "quantize", "Writes a model with fewer bits per weight, as GGUF.", kPositionals, kFlags,
    "Vectors and routers stay f32. Below six bits the embedding and the head become q6_k. Rows "
    "that\n"
    "are not whole blocks become iq4_nl (for q4_k), q8_0 or f16. The report computes the source "
    "exactly\nand the result as run and serve do, both in memory at once."};

Status check_out(const std::string& out, bool force) {
  if (out.empty()) return invalid_argument("--out FILE.gguf is missing").about("out");
  if (!out.ends_with(".gguf")) {
    return invalid_argument("quantized models are GGUF files; " + out + " does not end in .gguf")
        .about("out");
  }
  std::error_code ec;
  if (!force && std::filesystem::exists(out, ec)) {
    return make_error(ErrorCode::conflict, out + " is there already")
        .about("out")
        .with_hint("name another file, or replace it with --force");
  }
  return {};
}

double bits_per_weight(uint64_t bytes, uint64_t numbers) {
  return numbers == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(numbers);
}

/// Bits of a weight, scales included, over the tensors that stand for numbers.
double bits_per_weight(const format::ConvertReport& r) {
  uint64_t bytes = 0, numbers = 0;
  for (const auto& [dtype, share] : r.types) {
    if (dtype == DType::i32) continue;
    bytes += share.bytes;
    numbers += share.numbers;
  }
  return bits_per_weight(bytes, numbers);
}

constexpr int64_t kPieceTokens = 512;

/// Both models over a text: the source as a reference computes it, the result as it is served.
Result<model::Divergence> compare(const format::Checkpoint& from, const std::string& out,
                                  const std::vector<std::vector<int32_t>>& pieces,
                                  const config::Flags& flags) {
  TRY(const auto to, format::Checkpoint::open(out));
  const int threads = static_cast<int>(flags.integer("threads"));
  TRY(const auto exact, open_device("auto", {.threads = threads, .exact = true}));
  TRY(const auto fast, open_device("auto", {.threads = threads}));
  TRY(const auto source, model::Model::load(from, *exact));
  TRY(const auto result, model::Model::load(*to, *fast));
  uint64_t tokens = 0;
  for (const auto& piece : pieces) tokens += piece.size();
  ProgressLine line("tokens");
  return model::compare_models({*source, *exact}, {*result, *fast}, pieces, [&](int64_t done) {
    return line.step(static_cast<uint64_t>(done), tokens);
  });
}

json::Value as_json(const model::Divergence& d) {
  json::Value v;
  v.set("tokens", d.tokens);
  v.set("kl_mean", d.kl_mean);
  v.set("kl_standard_error", d.kl_error);
  v.set("kl_99_percent", d.kl_99);
  v.set("same_top_share", d.same_top);
  v.set("perplexity_source", d.perplexity_of_source);
  v.set("perplexity", d.perplexity);
  return v;
}

void print(const model::Divergence& d) {
  std::printf("over %lld tokens:\n", static_cast<long long>(d.tokens));
  std::printf("  KL divergence to the source  %.5f (+- %.5f), 99%% of tokens below %.4f\n",
              d.kl_mean, d.kl_error, d.kl_99);
  std::printf("  same first choice            %.2f%%\n", 100 * d.same_top);
  std::printf("  perplexity                   %.4f, of the source %.4f\n", d.perplexity,
              d.perplexity_of_source);
}

json::Value as_json(const format::Checkpoint& from, const std::string& out,
                    const format::ConvertReport& r) {
  json::Value v;
  v.set("source", from.name());
  v.set("file", out);
  v.set("tensors", static_cast<int64_t>(r.tensors));
  v.set("source_bytes", static_cast<int64_t>(from.bytes()));
  v.set("file_bytes", static_cast<int64_t>(r.bytes));
  v.set("bits_per_weight", bits_per_weight(r));
  json::Value types = json::Object{};
  for (const auto& [dtype, share] : r.types) {
    json::Value row;
    row.set("tensors", static_cast<int64_t>(share.tensors));
    row.set("weights", static_cast<int64_t>(share.numbers));
    row.set("bytes", static_cast<int64_t>(share.bytes));
    types.set(dtype_name(dtype), std::move(row));
  }
  v.set("types", std::move(types));
  json::Array notes;
  for (const std::string& note : r.notes) notes.emplace_back(note);
  v.set("notes", std::move(notes));
  return v;
}

void print(const format::Checkpoint& from, const std::string& out, const format::ConvertReport& r) {
  for (const std::string& note : r.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  std::printf("%s: %llu tensors, %s (%s: %s), %.2f bits per weight\n", out.c_str(),
              static_cast<unsigned long long>(r.tensors), format_bytes(r.bytes).c_str(),
              from.name().c_str(), format_bytes(from.bytes()).c_str(), bits_per_weight(r));
  for (const auto& [dtype, share] : r.types) {
    std::printf("  %-8s %6llu tensors %12s\n", std::string(dtype_name(dtype)).c_str(),
                static_cast<unsigned long long>(share.tensors), format_bytes(share.bytes).c_str());
  }
}

Result<int> run(const config::Flags& flags) {
  const std::string& out = flags.text("out");
  TRY_VOID(check_out(out, flags.boolean("force")));
  TRY(const format::TypeMix mix,
      format::TypeMix::create(flags.text("type"), flags.list("tensor-type")));
  std::optional<format::ImportanceMatrix> importance;
  if (!flags.text("imatrix").empty()) {
    TRY(importance, format::ImportanceMatrix::open(flags.text("imatrix")));
  }
  TRY(const auto checkpoint, open_checkpoint(flags.positional(0)));
  // Read first: a wrong path should not show after hours of work.
  std::vector<std::vector<int32_t>> pieces;
  if (!flags.text("report").empty()) {
    TRY(pieces, text_pieces(*checkpoint, flags.text("report"), kPieceTokens,
                            flags.integer("report-tokens")));
  }
  format::ConvertReport report;
  {
    ProgressLine line;
    format::ConvertOptions options;
    options.mix = &mix;
    options.importance = importance ? &*importance : nullptr;
    options.requantize = flags.boolean("allow-requantize");
    options.threads = static_cast<int>(flags.integer("threads"));
    options.progress = [&](uint64_t done, uint64_t total) { return line.step(done, total); };
    TRY(report, format::convert(*checkpoint, out, options));
  }
  const bool as_text = !flags.boolean("json");
  if (as_text) print(*checkpoint, out, report);
  json::Value value = as_json(*checkpoint, out, report);
  if (!pieces.empty()) {
    auto divergence = compare(*checkpoint, out, pieces, flags);
    if (!divergence) return std::move(divergence).error().in(out + " is written, but not compared");
    value.set("report", as_json(*divergence));
    if (as_text) print(*divergence);
  }
  if (!as_text) std::printf("%s\n", json::dump(value, json::Style::pretty).c_str());
  return 0;
}

}  // namespace

extern const Command kQuantizeCommand;
const Command kQuantizeCommand{kSpec, run};

}  // namespace hadal::apps
