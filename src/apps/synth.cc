// `hadal synth`: checkpoints of real shapes with random weights.

#include "format/synth.h"

#include <cstdio>

#include "apps/checkpoint_out.h"
#include "apps/command.h"
#include "apps/progress_line.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr Flag kFlags[] = {
    {.name = "like", .unit = "SHAPE", .help = "the model to resemble; --list shows all"},
    HADAL_CHECKPOINT_OUT_FLAGS,
    {.name = "dtype",
     .fallback = "q8_0",
     .help = "of matrices; in safetensors bf16 when not given; safetensors only: f8_e4m3 as the "
             "official checkpoints have it, i8 with a scale per row",
     .choices = "f32|f16|bf16|f8_e4m3|i8|q8_0|q6_k|q5_k|q4_k|q4_0|iq4_nl|mxfp4"},
    {.name = "layers",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "keep the first; 0: all",
     .min = 0,
     .max = 1024},
    {.name = "vocab",
     .kind = Kind::integer,
     .fallback = "0",
     .unit = "TOKENS",
     .help = "vocabulary; 0: the model's",
     .min = 0,
     .max = 1 << 20},
    {.name = "experts",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "routed experts; 0: the model's",
     .min = 0,
     .max = 4096},
    {.name = "draft-layers",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "multi-token prediction layers, for V3 and later",
     .min = 0,
     .max = 4},
    {.name = "seed",
     .kind = Kind::integer,
     .fallback = "1",
     .help = "of the random numbers",
     .min = 0},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "compute threads; 0: all",
     .min = 0,
     .max = 1024},
    {.name = "list", .kind = Kind::boolean, .help = "print the known shapes"},
};
constexpr config::Spec kSpec{
    "synth",
    "Writes a checkpoint of a real model's shape with random weights.",
    {},
    kFlags,
    "For measuring speed and memory where the real weights are not at hand."};

Result<int> run(const config::Flags& flags) {
  if (flags.boolean("list")) {
    for (const std::string_view name : format::synth_shapes()) {
      std::printf("%.*s\n", static_cast<int>(name.size()), name.data());
    }
    return 0;
  }
  if (flags.text("like").empty()) {
    return invalid_argument("--like SHAPE is missing")
        .about("like")
        .with_hint("`hadal synth --list` shows the shapes");
  }
  TRY(const CheckpointOut out, checkpoint_out(flags));
  ProgressLine line;
  const format::SynthOptions options{
      .shape = flags.text("like"),
      .to = out.kind,
      .dtype = out.dtype,
      .layers = flags.integer("layers"),
      .vocab = flags.integer("vocab"),
      .experts = flags.integer("experts"),
      .draft_layers = flags.integer("draft-layers"),
      .seed = static_cast<uint64_t>(flags.integer("seed")),
      .threads = static_cast<int>(flags.integer("threads")),
      .progress = [&](uint64_t done, uint64_t total) { return line.step(done, total); }};
  TRY(const format::ConvertReport report, format::synthesize(options, out.path));
  std::printf("%s: %llu tensors, %s\n", out.path.c_str(),
              static_cast<unsigned long long>(report.tensors), format_bytes(report.bytes).c_str());
  return 0;
}

}  // namespace

extern const Command kSynthCommand;
const Command kSynthCommand{kSpec, run};

}  // namespace hadal::apps
