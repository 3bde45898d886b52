#pragma once

#include <memory>

#include "apps/command.h"
#include "engine/loaded_model.h"
#include "kvcache/kv_layout.h"

namespace hadal::apps {

/// Opens the checkpoint and the device that the flags name and loads the model for answering. The
/// flags are those of HADAL_MODEL_FLAGS.
/// `sequences_max`: answers at a time.
Result<std::unique_ptr<engine::LoadedModel>> load_for_answers(const std::string& path,
                                                              const config::Flags& flags,
                                                              int64_t sequences_max = 1);

/// Reads "HOST:PORT", "[v6]:PORT" or ":PORT". Errors: invalid_argument.
struct Address {
  std::string host;
  uint16_t port = 0;
};
Result<Address> parse_address(const std::string& text);

}  // namespace hadal::apps

// The settings that every answering command has.
#define HADAL_MODEL_FLAGS \
  {.name = "prompt-format", \
   .unit = "NAME", \
   .help = "how a conversation is written; detected when absent"}, \
      {.name = "context-tokens-max", \
       .kind = config::Kind::integer, \
       .fallback = "0", \
       .unit = "TOKENS", \
       .help = "longest conversation; 0: the model's", \
       .min = 0, \
       .max = 1 << 24}, \
      {.name = "kv-cache-bytes-max", \
       .kind = config::Kind::integer, \
       .fallback = "0", \
       .unit = "BYTES", \
       .help = "memory for the KV cache; 0: whole contexts, at most a quarter of the machine", \
       .min = 0, \
       .max = 1e15}, \
      {.name = "kv-dtype", \
       .fallback = "f16", \
       .help = "of the KV cache; int8 and fp8 take about half the memory", \
       .choices = kvcache::kKvDTypeNames}, \
      {.name = "prefix-cache", \
       .kind = config::Kind::boolean, \
       .fallback = "true", \
       .help = "reuse what earlier prompts computed"}, \
      {.name = "step-tokens-max", \
       .kind = config::Kind::integer, \
       .fallback = "512", \
       .unit = "TOKENS", \
       .help = "prompt tokens computed at once", \
       .min = 1, \
       .max = 65536}, \
      {.name = "speculate", \
       .fallback = "auto", \
       .help = \
           "guess tokens ahead while that pays, from the text itself (ngram) or by the " \
           "model's draft layer (mtp); answers stay the same", \
       .choices = "auto|off|ngram|mtp"}, \
      {.name = "speculate-tokens-max", \
       .kind = config::Kind::integer, \
       .fallback = "7", \
       .unit = "TOKENS", \
       .help = "guesses of an answer in a step", \
       .min = 1, \
       .max = 32}, \
      {.name = "deterministic", \
       .kind = config::Kind::boolean, \
       .fallback = "false", \
       .help = "the same request gets the same answer, bit by bit, whatever else is computed"}, \
      {.name = "threads", \
       .kind = config::Kind::integer, \
       .fallback = "0", \
       .help = "compute threads; 0: all", \
       .min = 0, \
       .max = 1024}, \
      {.name = "isa", \
       .fallback = "auto", \
       .help = "instruction set", \
       .choices = "auto|ref|avx2|avx512"}, \
      {.name = "pack-weights", \
       .kind = config::Kind::boolean, \
       .fallback = "true", \
       .help = "copy weights into the order this CPU reads fastest: twice the speed and memory"}, \
      {.name = "packed-cache", \
       .kind = config::Kind::boolean, \
       .fallback = "false", \
       .help = "keep that copy in a file beside the model: later starts map it"}, \
      {.name = "log-level", \
       .fallback = "warn", \
       .help = "what is logged", \
       .choices = "debug|info|warn|error|off"}, \
  { \
    .name = "log-format", .fallback = "logfmt", .help = "form of log lines", \
    .choices = "logfmt|ecs" \
  }
