#include "format/importance.h"

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "format/gguf.h"
#include "format/gguf_writer.h"
#include "format/mapped_file.h"
#include "format/output_file.h"

namespace hadal::format {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";

/// The numbers of an f32 tensor, all finite and not negative.
Result<std::vector<float>> amounts(const GgufTensor& t) {
  if (gguf_tensor_type(t.type)->dtype != DType::f32) return corrupt("its type is not F32");
  std::vector<float> out(t.bytes.size() / sizeof(float));
  std::memcpy(out.data(), t.bytes.data(), out.size() * sizeof(float));
  for (const float v : out) {
    if (!(v >= 0 && std::isfinite(v))) return corrupt("it has a negative or infinite number");
  }
  return out;
}

Result<ImportanceEntry> read_entry(const GgufTensor& sums, const GgufTensor& counts) {
  ImportanceEntry out;
  out.blocks = sums.shape.rows();
  out.channels = sums.shape.cols();
  TRY(out.sums, amounts(sums));
  TRY(out.counts, amounts(counts));
  if (static_cast<int64_t>(out.counts.size()) != out.blocks) {
    return corrupt("it has " + std::to_string(out.counts.size()) + " counts for " +
                   std::to_string(out.blocks) + " rows of sums");
  }
  return out;
}

}  // namespace

void ImportanceEntry::add(int64_t b, std::span<const float> input) {
  CHECK(b >= 0 && b < blocks && static_cast<int64_t>(input.size()) == channels);
  float* sum = sums.data() + b * channels;
  for (size_t i = 0; i < input.size(); ++i) sum[i] += input[i] * input[i];
  counts[static_cast<size_t>(b)] += 1;
}

std::vector<float> ImportanceEntry::means() const {
  // The least share of the block's mean that a channel counts for.
  constexpr double kLeast = 1e-5;
  std::vector<float> out(sums.size(), 1.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    const float* sum = sums.data() + b * channels;
    double total = 0;
    for (int64_t i = 0; i < channels; ++i) total += sum[i];
    const double mean = total / static_cast<double>(channels);
    if (!(counts[static_cast<size_t>(b)] > 0) || !(mean > 0)) continue;
    // Only ratios within a block count: in units of its mean, the numbers are near one.
    for (int64_t i = 0; i < channels; ++i) {
      out[static_cast<size_t>(b * channels + i)] = static_cast<float>(sum[i] / mean + kLeast);
    }
  }
  return out;
}

ImportanceEntry& ImportanceMatrix::entry(const std::string& name, int64_t blocks,
                                         int64_t channels) {
  ImportanceEntry& e = entries_[name];
  if (e.channels == 0) {
    e.blocks = blocks;
    e.channels = channels;
    e.sums.assign(static_cast<size_t>(blocks * channels), 0.0f);
    e.counts.assign(static_cast<size_t>(blocks), 0.0f);
  }
  CHECK(e.blocks == blocks && e.channels == channels);
  return e;
}

const ImportanceEntry* ImportanceMatrix::find(std::string_view name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

Result<ImportanceMatrix> ImportanceMatrix::parse(std::span<const std::byte> image) {
  TRY(const Gguf file, Gguf::parse(image));
  TRY(const std::string type, file.string_or("general.type", ""));
  if (type != "imatrix") {
    return corrupt("it is a GGUF file, but not an importance matrix (general.type is '" +
                   type.substr(0, 40) + "')");
  }
  ImportanceMatrix out;
  TRY(const int64_t chunks, file.int_or("imatrix.chunk_count", 0, 0, UINT32_MAX));
  TRY(const int64_t tokens, file.int_or("imatrix.chunk_size", 0, 0, UINT32_MAX));
  out.chunks = static_cast<uint32_t>(chunks);
  out.chunk_tokens = static_cast<uint32_t>(tokens);
  if (const GgufValue* v = file.find("imatrix.datasets")) {
    if (const auto names = v->as_strings()) out.datasets.assign(names->begin(), names->end());
  }
  std::map<std::string_view, const GgufTensor*> by_name;
  for (const GgufTensor& t : file.tensors()) by_name[t.name] = &t;
  for (const auto& [name, sums] : by_name) {
    if (!name.ends_with(kSums)) continue;
    const std::string stem(name.substr(0, name.size() - kSums.size()));
    const auto counts = by_name.find(stem + std::string(kCounts));
    if (counts == by_name.end()) return corrupt("'" + stem + "' has sums but no counts");
    auto entry = read_entry(*sums, *counts->second);
    if (!entry) return std::move(entry).error().in("'" + stem + "'");
    out.entries_[stem] = *std::move(entry);
  }
  if (out.entries_.empty()) return corrupt("it holds no sums of activations");
  return out;
}

Result<ImportanceMatrix> ImportanceMatrix::open(const std::filesystem::path& path) {
  TRY(const MappedFile file, MappedFile::open(path));
  auto out = parse(file.bytes());
  if (!out) {
    return std::move(out)
        .error()
        .in(path.string())
        .with_hint(
            "`hadal imatrix` and llama-imatrix write such files; their older .dat form is not "
            "read");
  }
  return out;
}

Status ImportanceMatrix::write(const std::filesystem::path& path) const {
  GgufWriter writer;
  writer.put_string("general.type", "imatrix");
  writer.put_strings("imatrix.datasets", datasets);
  writer.put_u32("imatrix.chunk_count", chunks);
  writer.put_u32("imatrix.chunk_size", chunk_tokens);
  for (const auto& [name, e] : entries_) {
    TRY_VOID(writer.add_tensor(name + std::string(kSums), DType::f32, Shape{e.blocks, e.channels}));
    TRY_VOID(writer.add_tensor(name + std::string(kCounts), DType::f32, Shape{e.blocks, 1}));
  }
  TRY(OutputFile file, OutputFile::create(path, writer.file_bytes()));
  TRY_VOID(file.write(writer.header()));
  for (const auto& [name, e] : entries_) {
    for (const std::vector<float>* numbers : {&e.sums, &e.counts}) {
      TRY_VOID(file.write(std::as_bytes(std::span(*numbers))));
      TRY_VOID(file.pad(GgufWriter::kAlignment));
    }
  }
  return file.commit();
}

}  // namespace hadal::format
