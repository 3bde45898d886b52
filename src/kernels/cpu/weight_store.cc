#include "kernels/cpu/weight_store.h"

#include <algorithm>

#include "base/check.h"
#include "base/machine.h"
#include "base/units.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/pack.h"

namespace hadal::kernels::cpu {
namespace {

constexpr size_t kChunkBytes = 256 * kMiB;  // address space; memory is backed as it is written
constexpr int64_t kRowsMin = 8;             // fewer would waste most of a tile
// What a thread packs at a time, and then gives back of the mapping.
constexpr int64_t kPieceBytes = 1 << 20;

int64_t tiles_of(const PackedWeight& p) { return ceil_div(p.n, kTileRows); }

}  // namespace

uint64_t pack_budget_bytes() {
  // A quarter is left for caches, activations and neighbours.
  return memory_available_bytes() / 4 * 3;
}

void WeightStore::import(const WeightView& w) {
  if (budget_ == 0) return;
  const PackedWeight layout = packed_layout(w);
  if (layout.tile_bytes == 0 || layout.n < kRowsMin) {
    entries_.erase(w.data.data);
    return;
  }
  entries_.insert_or_assign(w.data.data, Entry{layout, w});
  if (!w.name.empty()) names_.insert_or_assign(std::string(w.name), w.data.data);
}

const PackedWeight* WeightStore::find(const WeightView& w) {
  const auto it = entries_.find(w.data.data);
  if (it == entries_.end()) return nullptr;
  Entry& entry = it->second;
  if (entry.packed.dtype != w.data.dtype || entry.packed.n != w.n() || entry.packed.k != w.k())
    return nullptr;
  if (!entry.tried) pack(entry);
  return entry.packed.tiles != nullptr ? &entry.packed : nullptr;
}

std::byte* WeightStore::take(size_t bytes) {
  if (bytes > budget_ - std::min(budget_, used_)) return nullptr;
  if (chunks_.empty() || chunks_.back().bytes() - chunk_used_ < bytes) {
    auto chunk = map_memory(std::max(bytes, kChunkBytes));
    if (!chunk) {
      budget_ = used_;
      return nullptr;
    }
    chunks_.push_back(*std::move(chunk));
    chunk_used_ = 0;
  }
  std::byte* out = chunks_.back().data() + chunk_used_;
  chunk_used_ += bytes;
  used_ += bytes;
  return out;
}

void WeightStore::pack(Entry& entry) {
  entry.tried = true;
  const auto bytes = static_cast<size_t>(tiles_of(entry.packed) * entry.packed.tile_bytes);
  std::byte* out = take(bytes);
  if (out == nullptr) return;
  pack_tiles(entry, 0, {out, bytes});
  entry.packed.tiles = out;
}

void WeightStore::pack_tiles(const Entry& entry, int64_t first, std::span<std::byte> out) {
  const PackedWeight& p = entry.packed;
  const WeightView& w = entry.stored;
  const int64_t count = static_cast<int64_t>(out.size()) / p.tile_bytes;
  const int64_t grain = std::max<int64_t>(1, kPieceBytes / p.tile_bytes);
  pool_.run(count, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) pack_tile(out.data() + i * p.tile_bytes, p, w, first + i);
    if (!w.mapped) return;
    const int64_t row = (first + begin) * kTileRows;
    const int64_t rows = std::min((end - begin) * kTileRows, p.n - row);
    give_back_pages(w.data.data + row * w.data.row_bytes(),
                    static_cast<size_t>(rows * w.data.row_bytes()));
  });
}

WeightStore::Entry& WeightStore::named(const std::string& name) {
  const auto it = names_.find(name);
  CHECK(it != names_.end());
  return entries_.at(it->second);
}

std::vector<PackedWeights::Form> WeightStore::forms() const {
  std::vector<Form> out;
  for (const auto& [name, key] : names_) {
    const auto it = entries_.find(key);
    // A name may have lost its entry to another import of the same bytes.
    if (it == entries_.end() || it->second.stored.name != name) continue;
    out.push_back({name, tiles_of(it->second.packed), it->second.packed.tile_bytes});
  }
  return out;
}

void WeightStore::pack(const std::string& name, int64_t first, std::span<std::byte> out) {
  pack_tiles(named(name), first, out);
}

void WeightStore::adopt(const std::string& name, const std::byte* tiles) {
  Entry& entry = named(name);
  entry.tried = true;
  entry.packed.tiles = tiles;
}

}  // namespace hadal::kernels::cpu
