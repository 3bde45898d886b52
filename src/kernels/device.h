#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "tensor/buffer.h"

namespace hadal::kernels {

/// The weights of a device in the order in which it reads them, for those who keep them in a file.
/// Threading: as the device, before its ops run.
class PackedWeights {
 public:
  /// A matrix of `tiles` pieces of `tile_bytes` each.
  struct Form {
    std::string name;  ///< of the tensor
    int64_t tiles = 0;
    int64_t tile_bytes = 0;
  };
  virtual ~PackedWeights() = default;
  /// Names the order of the bytes; what was packed under another name is of no use.
  virtual std::string_view layout() const = 0;
  /// What would be packed of the weights imported under a name, sorted by it.
  virtual std::vector<Form> forms() const = 0;
  /// Packs tiles [first, first + out.size() / tile_bytes) of a form.
  virtual void pack(const std::string& name, int64_t first, std::span<std::byte> out) = 0;
  /// From now on products read the form at `tiles`, aligned to 64 bytes, which must outlive the
  /// device's use of it.
  virtual void adopt(const std::string& name, const std::byte* tiles) = 0;
};

/// A place where a model runs: memory, one stream, one op table. The CPU is the first, CUDA the
/// second. Threading: used by one thread (the engine's) at a time.
class Device {
 public:
  virtual ~Device() = default;

  /// "cpu avx512 (2 threads)".
  virtual std::string description() const = 0;
  /// The dtype of activations.
  virtual DType activation_dtype() const = 0;

  /// Zero-filled memory, aligned to 64 bytes. Errors: resource_exhausted.
  virtual Result<Buffer> allocate(size_t bytes) = 0;
  /// The weight on this device. A device that reads host memory returns it as it is: `host` must
  /// then outlive its use. Errors: resource_exhausted; unsupported for a dtype without kernels
  /// here.
  virtual Result<WeightView> import_weight(const WeightView& host) = 0;
  /// The same for the experts of a layer; the spans must outlive the result.
  virtual Result<ExpertsView> import_experts(std::span<const WeightView> gate,
                                             std::span<const WeightView> up,
                                             std::span<const WeightView> down) = 0;

  /// Copies between host and device, in stream order. copy_to_host returns when the bytes are
  /// there.
  virtual void copy_to_device(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, size_t bytes) = 0;

  virtual Ops& ops() = 0;
  /// Null for a device that reads weights as they are stored.
  virtual PackedWeights* packed_weights() { return nullptr; }
};

/// The instruction-set tables of the CPU device, weakest first. `automatic` is the best that this
/// CPU has.
enum class CpuIsa { automatic, ref, avx2, avx512 };

struct CpuOptions {
  int threads = 0;  ///< 0: one per hardware thread
  CpuIsa isa = CpuIsa::automatic;
  /// Copy weights, as products first use them, into the order and the large pages that this CPU
  /// reads fastest, while memory lasts. Off: read them where they are, at half the speed.
  bool pack_weights = true;
  /// Keep activations in f32 whatever the weights are, as a reference does, where otherwise block
  /// types (q8_0, q4_k, f4_e2m1, ...) meet activations rounded to 8-bit blocks. Several times
  /// slower with those types.
  bool exact = false;
  /// Compute a token in the same way whatever else is in its step and however its sequence was cut
  /// into steps: equal bits. Costs latent attention its cheaper form for long prompts.
  bool batch_invariant = false;
};

/// The CPU. Errors: unsupported when this CPU lacks the asked instruction set.
Result<std::unique_ptr<Device>> open_cpu(const CpuOptions& options = {});
/// The first CUDA device. Errors: unsupported in a build without CUDA.
Result<std::unique_ptr<Device>> open_cuda();

}  // namespace hadal::kernels
