// The linear layers against what this machine can do: bytes per second at few tokens, operations
// per second at many. Run: build with -DHADAL_BENCHES=ON, then ./kernels_bench.
//
// percent_of_read is against the best of several ways to read memory (bandwidth.h), measured in the
// same run.

#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "base/rng.h"
#include "kernels/bandwidth.h"
#include "kernels/device.h"

namespace hadal::kernels {
namespace {

constexpr DType kDTypes[] = {DType::i8,      DType::q8_0,    DType::q4_0,   DType::q4_k,
                             DType::q5_k,    DType::q6_k,    DType::iq4_nl, DType::mxfp4,
                             DType::f4_e2m1, DType::f8_e4m3, DType::bf16,   DType::f16,
                             DType::f32};

double read_gb_per_s() {
  static const double v = measure_read_gb_per_s(0);
  return v;
}

// Weights enough to leave the caches between two uses: 256 MiB of them, in one or more matrices.
class Weights {
 public:
  Weights(Device& device, DType dtype, int64_t n, int64_t k) {
    const DTypeInfo& info = dtype_info(dtype);
    const int64_t bytes = n * k / info.block_elems * info.block_bytes;
    const int64_t count = std::max<int64_t>(1, (int64_t{256} << 20) / bytes);
    data_.resize(static_cast<size_t>(count * bytes));
    Rng rng(1);
    // Any bytes but large ones: no NaN, and no scale that overflows.
    for (std::byte& b : data_) b = static_cast<std::byte>(rng.next_u64() & 0x3B);
    const bool scaled = dtype == DType::f8_e4m3 || dtype == DType::f4_e2m1 || dtype == DType::i8;
    const bool per_row = dtype == DType::i8;
    const int rows = dtype == DType::f4_e2m1 || per_row ? 1 : 128;
    const int cols = dtype == DType::f4_e2m1 ? 32 : per_row ? static_cast<int>(k) : 128;
    scale_.assign(static_cast<size_t>(n * k), std::byte{120});
    for (int64_t i = 0; i < count; ++i) {
      WeightView w{.data = {data_.data() + i * bytes, dtype, {n, k}}};
      if (scaled) {
        w.scale = {scale_.data(), DType::f8_e8m0, {(n + rows - 1) / rows, (k + cols - 1) / cols}};
        w.scale_rows = rows;
        w.scale_cols = cols;
      }
      views_.push_back(*device.import_weight(w));
    }
  }
  const WeightView& next() { return views_[at_++ % views_.size()]; }

 private:
  std::vector<std::byte> data_, scale_;
  std::vector<WeightView> views_;
  size_t at_ = 0;
};

void run_linear(benchmark::State& state, CpuIsa isa, bool pack, int64_t n, int64_t k) {
  const DType dtype = kDTypes[state.range(0)];
  const int64_t tokens = state.range(1);
  auto device = open_cpu({.isa = isa, .pack_weights = pack});
  if (!device) {
    state.SkipWithError("this CPU lacks the instruction set");
    return;
  }
  Weights weights(**device, dtype, n, k);
  std::vector<float> x(static_cast<size_t>(tokens * k), 0.5f);
  std::vector<float> y(static_cast<size_t>(tokens * n));
  const Mat in{reinterpret_cast<std::byte*>(x.data()), DType::f32, tokens, k, k};
  const Mat out{reinterpret_cast<std::byte*>(y.data()), DType::f32, tokens, n, n};
  const auto step = [&] {
    const Projection p[] = {{out, weights.next()}};
    (*device)->ops().linear(p, in);
    return p[0].weight.bytes();
  };
  for (int i = 0; i < 300; ++i) step();  // every matrix is packed
  int64_t bytes = 0;
  for (auto _ : state) bytes += step();
  const auto steps = static_cast<double>(state.iterations());
  using benchmark::Counter;
  state.SetLabel(std::string(dtype_name(dtype)));
  state.counters["GB/s"] = Counter(static_cast<double>(bytes) / 1e9, Counter::kIsRate);
  state.counters["GFLOP/s"] =
      Counter(2e-9 * static_cast<double>(tokens * n * k) * steps, Counter::kIsRate);
  state.counters["of_read"] =
      Counter(static_cast<double>(bytes) / 1e9 / read_gb_per_s(), Counter::kIsRate);
}

void register_all() {
  for (const CpuIsa isa : {CpuIsa::avx512, CpuIsa::avx2}) {
    for (const bool pack : {true, false}) {
      const std::string name = std::string(isa == CpuIsa::avx512 ? "avx512" : "avx2") +
                               (pack ? "/packed" : "/stored") + "/linear";
      auto* b = benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& s) { run_linear(s, isa, pack, 4096, 4096); });
      for (int64_t d = 0; d < static_cast<int64_t>(std::size(kDTypes)); ++d) {
        for (const int64_t tokens : {1, 4, 16, 256}) b->Args({d, tokens});
      }
      b->UseRealTime()->MinTime(0.3);
    }
  }
}

[[maybe_unused]] const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace hadal::kernels
