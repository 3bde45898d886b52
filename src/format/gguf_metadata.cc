#include "format/gguf_metadata.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "format/gguf_config.h"
#include "format/gguf_names.h"

namespace hadal::format {
namespace {

std::string scaling_type(const json::Value& scaling) {
  for (const char* key : {"rope_type", "type"}) {
    const json::Value* t = scaling.find(key);
    if (t != nullptr && t->is_string()) return t->as_string();
  }
  return "default";
}

/// The base of the rotations, in either spelling.
Result<double> rope_theta(const json::Value& config) {
  TRY(const double theta, config.double_or("rope_theta", 0));
  if (theta != 0) return theta;
  const json::Value* s = rope_scaling_of(config);
  return s == nullptr ? 10000.0 : s->double_or("rope_theta", 10000);
}

/// llama_ftype numbers. Source: llama.h.
uint32_t file_type(DType dtype, bool medium) {
  switch (dtype) {
    case DType::f32: return 0;
    case DType::f16: return 1;
    case DType::q4_0: return 2;
    case DType::q8_0: return 7;
    case DType::q4_k: return medium ? 15 : 14;
    case DType::q5_k: return medium ? 17 : 16;
    case DType::q6_k: return 18;
    case DType::iq4_nl: return 25;
    case DType::mxfp4: return 38;
    default: return 32;  // bf16
  }
}

/// Writes configuration values under "<arch>.".
class Keys {
 public:
  Keys(GgufWriter& writer, const json::Value& config, std::string_view arch)
      : writer_(writer), config_(config), prefix_(std::string(arch) + ".") {}

  void u32(std::string_view key, int64_t value) {
    writer_.put_u32(prefix_ + std::string(key), static_cast<uint32_t>(value));
  }
  void f32(std::string_view key, double value) {
    writer_.put_f32(prefix_ + std::string(key), static_cast<float>(value));
  }
  void string(std::string_view key, std::string_view value) {
    writer_.put_string(prefix_ + std::string(key), value);
  }
  void boolean(std::string_view key, bool value) {
    writer_.put_bool(prefix_ + std::string(key), value);
  }

  /// Copies a member that must be there.
  Status need(std::string_view key, std::string_view hf) {
    TRY(const int64_t v, config_.int_at(hf));
    if (v < 0 || v > UINT32_MAX) {
      return invalid_argument("config: '" + std::string(hf) + "' is out of range");
    }
    u32(key, v);
    return {};
  }
  /// Copies a member that may be absent.
  Status maybe(std::string_view key, std::string_view hf) {
    return config_.find(hf) == nullptr ? Status() : need(key, hf);
  }
  Status maybe_f32(std::string_view key, std::string_view hf) {
    if (config_.find(hf) == nullptr) return {};
    TRY(const double v, config_.double_at(hf));
    f32(key, v);
    return {};
  }
  const json::Value& config() const { return config_; }
  GgufWriter& writer() { return writer_; }
  const std::string& prefix() const { return prefix_; }

