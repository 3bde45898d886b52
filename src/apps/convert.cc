// `hadal convert`: between safetensors and GGUF, with quantisation.

#include "format/convert.h"

#include <cstdio>

#include "apps/checkpoint_out.h"
#include "apps/command.h"
#include "apps/open_model.h"
#include "apps/progress_line.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {.name = "MODEL", .help = "a model directory, a .safetensors or a .gguf file"},
};
constexpr Flag kFlags[] = {
    HADAL_CHECKPOINT_OUT_FLAGS,
    {.name = "dtype",
     .fallback = "q8_0",
     .help = "what matrices become; in safetensors bf16 when not given",
     .choices = "f32|f16|bf16|q8_0|q6_k|q5_k|q4_k|q4_0|iq4_nl|mxfp4"},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "compute threads; 0: all",
     .min = 0,
     .max = 1024},
};
constexpr config::Spec kSpec{
    "convert", "Converts a checkpoint between safetensors and GGUF, with quantisation.",
    kPositionals, kFlags,
    "Vectors and routers stay f32. With q5_k, q4_k and q4_0 the embedding and the head become "
    "q6_k.\n"
    "Rows that are not whole blocks become q8_0 or f16. FP8 and FP4 weights are multiplied out."};

Result<int> run(const config::Flags& flags) {
  TRY(const CheckpointOut out, checkpoint_out(flags));
  TRY(const auto checkpoint, open_checkpoint(flags.positional(0)));
  ProgressLine line;
  format::ConvertOptions options;
  options.to = out.kind;
  options.dtype = out.dtype;
  options.threads = static_cast<int>(flags.integer("threads"));
  options.progress = [&](uint64_t done, uint64_t total) { return line.step(done, total); };
  TRY(const format::ConvertReport report, format::convert(*checkpoint, out.path, options));
  for (const std::string& note : report.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  std::printf("%s: %llu tensors, %s\n", out.path.c_str(),
              static_cast<unsigned long long>(report.tensors), format_bytes(report.bytes).c_str());
  return 0;
}

}  // namespace

extern const Command kConvertCommand;
const Command kConvertCommand{kSpec, run};

}  // namespace hadal::apps
