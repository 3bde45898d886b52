#include "model/packed_cache.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/units.h"
#include "format/fingerprint.h"
#include "format/output_file.h"
#include "format/safetensors_writer.h"

namespace hadal::model {
namespace {

namespace fs = std::filesystem;
using kernels::PackedWeights;

constexpr size_t kAlignment = 4096;         // of the data in the file: a page
constexpr int64_t kPieceBytes = 16 * kMiB;  // packed before they are written
constexpr size_t kCheckedForms = 256;       // of which a tile is compared

/// The file as it must be.
struct Expected {
  std::vector<PackedWeights::Form> forms;
  std::string header;
  uint64_t bytes = 0;
};

int64_t bytes_of(const PackedWeights::Form& f) { return f.tiles * f.tile_bytes; }

Result<Expected> expected_file(const format::Checkpoint& checkpoint, const PackedWeights& packed) {
  Expected out;
  out.forms = packed.forms();
  format::SafetensorsWriter writer;
  writer.add_metadata("hadal_packed", packed.layout());
  writer.add_metadata("source", format::fingerprint(checkpoint));
  for (const PackedWeights::Form& f : out.forms)
    TRY_VOID(writer.add_tensor(f.name, DType::u8, {f.tiles, f.tile_bytes}));
  out.header = writer.header();
  // The format lets spaces follow the JSON text, whose length stands before it.
  out.header.resize((out.header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const uint64_t text = out.header.size() - 8;
  std::memcpy(out.header.data(), &text, 8);
  out.bytes = out.header.size() + writer.data_bytes();
  return out;
}

/// What is wrong with a file, or nothing. The last check packs one tile of some weights anew.
std::optional<std::string> misfit(std::span<const std::byte> file, const Expected& expected,
                                  PackedWeights& packed) {
  const std::string& header = expected.header;
  if (file.size() < header.size() || std::memcmp(file.data(), header.data(), header.size()) != 0)
    return "its header is damaged, or of another model or version";
  if (file.size() != expected.bytes) {
    return "it has " + std::to_string(file.size()) + " bytes, " + std::to_string(expected.bytes) +
           " were expected";
  }
  const size_t stride = (expected.forms.size() + kCheckedForms - 1) / kCheckedForms;
  size_t at = header.size();
  for (size_t i = 0; i < expected.forms.size(); ++i) {
    const PackedWeights::Form& f = expected.forms[i];
    if (i % stride == 0) {
      std::vector<std::byte> tile(static_cast<size_t>(f.tile_bytes));
      const int64_t last = f.tiles - 1;
      packed.pack(f.name, last, tile);
      const size_t where = at + static_cast<size_t>(last * f.tile_bytes);
      if (std::memcmp(file.data() + where, tile.data(), tile.size()) != 0)
        return "its bytes of '" + f.name + "' are not those of the model";
    }
    at += static_cast<size_t>(bytes_of(f));
  }
  return std::nullopt;
}

Status write_file(const fs::path& path, const Expected& expected, PackedWeights& packed) {
  TRY(auto file, format::OutputFile::create(path, expected.bytes));
  TRY_VOID(file.write(expected.header));
  std::vector<std::byte> piece;
  for (const PackedWeights::Form& f : expected.forms) {
    const int64_t step = std::max<int64_t>(1, kPieceBytes / f.tile_bytes);
    for (int64_t first = 0; first < f.tiles; first += step) {
      piece.resize(static_cast<size_t>(std::min(step, f.tiles - first) * f.tile_bytes));
      packed.pack(f.name, first, piece);
      TRY_VOID(file.write(piece));
    }
  }
  return file.commit();
}

/// The file at `path` if it is there and fits. What does not fit is told.
std::optional<format::MappedFile> map_if_fit(const fs::path& path, const Expected& expected,
                                             PackedWeights& packed) {
  auto map = format::MappedFile::open(path);
  if (!map) {
    if (map.error().code != ErrorCode::not_found)
      LOG(warn, "packed_cache_ignored", {"path", path.string()}, {"why", map.error().message});
    return std::nullopt;
  }
  if (const auto why = misfit(map->bytes(), expected, packed)) {
    LOG(warn, "packed_cache_ignored", {"path", path.string()}, {"why", *why});
    return std::nullopt;
  }
  return *std::move(map);
}

format::MappedFile adopt(format::MappedFile map, const Expected& expected, PackedWeights& packed) {
  map.advise(format::MappedFile::Advice::large_pages);
  const std::byte* at = map.bytes().data() + expected.header.size();
  for (const PackedWeights::Form& f : expected.forms) {
    packed.adopt(f.name, at);
    at += bytes_of(f);
  }
  return map;
}

}  // namespace

std::vector<fs::path> packed_cache_paths(const format::Checkpoint& checkpoint,
                                         const fs::path& fallback) {
  const std::vector<fs::path> files = checkpoint.files();
  if (files.empty()) return {};
  fs::path beside = files.front();
  beside += ".packed";
  std::vector<fs::path> out{beside};
  if (!fallback.empty()) {
    const std::string id = format::fingerprint(checkpoint).substr(0, 16);
    out.push_back(fallback / (beside.stem().string() + "-" + id + ".packed"));
  }
  return out;
}

Result<format::MappedFile> map_packed_weights(const format::Checkpoint& checkpoint,
                                              kernels::Device& device,
                                              const std::vector<fs::path>& paths) {
  PackedWeights* packed = device.packed_weights();
  if (packed == nullptr || paths.empty()) return format::MappedFile();
  TRY(const Expected expected, expected_file(checkpoint, *packed));
  if (expected.forms.empty()) return format::MappedFile();
  for (const fs::path& path : paths) {
    if (auto map = map_if_fit(path, expected, *packed))
      return adopt(*std::move(map), expected, *packed);
  }
  Status written;
  for (const fs::path& path : paths) {
    std::error_code ec;
    fs::create_directories(path.parent_path(), ec);
    LOG(info, "packed_cache_write", {"path", path.string()}, {"bytes", expected.bytes});
    written = write_file(path, expected, *packed);
    if (!written) continue;
    if (auto map = map_if_fit(path, expected, *packed))
      return adopt(*std::move(map), expected, *packed);
  }
  if (!written) return std::move(written).error();
  return corrupt(paths.front().string() + ": changed while it was written");
}

}  // namespace hadal::model
