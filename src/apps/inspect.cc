// `hadal inspect`: what a checkpoint is, what it needs, and what is wrong with it.

#include <cstdio>
#include <map>

#include "apps/command.h"
#include "apps/open_model.h"
#include "base/units.h"
#include "base/utf8.h"
#include "format/digest.h"
#include "format/model_size.h"
#include "format/tensor_list.h"
#include "model/config.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {.name = "MODEL",
     .help = "a model directory, a .safetensors or a .gguf file",
     .required = false}};
constexpr Flag kFlags[] = {
    {.name = "json", .kind = Kind::boolean, .help = "print JSON"},
    {.name = "tensors", .kind = Kind::boolean, .help = "list every tensor"},
    {.name = "sha256", .kind = Kind::boolean, .help = "print the digest of every file"},
    {.name = "deep",
     .kind = Kind::boolean,
     .help = "read every weight and look for NaN and infinity"},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "threads of --deep; 0: all",
     .min = 0,
     .max = 1024},
};
constexpr config::Spec kSpec{
    "inspect", "Shows what a checkpoint is, what it needs, and what is wrong with it.",
    kPositionals, kFlags, "The exit code is 65 when tensors are missing or damaged."};

constexpr int kExitDamaged = 65;  // EX_DATAERR of sysexits.h
constexpr int64_t kContexts[] = {4096, 32768, 131072, 1048576};