 private:
  GgufWriter& writer_;
  const json::Value& config_;
  std::string prefix_;
};

Status put_basics(Keys& k) {
  TRY(const int64_t layers, k.config().int_at("num_hidden_layers"));
  TRY(const int64_t nextn, k.config().int_or("num_nextn_predict_layers", 0));
  k.u32("block_count", layers + nextn);
  if (nextn > 0) k.u32("nextn_predict_layers", nextn);
  TRY_VOID(k.need("vocab_size", "vocab_size"));
  TRY_VOID(k.need("embedding_length", "hidden_size"));
  TRY_VOID(k.need("context_length", "max_position_embeddings"));
  TRY_VOID(k.maybe("feed_forward_length", "intermediate_size"));
  TRY_VOID(k.need("attention.head_count", "num_attention_heads"));
  TRY(const double eps, k.config().double_or("rms_norm_eps", 1e-6));
  k.f32("attention.layer_norm_rms_epsilon", eps);
  TRY(const double theta, rope_theta(k.config()));
  k.f32("rope.freq_base", theta);
  return {};
}

Status put_rope_scaling(Keys& k) {
  const json::Value* s = rope_scaling_of(k.config());
  if (s == nullptr) return {};
  const std::string type = scaling_type(*s);
  if (type == "llama3" || type == "default") return {};  // llama3: the tensor rope_freqs.weight
  if (type != "yarn" && type != "linear") {
    // V4 keeps several kinds in one object; hadal.config_json carries them.
    return {};
  }
  TRY(const double factor, s->double_or("factor", 1));
  k.string("rope.scaling.type", type);
  k.f32("rope.scaling.factor", factor);
  if (type == "linear") return {};
  TRY(const int64_t context, k.config().int_or("max_position_embeddings", 0));
  TRY(const int64_t original, s->int_or("original_max_position_embeddings", context));
  k.u32("rope.scaling.original_context_length", original);
  TRY(const double fast, s->double_or("beta_fast", 32));
  TRY(const double slow, s->double_or("beta_slow", 1));
  k.f32("rope.scaling.yarn_beta_fast", fast);
  k.f32("rope.scaling.yarn_beta_slow", slow);
  if (s->find("mscale_all_dim") != nullptr) {
    TRY(const double all, s->double_at("mscale_all_dim"));
    k.f32("rope.scaling.yarn_log_multiplier", kYarnLogMultiplier * all);
  }
  if (s->find("attention_factor") != nullptr) {
    TRY(const double product, s->double_at("attention_factor"));
    k.f32("rope.scaling.attn_factor", product / (1 + kYarnLogMultiplier * std::log(factor)));
  }
  return {};
}

Status put_dense_attention(Keys& k) {
  TRY(const int64_t heads, k.config().int_at("num_attention_heads"));
  TRY(const int64_t kv, k.config().int_or("num_key_value_heads", heads));
  TRY(const int64_t width, k.config().int_at("hidden_size"));
  if (heads < 1) return invalid_argument("config: 'num_attention_heads' is not positive");
  TRY(const int64_t head, k.config().int_or("head_dim", width / heads));
  k.u32("attention.head_count_kv", kv);
  k.u32("attention.key_length", head);
  k.u32("attention.value_length", head);
  k.u32("rope.dimension_count", head);
  return {};
}

Status put_latent_attention(Keys& k, bool split) {
  TRY_VOID(k.need("attention.kv_lora_rank", "kv_lora_rank"));
  TRY_VOID(k.maybe("attention.q_lora_rank", "q_lora_rank"));
  TRY_VOID(k.need("rope.dimension_count", "qk_rope_head_dim"));
  TRY(const int64_t nope, k.config().int_at("qk_nope_head_dim"));
  TRY(const int64_t rope, k.config().int_at("qk_rope_head_dim"));
  TRY(const int64_t value, k.config().int_at("v_head_dim"));
  TRY(const int64_t latent, k.config().int_at("kv_lora_rank"));
  TRY(const int64_t heads, k.config().int_at("num_attention_heads"));
  k.u32("attention.head_count_kv", split ? 1 : heads);
  k.u32("attention.key_length", split ? latent + rope : nope + rope);
  k.u32("attention.value_length", split ? latent : value);
  if (split) {
    k.u32("attention.key_length_mla", nope + rope);
    k.u32("attention.value_length_mla", value);
  }
  return {};
}

Status put_experts(Keys& k) {
  if (k.config().find("n_routed_experts") == nullptr) return {};
  TRY_VOID(k.need("expert_count", "n_routed_experts"));
  TRY_VOID(k.need("expert_used_count", "num_experts_per_tok"));
  TRY_VOID(k.need("expert_feed_forward_length", "moe_intermediate_size"));
  TRY_VOID(k.maybe("expert_shared_count", "n_shared_experts"));
  TRY_VOID(k.maybe("leading_dense_block_count", "first_k_dense_replace"));
  TRY_VOID(k.maybe("expert_group_count", "n_group"));
  TRY_VOID(k.maybe("expert_group_used_count", "topk_group"));
  TRY(const double scale, k.config().double_or("routed_scaling_factor", 1));
  k.f32("expert_weights_scale", scale);
  TRY(const bool norm, k.config().bool_or("norm_topk_prob", false));
  k.boolean("expert_weights_norm", norm);
  TRY(const std::string func, k.config().string_or("scoring_func", "softmax"));
  k.u32("expert_gating_func", func == "sigmoid" ? 2 : func == "sqrtsoftplus" ? 4 : 1);
  return {};
}

Status put_indexer(Keys& k) {
  TRY_VOID(k.need("attention.indexer.head_count", "index_n_heads"));
  TRY_VOID(k.need("attention.indexer.key_length", "index_head_dim"));
  TRY_VOID(k.need("attention.indexer.top_k", "index_topk"));
  return {};
}

Status put_v4(Keys& k) {
  k.u32("attention.head_count_kv", 1);
  TRY_VOID(k.need("attention.key_length", "head_dim"));
  TRY_VOID(k.need("attention.value_length", "head_dim"));
  TRY_VOID(k.need("rope.dimension_count", "qk_rope_head_dim"));
  TRY_VOID(k.need("attention.q_lora_rank", "q_lora_rank"));
  TRY_VOID(k.need("attention.output_lora_rank", "o_lora_rank"));
  TRY_VOID(k.need("attention.output_group_count", "o_groups"));
  TRY_VOID(k.need("attention.sliding_window", "sliding_window"));
  TRY_VOID(k.need("hyper_connection.count", "hc_mult"));
  TRY_VOID(k.need("hyper_connection.sinkhorn_iterations", "hc_sinkhorn_iters"));
  TRY_VOID(k.maybe_f32("hyper_connection.epsilon", "hc_eps"));
  TRY_VOID(k.maybe_f32("attention.compress_rope_freq_base", "compress_rope_theta"));
  TRY_VOID(k.maybe("hash_layer_count", "num_hash_layers"));
  TRY_VOID(put_indexer(k));
  if (const json::Value* list = k.config().find("compress_ratios"); list && list->is_array()) {
    std::vector<uint32_t> ratios;
    for (const json::Value& r : list->as_array()) {
      if (!r.is_int()) return invalid_argument("config: 'compress_ratios' is not integers");
      ratios.push_back(static_cast<uint32_t>(r.as_int()));
    }
    k.writer().put_u32s(k.prefix() + "attention.compress_ratios", ratios);
  }
  if (k.config().find("swiglu_limit") != nullptr) {
    TRY(const double limit, k.config().double_at("swiglu_limit"));
    TRY(const int64_t layers, k.config().int_at("num_hidden_layers"));
    if (layers < 1 || layers > 4096) return invalid_argument("config: 'num_hidden_layers'");
    const std::vector<float> limits(static_cast<size_t>(layers), static_cast<float>(limit));
    k.writer().put_f32s(k.prefix() + "swiglu_clamp_exp", limits);
  }
  return {};
}

}  // namespace

json::Value plain_config(const json::Value& config) {
  json::Object out;
  for (const auto& [key, value] : config.as_object()) {
    if (key.starts_with("hadal_") || key == "quantization_config" || key == "expert_dtype")
      continue;
    out.emplace_back(key, value);
  }
  return out;
}

Status put_model_metadata(GgufWriter& writer, const json::Value& config,
                          const MetadataOptions& options) {
  TRY(const std::string type, config.string_at("model_type"));
  const std::string_view arch = gguf_arch_of_model_type(type);
  if (arch.empty()) {
    return unsupported("model_type '" + type.substr(0, 32) + "' has no GGUF architecture");
  }
  writer.put_string("general.architecture", arch);
  writer.put_string("general.name", options.name);
  writer.put_u32("general.quantization_version", 2);
  writer.put_u32("general.file_type", file_type(options.file_dtype, options.medium));
  Keys k(writer, config, arch);
  TRY_VOID(put_basics(k));
  TRY_VOID(put_rope_scaling(k));
  if (arch == "deepseek4") {
    TRY_VOID(put_v4(k));
  } else if (arch == "deepseek2" || arch == "deepseek32") {
    TRY_VOID(put_latent_attention(k, options.latent_split));
  } else {
    TRY_VOID(put_dense_attention(k));
  }
  if (arch == "deepseek32") TRY_VOID(put_indexer(k));
  TRY_VOID(put_experts(k));
  writer.put_string("hadal.config_json", json::dump(plain_config(config)));
  return {};
}

const json::Value* rope_scaling_of(const json::Value& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json::Value* s = config.find(key);
    if (s != nullptr && s->is_object()) return s;
  }
  return nullptr;
}

