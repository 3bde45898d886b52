#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/packed.h"
#include "kernels/device.h"
#include "tensor/buffer.h"
#include "tensor/tensor_view.h"

namespace hadal::kernels::cpu {

/// The packed copies of imported weights, in pages of 2 MiB. A weight is packed when a product
/// first wants it: weights of which only rows are read (embeddings) never are. Ends with its
/// memory budget; the weights after that are read as they are stored. What was packed is not read
/// again where it was stored: pages of mapped files are given back. Threading: the caller of the
/// ops.
class WeightStore final : public PackedWeights {
 public:
  /// budget_bytes 0: packs nothing.
  WeightStore(ThreadPool& pool, uint64_t budget_bytes) : pool_(pool), budget_(budget_bytes) {}

  /// Says that a product may use `w`. Its bytes stay where they are, unchanged, until the store
  /// goes or they are imported again.
  void import(const WeightView& w);
  /// The packed form of an imported weight, or null. The pointer stays good.
  const PackedWeight* find(const WeightView& w);

  uint64_t bytes() const { return used_; }
  bool packs() const { return budget_ > 0; }

  std::string_view layout() const override { return kPackedLayout; }
  std::vector<Form> forms() const override;
  void pack(const std::string& name, int64_t first, std::span<std::byte> out) override;
  void adopt(const std::string& name, const std::byte* tiles) override;

 private:
  struct Entry {
    PackedWeight packed;
    WeightView stored;
    bool tried = false;
  };
  std::byte* take(size_t bytes);
  void pack(Entry& entry);
  void pack_tiles(const Entry& entry, int64_t first, std::span<std::byte> out);
  Entry& named(const std::string& name);

  ThreadPool& pool_;
  uint64_t budget_;
  uint64_t used_ = 0;
  std::unordered_map<const std::byte*, Entry> entries_;
  std::map<std::string, const std::byte*, std::less<>> names_;  ///< keys of entries_
  std::vector<Buffer> chunks_;
  size_t chunk_used_ = 0;
};

/// How much memory packed copies may take: most of what this process could still get, by the
/// machine and by its control group. Units: bytes.
uint64_t pack_budget_bytes();

}  // namespace hadal::kernels::cpu