struct OfDType {
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

struct Report {
  std::string architecture;
  int64_t context_max = 0;
  format::ModelSize size;
  std::map<std::string_view, OfDType> dtypes;
  std::string tokenizer;  ///< "ok", or what is wrong
  std::vector<std::pair<std::string, std::string>> digests;
  std::vector<std::string> problems;
};

uint64_t kv_bytes(const format::ModelSize& size, int64_t context) {
  return size.kv_bytes_per_sequence + size.kv_bytes_per_token * static_cast<uint64_t>(context);
}

Result<Report> examine(const format::Checkpoint& c, const config::Flags& flags) {
  Report r;
  TRY(r.architecture, c.config().string_or("model_type", "unknown"));
  TRY(r.context_max, c.config().int_or("max_position_embeddings", 0));
  TRY(r.problems, format::tensor_problems(c));
  if (const auto model = model::read_model_config(c.config()); !model) {
    r.problems.push_back(model.error().message);
  }
  TRY(r.size, format::model_size(c));
  for (const format::CheckpointTensor& t : c.tensors()) {
    OfDType& d = r.dtypes[dtype_name(t.view.dtype)];
    ++d.tensors;
    d.bytes += static_cast<uint64_t>(t.view.bytes());
  }
  const auto tokenizer = c.tokenizer_source();
  r.tokenizer = tokenizer ? "ok" : tokenizer.error().message;
  if (flags.boolean("deep")) {
    const auto bad = format::tensors_not_finite(c, static_cast<int>(flags.integer("threads")));
    for (const std::string& name : bad) {
      r.problems.push_back("'" + name + "' has numbers that are not finite");
    }
  }
  if (flags.boolean("sha256")) {
    for (const auto& file : c.files()) {
      TRY(std::string digest, format::sha256_of_file(file));
      r.digests.emplace_back(file.string(), std::move(digest));
    }
  }
  return r;
}

json::Value as_json(const format::Checkpoint& c, const Report& r, bool tensors) {
  json::Value out;
  out.set("name", c.name());
  out.set("format", c.kind() == format::CheckpointKind::gguf ? "gguf" : "safetensors");
  out.set("architecture", r.architecture);
  out.set("parameters", static_cast<int64_t>(r.size.parameters));
  out.set("parameters_active", static_cast<int64_t>(r.size.parameters_active));
  out.set("file_bytes", static_cast<int64_t>(c.bytes()));
  out.set("weight_bytes", static_cast<int64_t>(r.size.weight_bytes));
  out.set("kv_bytes_per_token", static_cast<int64_t>(r.size.kv_bytes_per_token));
  out.set("kv_bytes_per_sequence", static_cast<int64_t>(r.size.kv_bytes_per_sequence));
  out.set("context_max", r.context_max);
  json::Value dtypes = json::Object{};
  for (const auto& [name, d] : r.dtypes) {
    json::Value row;
    row.set("tensors", static_cast<int64_t>(d.tensors));
    row.set("bytes", static_cast<int64_t>(d.bytes));
    dtypes.set(name, std::move(row));
  }
  out.set("dtypes", std::move(dtypes));
  json::Value digests = json::Object{};
  for (const auto& [file, digest] : r.digests) digests.set(file, digest);
  if (!r.digests.empty()) out.set("sha256", std::move(digests));
  out.set("tokenizer", r.tokenizer);
  json::Array list;
  for (const std::string& p : r.problems) list.emplace_back(p);
  out.set("problems", std::move(list));
  if (!tensors) return out;
  json::Array all;
  for (const format::CheckpointTensor& t : c.tensors()) {
    json::Value row;
    row.set("name", t.name);
    row.set("dtype", dtype_name(t.view.dtype));
    json::Array shape;
    for (int i = 0; i < t.view.shape.rank(); ++i) shape.emplace_back(t.view.shape[i]);
    row.set("shape", std::move(shape));
    all.push_back(std::move(row));
  }
  out.set("tensors", std::move(all));
  return out;
}

void print_memory(const Report& r) {
  std::printf("memory        weights %s\n", format_bytes(r.size.weight_bytes).c_str());
  std::vector<int64_t> contexts;
  for (const int64_t context : kContexts) {
    if (r.context_max == 0 || context < r.context_max) contexts.push_back(context);
  }
  if (r.context_max > 0) contexts.push_back(r.context_max);
  for (const int64_t context : contexts) {
    const uint64_t kv = kv_bytes(r.size, context);
    std::printf("              %7lld tokens: KV cache %10s, together %10s\n",
                static_cast<long long>(context), format_bytes(kv).c_str(),
                format_bytes(r.size.weight_bytes + kv).c_str());
  }
}

void print(const format::Checkpoint& c, const Report& r, bool tensors) {
  std::printf("%s\n", c.name().c_str());
  const std::string files =
      c.files().empty() ? "built in" : std::to_string(c.files().size()) + " file(s)";
  std::printf("format        %s, %s, %s\n",
              c.kind() == format::CheckpointKind::gguf ? "GGUF" : "safetensors", files.c_str(),
              format_bytes(c.bytes()).c_str());
  std::printf("architecture  %s, context %lld\n", for_terminal(r.architecture).c_str(),
              static_cast<long long>(r.context_max));
  std::printf("parameters    %s, %s active\n", format_count(r.size.parameters).c_str(),
              format_count(r.size.parameters_active).c_str());
  for (const auto& [name, d] : r.dtypes) {
    std::printf("dtype         %-8.*s %6llu tensors %12s\n", static_cast<int>(name.size()),
                name.data(), static_cast<unsigned long long>(d.tensors),
                format_bytes(d.bytes).c_str());
  }
  print_memory(r);
  std::printf("tokenizer     %s\n", for_terminal(r.tokenizer).c_str());
  for (const auto& [file, digest] : r.digests) {
    std::printf("sha256        %s  %s\n", digest.c_str(), file.c_str());
  }
  for (const format::CheckpointTensor& t : c.tensors()) {
    if (!tensors) break;
    std::printf("  %-64s %-8s %s\n", for_terminal(t.name).c_str(),
                std::string(dtype_name(t.view.dtype)).c_str(), t.view.shape.to_string().c_str());
  }
  for (const std::string& p : r.problems)
    std::printf("PROBLEM       %s\n", for_terminal(p).c_str());
  if (r.problems.empty()) std::printf("tensors       %zu, all there\n", c.tensors().size());
}

Result<int> run(const config::Flags& flags) {
  TRY(const auto checkpoint, open_checkpoint(flags.positional(0)));
  auto report = examine(*checkpoint, flags);
  if (!report) return std::move(report).error().in(checkpoint->name());
  if (flags.boolean("json")) {
    const json::Value value = as_json(*checkpoint, *report, flags.boolean("tensors"));
    std::printf("%s\n", json::dump(value, json::Style::pretty).c_str());
  } else {
    print(*checkpoint, *report, flags.boolean("tensors"));
  }
  return report->problems.empty() ? 0 : kExitDamaged;
}

}  // namespace

extern const Command kInspectCommand;
const Command kInspectCommand{kSpec, run};

}  // namespace hadal::apps