Result<std::vector<float>> llama3_rope_factors(const json::Value& config) {
  const json::Value* s = rope_scaling_of(config);
  if (s == nullptr || scaling_type(*s) != "llama3") return std::vector<float>();
  TRY(const double factor, s->double_at("factor"));
  TRY(const double low, s->double_or("low_freq_factor", 1));
  TRY(const double high, s->double_or("high_freq_factor", 4));
  TRY(const double context, s->double_at("original_max_position_embeddings"));
  TRY(const double theta, rope_theta(config));
  TRY(const int64_t heads, config.int_at("num_attention_heads"));
  TRY(const int64_t width, config.int_at("hidden_size"));
  if (heads < 1 || !(theta > 0) || !(high > low) || !(factor > 0)) {
    return invalid_argument("config: 'rope_scaling' does not make sense");
  }
  TRY(const int64_t dim, config.int_or("head_dim", width / heads));
  std::vector<float> out;
  for (int64_t i = 0; i + 1 < dim; i += 2) {
    const double freq = std::pow(theta, -static_cast<double>(i) / static_cast<double>(dim));
    const double turns = context * freq / (2 * std::numbers::pi);
    // Fast waves stay, slow ones are stretched by `factor`, those between are blended.
    const double blend = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    out.push_back(static_cast<float>(1 / ((1 - blend) / factor + blend)));
  }
  return out;
}

}  // namespace hadal::format
