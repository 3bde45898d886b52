#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "kernels/device.h"

namespace hadal::kvcache {

/// For tests: a device that only hands out host memory: the caches here compute nothing.
class MemoryDevice final : public kernels::Device {
 public:
  std::string description() const override { return "memory"; }
  DType activation_dtype() const override { return DType::f32; }
  Result<Buffer> allocate(size_t bytes) override {
    return Buffer(
        static_cast<std::byte*>(std::calloc(1, bytes)), bytes,
        [](std::byte* p, size_t, void*) { std::free(p); }, nullptr);
  }
  Result<WeightView> import_weight(const WeightView& w) override { return w; }
  Result<kernels::ExpertsView> import_experts(std::span<const WeightView>,
                                              std::span<const WeightView>,
                                              std::span<const WeightView>) override {
    return unsupported("no experts");
  }
  void copy_to_device(void* to, const void* from, size_t n) override { std::memcpy(to, from, n); }
  void copy_to_host(void* to, const void* from, size_t n) override { std::memcpy(to, from, n); }
  kernels::Ops& ops() override { std::abort(); }
};

}  // namespace hadal::kvcache
