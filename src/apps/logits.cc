// `hadal logits`: the way to prove a checkpoint.

#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "apps/command.h"
#include "apps/open_model.h"
#include "format/output_file.h"
#include "format/safetensors_writer.h"
#include "model/model.h"
#include "model/score.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr Flag kFlags[] = {
    {.name = "model",
     .unit = "PATH",
     .help = "the checkpoint; the built-in demo model when absent"},
    {.name = "ids", .unit = "1,2,3", .help = "token ids"},
    {.name = "ids-file",
     .unit = "FILE",
     .help = "token ids in a file, separated by commas or spaces"},
    {.name = "out",
     .unit = "FILE",
     .help = "where to write the tensor `logits` [T, V] f32 (safetensors)"},
    {.name = "chunk",
     .kind = Kind::integer,
     .unit = "TOKENS",
     .help = "tokens per step; 0: as many as fit",
     .min = 0,
     .max = 1 << 20},
    {.name = "kv-dtype",
     .fallback = "f32",
     .help = "of the KV cache",
     .choices = kvcache::kKvDTypeNames},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "compute threads; 0: all",
     .min = 0,
     .max = 1024},
    {.name = "isa",
     .fallback = "auto",
     .help = "instruction set",
     .choices = "auto|ref|avx2|avx512"},
    {.name = "fast",
     .kind = Kind::boolean,
     .help = "compute as run and serve do: activations rounded to 8 bits for quantized weights"},
};
constexpr config::Spec kSpec{
    "logits", "Writes the logits of given tokens: the way to prove a checkpoint.", {}, kFlags};

constexpr std::streamoff kIdsFileBytesMax = 64 << 20;

Result<std::vector<int32_t>> parse_ids(std::string_view text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    while (at != end && (*at == ',' || *at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
      ++at;
    if (at == end) break;
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc()) {
      return invalid_argument(
                 "token id " + std::to_string(ids.size() + 1) + " is not a number that fits: '" +
                 std::string(at, std::min<size_t>(16, static_cast<size_t>(end - at))) + "'")
          .about("ids");
    }
    ids.push_back(id);
    at = next;
  }
  if (ids.empty()) return invalid_argument("no token ids: give --ids or --ids-file").about("ids");
  return ids;
}

Result<std::vector<int32_t>> ids_of(const config::Flags& flags) {
  const std::string& path = flags.text("ids-file");
  if (path.empty()) return parse_ids(flags.text("ids"));
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return not_found("cannot read " + path).about("ids-file");
  if (file.tellg() > kIdsFileBytesMax)
    return too_large(path + " is larger than 64 MiB").about("ids-file");
  file.seekg(0);
  std::stringstream text;
  text << file.rdbuf();
  return parse_ids(text.str());
}

Result<int> run(const config::Flags& flags) {
  if (flags.text("out").empty()) return invalid_argument("--out FILE is missing").about("out");
  TRY(const std::vector<int32_t> ids, ids_of(flags));
  TRY(const auto checkpoint, open_checkpoint(flags.text("model")));
  TRY(const auto device,
      open_device(flags.text("isa"), {.threads = static_cast<int>(flags.integer("threads")),
                                      .exact = !flags.boolean("fast")}));
  TRY(const auto model, model::Model::load(*checkpoint, *device));
  const int64_t vocab = model->config().vocab;
  const model::ScoreOptions options{
      .chunk = flags.integer("chunk"),
      .kv_dtype = *kvcache::kv_dtype_from_name(flags.text("kv-dtype"))};
  const Shape shape{static_cast<int64_t>(ids.size()), vocab};
  format::SafetensorsWriter writer;
  TRY_VOID(writer.add_tensor("logits", DType::f32, shape));
  TRY(auto out, format::OutputFile::create(flags.text("out")));
  TRY_VOID(out.write(writer.header()));
  TRY_VOID(model::score_tokens(
      *model, *device, ids, options,
      [&](int64_t, std::span<const float> rows) { return out.write(std::as_bytes(rows)); }));
  TRY_VOID(out.commit());
  std::fprintf(stderr, "%s: logits [%zu, %lld] of %s on %s\n", flags.text("out").c_str(),
               ids.size(), static_cast<long long>(vocab), checkpoint->name().c_str(),
               device->description().c_str());
  return 0;
}

}  // namespace

extern const Command kLogitsCommand;
const Command kLogitsCommand{kSpec, run};

}  // namespace hadal::apps
