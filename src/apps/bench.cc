// `hadal bench`: how fast a model reads a prompt and writes an answer here, and how much of the
// memory bandwidth that is.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <vector>

#include "apps/command.h"
#include "apps/open_model.h"
#include "base/rng.h"
#include "base/units.h"
#include "json/json.h"
#include "kernels/bandwidth.h"
#include "kvcache/kv_cache.h"
#include "model/model.h"
#include "model/packed_cache.h"
#include "model/step_batch.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {"MODEL", "a checkpoint (see `hadal synth`); the built-in demo model when absent", false,
     false}};
constexpr Flag kFlags[] = {
    {.name = "prefill-tokens",
     .kind = Kind::integer,
     .fallback = "256",
     .unit = "TOKENS",
     .help = "length of the prompt",
     .min = 1,
     .max = 1 << 20},
    {.name = "decode-tokens",
     .kind = Kind::integer,
     .fallback = "32",
     .unit = "TOKENS",
     .help = "length of the answer",
     .min = 1,
     .max = 1 << 20},
    {.name = "sequences",
     .kind = Kind::integer,
     .fallback = "1",
     .help = "answers that are written at once, each after a prompt of its own",
     .min = 1,
     .max = 1024},
    {.name = "repeat",
     .kind = Kind::integer,
     .fallback = "3",
     .help = "runs; the best counts",
     .min = 1,
     .max = 1000},
    {.name = "kv-dtype",
     .fallback = "f16",
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
    {.name = "packed-cache",
     .kind = Kind::boolean,
     .fallback = "false",
     .help = "read the packed weights from the file beside the model; made when absent"},
    {.name = "json", .kind = Kind::boolean, .help = "print one JSON object"},
};
constexpr config::Spec kSpec{
    "bench", "Measures prefill and decode speed, and the share of the read bandwidth.",
    kPositionals, kFlags,
    "The read bandwidth is measured between the runs: the best of plain and prefetching reads by "
    "all threads.\n"
    "decode_read_gb_per_s counts the weights and cached rows that a decode step must read. With\n"
    "--sequences N the rates are those of all sequences together, and the bytes of a mixture of\n"
    "experts are a lower bound: other sequences may want other experts."};

struct Measured {
  double prefill_s = 1e30;
  double decode_s = 1e30;
  double bandwidth_gb_per_s = 0;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Sequences of random tokens, each with pages of its own, that take their steps together.
class Runner {
 public:
  static Result<Runner> create(model::Model& model, kernels::Device& device, int64_t sequences,
                               int64_t tokens, DType kv_dtype) {
    const int64_t pages = ceil_div(tokens, model.kv_layout().page_tokens());
    TRY(auto kv, kvcache::KvCache::create(model.kv_layout(), device, kv_dtype, pages * sequences,
                                          sequences));
    const auto floats = static_cast<size_t>(sequences * model.config().vocab);
    TRY(auto logits, device.allocate(floats * sizeof(float)));
    Runner r(model, device, std::move(kv), std::move(logits));
    r.host_.resize(floats);
    r.ids_.resize(static_cast<size_t>(tokens));
    Rng rng(1);
    const auto vocab = static_cast<uint64_t>(model.config().vocab);
    for (int32_t& id : r.ids_) id = static_cast<int32_t>(rng.next_below(vocab));
    r.pages_.resize(static_cast<size_t>(pages * sequences));
    std::iota(r.pages_.begin(), r.pages_.end(), 0);
    for (int64_t i = 0; i < sequences; ++i) {
      r.step_.push_back({.block_table = std::span<const int32_t>(r.pages_).subspan(
                             static_cast<size_t>(i * pages), static_cast<size_t>(pages)),
                         .slot = static_cast<int32_t>(i)});
    }
    return r;
  }

  // Computes tokens [past, past + count) of `sequences`.
  Status step(std::span<model::StepSequence> sequences, int64_t past, int64_t count) {
    for (model::StepSequence& s : sequences) {
      s.tokens = std::span<const int32_t>(ids_).subspan(static_cast<size_t>(past),
                                                        static_cast<size_t>(count));
      s.past = past;
    }
    TRY_VOID(batch_.set(*device_, sequences));
    const int64_t vocab = model_->config().vocab;
    const int64_t rows = batch_.logit_count();
    model_->forward(batch_.view(), kv_.views(), batch_.logit_rows(),
                    {logits_.data(), device_->activation_dtype(), rows, vocab, vocab});
    device_->copy_to_host(host_.data(), logits_.data(),
                          static_cast<size_t>(rows * vocab) * sizeof(float));
    return {};
  }

  std::span<model::StepSequence> all() { return step_; }

 private:
  Runner(model::Model& model, kernels::Device& device, kvcache::KvCache kv, Buffer logits)
      : model_(&model), device_(&device), kv_(std::move(kv)), logits_(std::move(logits)) {}

  model::Model* model_;
  kernels::Device* device_;
  kvcache::KvCache kv_;
  Buffer logits_;
  std::vector<float> host_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> pages_;
  std::vector<model::StepSequence> step_;
  model::StepBatch batch_;
};

Result<Measured> measure(Runner& runner, const model::Model& model, const config::Flags& flags) {
  const int64_t prefill = flags.integer("prefill-tokens");
  const int64_t decode = flags.integer("decode-tokens");
  const int64_t sequences = flags.integer("sequences");
  Measured best;
  for (int64_t run = 0; run < flags.integer("repeat"); ++run) {
    double start = seconds();
    for (auto& one : runner.all()) {
      for (int64_t at = 0; at < prefill;) {
        const int64_t n = std::min(prefill - at, model.step_tokens_max());
        TRY_VOID(runner.step({&one, 1}, at, n));
        at += n;
      }
    }
    const double prefill_s = seconds() - start;
    start = seconds();
    for (int64_t i = 0; i < decode; ++i) TRY_VOID(runner.step(runner.all(), prefill + i, 1));
    const double decode_s = seconds() - start;
    best.prefill_s = std::min(best.prefill_s, prefill_s);
    best.decode_s = std::min(best.decode_s, decode_s);
    const int threads = static_cast<int>(flags.integer("threads"));
    best.bandwidth_gb_per_s =
        std::max(best.bandwidth_gb_per_s, kernels::measure_read_gb_per_s(threads));
    std::fprintf(stderr, "run %lld: prefill %.1f tok/s, decode %.2f tok/s\n",
                 static_cast<long long>(run + 1),
                 static_cast<double>(prefill * sequences) / prefill_s,
                 static_cast<double>(decode * sequences) / decode_s);
  }
  return best;
}

Result<int> run(const config::Flags& flags) {
  TRY(const auto checkpoint, open_checkpoint(flags.positional(0)));
  TRY(const auto device,
      open_device(flags.text("isa"), {.threads = static_cast<int>(flags.integer("threads"))}));
  const int64_t sequences = flags.integer("sequences");
  const model::LoadOptions options;
  TRY(const auto model,
      model::Model::load(*checkpoint, *device,
                         {.step_tokens_max = std::max(options.step_tokens_max, sequences)}));
  format::MappedFile packed;
  if (flags.boolean("packed-cache")) {
    const auto paths = model::packed_cache_paths(*checkpoint, user_cache_directory());
    TRY(packed, model::map_packed_weights(*checkpoint, *device, paths));
  }
  const int64_t prefill = flags.integer("prefill-tokens");
  const int64_t decode = flags.integer("decode-tokens");
  const DType kv_dtype = *kvcache::kv_dtype_from_name(flags.text("kv-dtype"));
  TRY(auto runner, Runner::create(*model, *device, sequences, prefill + decode, kv_dtype));
  TRY(const Measured m, measure(runner, *model, flags));
  const double context = static_cast<double>(prefill) + static_cast<double>(decode) / 2;
  const double bytes_per_step =
      static_cast<double>(model->decode_weight_bytes()) +
      static_cast<double>(sequences) * context *
          static_cast<double>(model->kv_layout().bytes_per_token(kv_dtype));
  const double steps_per_s = static_cast<double>(decode) / m.decode_s;
  const double prefill_rate = static_cast<double>(prefill * sequences) / m.prefill_s;
  const double decode_rate = steps_per_s * static_cast<double>(sequences);
  const double read = steps_per_s * bytes_per_step / 1e9;

  json::Value out;
  out.set("model", checkpoint->name());
  out.set("device", device->description());
  out.set("sequences", sequences);
  out.set("prefill_tokens", prefill);
  out.set("decode_tokens", decode);
  out.set("prefill_tok_per_s", prefill_rate);
  out.set("decode_tok_per_s", decode_rate);
  out.set("decode_bytes_per_step", static_cast<int64_t>(bytes_per_step));
  out.set("decode_read_gb_per_s", read);
  out.set("read_bandwidth_gb_per_s", m.bandwidth_gb_per_s);
  out.set("read_bandwidth_percent", 100 * read / m.bandwidth_gb_per_s);
  if (flags.boolean("json")) {
    std::printf("%s\n", json::dump(out, json::Style::pretty).c_str());
    return 0;
  }
  std::printf("%s on %s\n", checkpoint->name().c_str(), device->description().c_str());
  std::printf("prefill  %10.1f tok/s  (%lld tokens, sequence by sequence: %lld)\n", prefill_rate,
              static_cast<long long>(prefill), static_cast<long long>(sequences));
  std::printf("decode   %10.2f tok/s  (%lld tokens, %lld at once, %s per step)\n", decode_rate,
              static_cast<long long>(decode), static_cast<long long>(sequences),
              format_bytes(static_cast<uint64_t>(bytes_per_step)).c_str());
  std::printf("reads    %10.1f GB/s, %.0f%% of the %.1f GB/s this machine reads at best\n", read,
              100 * read / m.bandwidth_gb_per_s, m.bandwidth_gb_per_s);
  return 0;
}

}  // namespace

extern const Command kBenchCommand;
const Command kBenchCommand{kSpec, run};

}  // namespace hadal::apps
