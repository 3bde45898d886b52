#include <cstring>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/weight_store.h"
#include "kernels/device.h"

namespace hadal::kernels {
namespace {

class CpuDevice final : public Device {
 public:
  CpuDevice(const CpuOptions& options, const cpu::Table& table)
      : pool_(options.threads),
        table_(table),
        exact_(options.exact),
        weights_(pool_,
                 options.pack_weights && table.packed_q8 != nullptr ? cpu::pack_budget_bytes() : 0),
        ops_(pool_, table, weights_, options) {}

  std::string description() const override {
    return std::string("cpu ") + table_.name + " (" + std::to_string(pool_.threads()) +
           (pool_.threads() == 1 ? " thread)" : " threads)");
  }
  DType activation_dtype() const override { return DType::f32; }

  Result<Buffer> allocate(size_t bytes) override { return cpu::map_memory(bytes); }

  Result<WeightView> import_weight(const WeightView& host) override {
    const DType d = host.data.dtype;
    if ((d == DType::i8 && host.scale.empty()) || d == DType::u8 || d == DType::i16 ||
        d == DType::i32 || d == DType::i64) {
      return unsupported("dtype " + std::string(dtype_name(d)) + " is not a weight type");
    }
    pack_later(host);
    return host;
  }
  Result<ExpertsView> import_experts(std::span<const WeightView> gate,
                                     std::span<const WeightView> up,
                                     std::span<const WeightView> down) override {
    for (const auto& matrices : {gate, up, down}) {
      for (const WeightView& w : matrices) pack_later(w);
    }
    return ExpertsView{gate, up, down, nullptr};
  }

  void copy_to_device(void* device, const void* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
  }
  Ops& ops() override { return ops_; }
  PackedWeights* packed_weights() override { return weights_.packs() ? &weights_ : nullptr; }

 private:
  void pack_later(const WeightView& w) {
    if (!exact_ || !cpu::is_block_type(w.data.dtype)) weights_.import(w);
  }

  ThreadPool pool_;
  const cpu::Table& table_;
  bool exact_;
  cpu::WeightStore weights_;
  cpu::CpuOps ops_;
};

const cpu::Table* table_for(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::ref: return &cpu::ref_table();
    case CpuIsa::avx2: return cpu::avx2_table();
    case CpuIsa::avx512: return cpu::avx512_table();
    case CpuIsa::automatic: break;
  }
  return &cpu::best_table();
}

}  // namespace

const cpu::Table& cpu::best_table() {
  if (const auto* t = avx512_table()) return *t;
  if (const auto* t = avx2_table()) return *t;
  return ref_table();
}

Result<std::unique_ptr<Device>> open_cpu(const CpuOptions& options) {
  const cpu::Table* table = table_for(options.isa);
  if (table == nullptr)
    return unsupported("this CPU does not have the asked instruction set")
        .with_hint("use --isa auto");
  return std::unique_ptr<Device>(std::make_unique<CpuDevice>(options, *table));
}

}  // namespace hadal::kernels
