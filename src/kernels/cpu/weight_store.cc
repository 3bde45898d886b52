#include "kernels/cpu/weight_store.h"

#include <algorithm>

#include "base/machine.h"
#include "base/units.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/pack.h"

namespace hadal::kernels::cpu {
namespace {

constexpr size_t kChunkBytes = 256 * kMiB;  // address space; memory is backed as it is written
constexpr int64_t kRowsMin = 8;             // fewer would waste most of a tile

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
  entries_.insert_or_assign(w.data.data, Entry{layout});
}

const PackedWeight* WeightStore::find(const WeightView& w) {
  const auto it = entries_.find(w.data.data);
  if (it == entries_.end()) return nullptr;
  Entry& entry = it->second;
  if (entry.packed.dtype != w.data.dtype || entry.packed.n != w.n() || entry.packed.k != w.k())
    return nullptr;
  if (!entry.tried) pack(entry, w);
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

void WeightStore::pack(Entry& entry, const WeightView& w) {
  entry.tried = true;
  PackedWeight& p = entry.packed;
  const int64_t tiles = ceil_div(p.n, kTileRows);
  std::byte* out = take(static_cast<size_t>(tiles * p.tile_bytes));
  if (out == nullptr) return;
  const int64_t grain = std::max<int64_t>(1, (1 << 18) / p.tile_bytes);
  pool_.run(tiles, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) pack_tile(out + i * p.tile_bytes, p, w, i);
  });
  p.tiles = out;
}

}  // namespace hadal::kernels::cpu
