#include "kernels/observed_device.h"

#include <unordered_map>
#include <vector>

#include "base/check.h"

namespace hadal::kernels {
namespace {

/// Device memory that grows; running out of it aborts, as in a model's workspace.
class Scratch {
 public:
  explicit Scratch(Device& device) : device_(device) {}
  std::byte* take(int64_t bytes) {
    if (static_cast<int64_t>(buffer_.bytes()) < bytes) {
      auto grown = device_.allocate(static_cast<size_t>(bytes));
      CHECK(grown, "out of memory for observing experts");
      buffer_ = *std::move(grown);
    }
    return buffer_.data();
  }
  Mat mat(int64_t rows, int64_t cols) {
    return {take(rows * cols * 4), DType::f32, rows, cols, cols};
  }

 private:
  Device& device_;
  Buffer buffer_;
};

class ObservedOps final : public Ops {
 public:
  ObservedOps(Device& device, LinearObserver& observer)
      : device_(device),
        ops_(device.ops()),
        observer_(observer),
        rows_(device),
        x_(device),
        gate_(device),
        up_(device) {
    CHECK(device.activation_dtype() == DType::f32, "observing needs activations in f32");
  }

  /// The weight that `imported` came from, for the observer.
  void add_weight(const WeightView& imported, const WeightView& host) {
    hosts_.insert_or_assign(imported.data.data, host);
  }

  void linear(std::span<const Projection> projections, Mat x) override {
    const std::vector<float> host = copy(x);
    for (const Projection& p : projections) tell(p.weight, 0, 1, host, x.cols);
    ops_.linear(projections, x);
  }
  void linear_grouped(Mat out, Mat x, const WeightView& weight, int64_t groups) override {
    const int64_t k = x.cols / groups;
    for (int64_t g = 0; g < groups; ++g) tell(weight, g, groups, copy(x.slice_cols(g * k, k)), k);
    ops_.linear_grouped(out, x, weight, groups);
  }
  void kv_append(const KvView& kv, Mat x, const StepView& step) override {
    appended_[kv.data] = copy(x);
    ops_.kv_append(kv, x, step);
  }
  void mla_attention(const MlaArgs& args, const StepView& step) override {
    observe_latents(args);
    appended_.clear();
    ops_.mla_attention(args, step);
  }
  void moe_experts(Mat out, Mat x, const ExpertsView& experts, const int32_t* ids,
                   const float* weights, int64_t experts_per_token, float limit) override {
    observe_experts(x, experts, ids, experts_per_token, limit);
    ops_.moe_experts(out, x, experts, ids, weights, experts_per_token, limit);
  }

  void embed(Mat out, const WeightView& table, const int32_t* ids) override {
    ops_.embed(out, table, ids);
  }
  void gather_rows(Mat out, Mat x, const int32_t* rows) override { ops_.gather_rows(out, x, rows); }
  void repeat_cols(Mat out, Mat x) override { ops_.repeat_cols(out, x); }
  void rms_norm(Mat out, Mat x, const float* weight, float eps) override {
    ops_.rms_norm(out, x, weight, eps);
  }
  void layer_norm(Mat out, Mat x, const float* weight, const float* bias, float eps) override {
    ops_.layer_norm(out, x, weight, bias, eps);
  }
  void clear(Mat x) override { ops_.clear(x); }
  void add(Mat x, Mat y) override { ops_.add(x, y); }
  void rope_table(float* cos, float* sin, const int32_t* positions, int64_t tokens,
                  const float* inv_freq, int64_t dims, float scale) override {
    ops_.rope_table(cos, sin, positions, tokens, inv_freq, dims, scale);
  }
  void rope(Mat x, int64_t heads, int64_t offset, const RopeView& table, bool interleaved,
            bool inverse) override {
    ops_.rope(x, heads, offset, table, interleaved, inverse);
  }
  void attention(const AttentionArgs& args, const StepView& step) override {
    appended_.clear();
    ops_.attention(args, step);
  }
  void indexer_top_k(const IndexerArgs& args, const StepView& step) override {
    ops_.indexer_top_k(args, step);
  }
  void compress(const CompressArgs& args, const StepView& step) override {
    ops_.compress(args, step);
  }
  void sink_attention(const SinkAttentionArgs& args, const StepView& step) override {
    appended_.clear();
    ops_.sink_attention(args, step);
  }
  void swiglu(Mat out, Mat gate, Mat up, float limit) override {
    ops_.swiglu(out, gate, up, limit);
  }
  void moe_gate(const MoeGateArgs& args, const StepView& step) override {
    ops_.moe_gate(args, step);
  }
  void hyper_pre(const HyperArgs& args, Mat out, float* post, float* comb) override {
    ops_.hyper_pre(args, out, post, comb);
  }
  void hyper_post(Mat x, Mat y, const float* post, const float* comb, int64_t streams) override {
    ops_.hyper_post(x, y, post, comb, streams);
  }
  void hyper_head(const HyperArgs& args, Mat out) override { ops_.hyper_head(args, out); }

