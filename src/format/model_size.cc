#include "format/model_size.h"

#include <atomic>
#include <cmath>

#include "base/thread_pool.h"
#include "format/quantize.h"
#include "format/weight_scale.h"

namespace hadal::format {
namespace {

constexpr uint64_t kElementBytes = 2;
constexpr size_t kNamesMax = 100;

bool is_floating(DType dtype) {
  switch (dtype) {
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::i32:
    case DType::i64: return false;
    default: return true;
  }
}

Result<uint64_t> extent(const json::Value& config, std::string_view key, int64_t fallback = -1) {
  const bool absent = config.find(key) == nullptr && fallback >= 0;
  TRY(const int64_t v, absent ? Result<int64_t>(fallback) : config.int_at(key));
  if (v < 0 || v > (1 << 24)) {
    return invalid_argument("config: '" + std::string(key) + "' is out of range");
  }
  return static_cast<uint64_t>(v);
}

Status kv_v4(const json::Value& config, ModelSize& out) {
  TRY(const uint64_t head, extent(config, "head_dim"));
  TRY(const uint64_t index, extent(config, "index_head_dim"));
  TRY(const uint64_t window, extent(config, "sliding_window"));
  TRY(const uint64_t layers, extent(config, "num_hidden_layers"));
  out.kv_bytes_per_sequence = layers * window * head * kElementBytes;
  const json::Value* ratios = config.find("compress_ratios");
  if (ratios == nullptr || !ratios->is_array()) return {};
  for (size_t i = 0; i < ratios->as_array().size() && i < layers; ++i) {
    const json::Value& r = ratios->as_array()[i];
    if (!r.is_int() || r.as_int() <= 0) continue;
    const auto ratio = static_cast<uint64_t>(r.as_int());
    const uint64_t row = ratio == 4 ? head + index : head;
    out.kv_bytes_per_token += (row * kElementBytes + ratio - 1) / ratio;
  }
  return {};
}

bool finite(const ConstTensorView& view, ThreadPool& pool) {
  std::atomic<bool> good = true;
  const int64_t cols = view.shape.cols(), rows = view.shape.rows();
  if (cols == 0) return true;
  pool.run(rows, 64, [&](int64_t begin, int64_t end, int) {
    std::vector<float> numbers(static_cast<size_t>(cols));
    const auto row_bytes = static_cast<size_t>(view.row_bytes());
    for (int64_t r = begin; r < end && good.load(std::memory_order_relaxed); ++r) {
      const std::byte* at = view.data + static_cast<size_t>(r) * row_bytes;
      if (!dequantize(view.dtype, {at, row_bytes}, numbers)) good = false;
      for (const float v : numbers) {
        if (!std::isfinite(v)) good = false;
      }
    }
  });
  return good;
}

}  // namespace

Status kv_size(const json::Value& config, ModelSize& out) {
  TRY(const std::string type, config.string_or("model_type", ""));
  if (type == "deepseek_v4") return kv_v4(config, out);
  TRY(const uint64_t layers, extent(config, "num_hidden_layers"));
  if (config.find("kv_lora_rank") != nullptr) {
    TRY(const uint64_t latent, extent(config, "kv_lora_rank"));
    TRY(const uint64_t rope, extent(config, "qk_rope_head_dim"));
    TRY(const uint64_t index, extent(config, "index_head_dim", 0));
    TRY(const uint64_t drafts, extent(config, "num_nextn_predict_layers", 0));
    out.kv_bytes_per_token = (layers + drafts) * (latent + rope + index) * kElementBytes;
    return {};
  }
  TRY(const uint64_t heads, extent(config, "num_attention_heads"));
  TRY(const uint64_t width, extent(config, "hidden_size"));
  TRY(const uint64_t kv, extent(config, "num_key_value_heads", static_cast<int64_t>(heads)));
  if (heads == 0) return invalid_argument("config: 'num_attention_heads' is 0");
  TRY(const uint64_t head, extent(config, "head_dim", static_cast<int64_t>(width / heads)));
  out.kv_bytes_per_token = layers * 2 * kv * head * kElementBytes;
  return {};
}

Result<ModelSize> model_size(const Checkpoint& checkpoint) {
  ModelSize out;
  const json::Value& config = checkpoint.config();
  TRY_VOID(kv_size(config, out));
  TRY(const uint64_t experts, extent(config, "n_routed_experts", 0));
  TRY(const uint64_t used, extent(config, "num_experts_per_tok", 0));
  uint64_t routed = 0;
  for (const CheckpointTensor& t : checkpoint.tensors()) {
    out.weight_bytes += static_cast<uint64_t>(t.view.bytes());
    const bool numbers = is_floating(t.view.dtype) || is_int8_weight(checkpoint, t);
    if (is_scale_name(t.name) || !numbers) continue;
    const auto count = static_cast<uint64_t>(t.view.shape.elements());
    out.parameters += count;
    if (t.name.find(".experts.") != std::string::npos) routed += count;
  }
  out.parameters_active = out.parameters - routed;
  if (experts > 0) {
    out.parameters_active += static_cast<uint64_t>(
        static_cast<double>(routed) * static_cast<double>(used) / static_cast<double>(experts));
  }
  return out;
}

std::vector<std::string> tensors_not_finite(const Checkpoint& checkpoint, int threads) {
  ThreadPool pool(threads);
  std::vector<std::string> out;
  for (const CheckpointTensor& t : checkpoint.tensors()) {
    if (out.size() >= kNamesMax) break;
    if (is_floating(t.view.dtype) && !finite(t.view, pool)) out.push_back(t.name);
  }
  return out;
}

}  // namespace hadal::format
