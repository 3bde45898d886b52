#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/packed.h"
#include "tensor/buffer.h"
#include "tensor/tensor_view.h"

namespace hadal::kernels::cpu {

/// The packed copies of imported weights, in pages of 2 MiB. A weight is packed when a product
/// first wants it: weights of which only rows are read (embeddings) never are. Ends with its
/// memory budget; the weights after that are read as they are stored. Threading: the caller of the
/// ops.
class WeightStore {
 public:
  /// budget_bytes 0: packs nothing.
  WeightStore(ThreadPool& pool, uint64_t budget_bytes) : pool_(pool), budget_(budget_bytes) {}

  /// Says that a product may use `w`. Its bytes stay where they are, unchanged, until the store
  /// goes or they are imported again.
  void import(const WeightView& w);
  /// The packed form of an imported weight, or null. The pointer stays good.
  const PackedWeight* find(const WeightView& w);

  uint64_t bytes() const { return used_; }

 private:
  struct Entry {
    PackedWeight packed;
    bool tried = false;
  };
  std::byte* take(size_t bytes);
  void pack(Entry& entry, const WeightView& w);

  ThreadPool& pool_;
  uint64_t budget_;
  uint64_t used_ = 0;
  std::unordered_map<const std::byte*, Entry> entries_;
  std::vector<Buffer> chunks_;
  size_t chunk_used_ = 0;
};

/// How much memory packed copies may take: most of what this process could still get, by the
/// machine and by its control group. Units: bytes.
uint64_t pack_budget_bytes();

}  // namespace hadal::kernels::cpu