 private:
  std::vector<float> copy(const Mat& x) {
    std::vector<float> host(static_cast<size_t>(x.rows * x.cols));
    for (int64_t r = 0; r < x.rows; ++r) {
      device_.copy_to_host(host.data() + r * x.cols, x.data + r * x.stride * 4,
                           static_cast<size_t>(x.cols) * sizeof(float));
    }
    return host;
  }

  /// Shows rows of `width` numbers to the observer, the first `channels` of each.
  void tell(const WeightView& weight, int64_t block, int64_t blocks, std::span<const float> rows,
            int64_t width) {
    const auto it = hosts_.find(weight.data.data);
    if (it == hosts_.end()) return;
    const auto channels = static_cast<size_t>(weight.k());
    for (size_t at = 0; at < rows.size(); at += static_cast<size_t>(width))
      observer_.observe(it->second, block, blocks, rows.subspan(at, channels));
  }

  void observe_latents(const MlaArgs& a) {
    const int64_t width = a.latent + a.rope;
    const std::vector<float>& latents = appended_[a.kv.data];
    if (!a.kv_b.empty()) {
      tell(a.kv_b, 0, 1, latents, width);
      return;
    }
    // The values' matrix meets weighted means of latents; the latents stand for them.
    tell(a.v_b, 0, 1, latents, width);
    const int64_t head = a.nope + a.rope;
    for (int64_t h = 0; h < a.heads; ++h)
      tell(a.k_b_t, h, a.heads, copy(a.q.slice_cols(h * head, a.nope)), a.nope);
  }

  void observe_experts(Mat x, const ExpertsView& experts, const int32_t* ids, int64_t per_token,
                       float limit) {
    std::vector<int32_t> host(static_cast<size_t>(x.rows * per_token));
    device_.copy_to_host(host.data(), ids, host.size() * sizeof(int32_t));
    const auto count = static_cast<int64_t>(experts.gate.size());
    std::vector<std::vector<int32_t>> tokens(static_cast<size_t>(count));
    for (size_t i = 0; i < host.size(); ++i) {
      tokens[static_cast<size_t>(host[i])].push_back(
          static_cast<int32_t>(static_cast<int64_t>(i) / per_token));
    }
    for (size_t e = 0; e < tokens.size(); ++e) {
      const auto n = static_cast<int64_t>(tokens[e].size());
      if (n == 0) continue;
      std::byte* rows = rows_.take(n * 4);
      device_.copy_to_device(rows, tokens[e].data(), static_cast<size_t>(n) * sizeof(int32_t));
      const Mat in = x_.mat(n, x.cols);
      const Mat gate = gate_.mat(n, experts.gate[e].n());
      const Mat up = up_.mat(n, experts.up[e].n());
      ops_.gather_rows(in, x, reinterpret_cast<const int32_t*>(rows));
      const Projection both[] = {{gate, experts.gate[e]}, {up, experts.up[e]}};
      ops_.linear(both, in);
      ops_.swiglu(gate, gate, up, limit);
      const auto block = static_cast<int64_t>(e);
      const std::vector<float> entering = copy(in);
      tell(experts.gate[e], block, count, entering, x.cols);
      tell(experts.up[e], block, count, entering, x.cols);
      tell(experts.down[e], block, count, copy(gate), gate.cols);
    }
  }

  Device& device_;
  Ops& ops_;
  LinearObserver& observer_;
  std::unordered_map<const std::byte*, WeightView> hosts_;
  /// What this attention layer has appended, by stream.
  std::unordered_map<const std::byte*, std::vector<float>> appended_;
  Scratch rows_, x_, gate_, up_;
};

class ObservedDevice final : public Device {
 public:
  ObservedDevice(Device& device, LinearObserver& observer)
      : device_(device), ops_(device, observer) {}

  std::string description() const override { return device_.description(); }
  DType activation_dtype() const override { return device_.activation_dtype(); }
  Result<Buffer> allocate(size_t bytes) override { return device_.allocate(bytes); }
  PackedWeights* packed_weights() override { return device_.packed_weights(); }
  Result<WeightView> import_weight(const WeightView& host) override {
    TRY(const WeightView imported, device_.import_weight(host));
    ops_.add_weight(imported, host);
    return imported;
  }
  Result<ExpertsView> import_experts(std::span<const WeightView> gate,
                                     std::span<const WeightView> up,
                                     std::span<const WeightView> down) override {
    return device_.import_experts(gate, up, down);
  }
  void copy_to_device(void* device, const void* host, size_t bytes) override {
    device_.copy_to_device(device, host, bytes);
  }
  void copy_to_host(void* host, const void* device, size_t bytes) override {
    device_.copy_to_host(host, device, bytes);
  }
  Ops& ops() override { return ops_; }

 private:
  Device& device_;
  ObservedOps ops_;
};

}  // namespace

std::unique_ptr<Device> observe_linears(Device& device, LinearObserver& observer) {
  return std::make_unique<ObservedDevice>(device, observer);
}

}  // namespace hadal::kernels
