#include "model/config.h"

#include <cmath>
#include <limits>

namespace hadal::model {
namespace {

// No real model comes near these; a corrupt file does.
constexpr int64_t kExtentMax = 1 << 24;
constexpr int64_t kLayersMax = 1 << 12;
constexpr int64_t kExpertsMax = 1 << 14;
constexpr int64_t kDraftLayersMax = 16;

Result<int64_t> extent(const json::Value& config, std::string_view key, int64_t max = kExtentMax) {
  TRY(const int64_t v, config.int_at(key));
  if (v < 1 || v > max) {
    return corrupt("config: " + std::string(key) + " is " + std::to_string(v) + ", expected 1 to " +
                   std::to_string(max));
  }
  return v;
}

Result<int64_t> extent_or(const json::Value& config, std::string_view key, int64_t fallback,
                          int64_t max = kExtentMax) {
  if (config.find(key) == nullptr) return fallback;
  TRY(const int64_t v, config.int_at(key));
  if (v < 0 || v > max) {
    return corrupt("config: " + std::string(key) + " is " + std::to_string(v) + ", expected 0 to " +
                   std::to_string(max));
  }
  return v;
}

Result<std::string> architecture_of(const json::Value& config) {
  const json::Value* list = config.find("architectures");
  if (list != nullptr && list->is_array() && !list->as_array().empty() &&
      list->as_array()[0].is_string()) {
    return list->as_array()[0].as_string();
  }
  TRY(const std::string type, config.string_or("model_type", ""));
  static constexpr std::pair<std::string_view, std::string_view> kByType[] = {
      {"llama", "LlamaForCausalLM"},
      {"qwen2", "Qwen2ForCausalLM"},
      {"qwen3", "Qwen3ForCausalLM"},
      {"deepseek", "DeepseekForCausalLM"},
      {"deepseek_v2", "DeepseekV2ForCausalLM"},
      {"deepseek_v3", "DeepseekV3ForCausalLM"},
      {"deepseek_v32", "DeepseekV32ForCausalLM"},
      {"deepseek_v4", "DeepseekV4ForCausalLM"},
  };
  for (const auto& [name, architecture] : kByType) {
    if (type == name) return std::string(architecture);
  }
  return unsupported(
      "config: neither 'architectures' nor a known 'model_type' names the architecture");
}

Status read_token_ids(const json::Value& config, ModelConfig& out) {
  const json::Value* eos = config.find("eos_token_id");
  const auto add = [&](const json::Value& v) {
    if (v.is_int() && v.as_int() >= 0 && v.as_int() < out.vocab) {
      out.eos_ids.push_back(static_cast<int32_t>(v.as_int()));
    }
  };
  if (eos != nullptr && eos->is_array()) {
    for (const json::Value& v : eos->as_array()) add(v);
  } else if (eos != nullptr) {
    add(*eos);
  }
  if (const json::Value* bos = config.find("bos_token_id"); bos != nullptr && bos->is_int()) {
    if (bos->as_int() >= 0 && bos->as_int() < out.vocab)
      out.bos_id = static_cast<int32_t>(bos->as_int());
  }
  return {};
}

Status read_common(const json::Value& config, ModelConfig& out) {
  TRY(out.vocab, extent(config, "vocab_size"));
  TRY(out.hidden, extent(config, "hidden_size", 1 << 20));
  TRY(out.layers, extent(config, "num_hidden_layers", kLayersMax));
  TRY(out.heads, extent(config, "num_attention_heads", 1 << 16));
  TRY(out.kv_heads, extent_or(config, "num_key_value_heads", out.heads, 1 << 16));
  if (out.kv_heads < 1 || out.heads % out.kv_heads != 0) {
    return corrupt("config: num_attention_heads is not a multiple of num_key_value_heads");
  }
  TRY(out.context_max, extent_or(config, "max_position_embeddings", 4096, int64_t{1} << 31));
  TRY(const double eps, config.double_or("rms_norm_eps", 1e-6));
  if (!(eps >= 0 && eps < 1)) return corrupt("config: rms_norm_eps must be in [0, 1)");
  out.norm_eps = static_cast<float>(eps);
  TRY(const std::string act, config.string_or("hidden_act", "silu"));
  if (act != "silu") return unsupported("config: hidden_act '" + act + "' (only silu)");
  TRY_VOID(read_token_ids(config, out));
  if (const json::Value* q = config.find("quantization_config"); q != nullptr) {
    const json::Value* block = q->find("weight_block_size");
    if (block != nullptr && block->is_array() && block->as_array().size() == 2 &&
        block->as_array()[0].is_int() && block->as_array()[1].is_int()) {
      out.weight_block_rows = block->as_array()[0].as_int();
      out.weight_block_cols = block->as_array()[1].as_int();
    }
    if (out.weight_block_rows < 1 || out.weight_block_cols < 1 ||
        out.weight_block_rows > kExtentMax || out.weight_block_cols > kExtentMax) {
      return corrupt("config: weight_block_size must be two positive numbers");
    }
  }
  return {};
}

Status read_gqa(const json::Value& config, ModelConfig& out) {
  TRY(out.head_dim, extent_or(config, "head_dim", out.hidden / out.heads, 1 << 16));
  if (out.head_dim < 2 || out.head_dim % 2 != 0)
    return corrupt("config: head_dim must be even and above 0");
  TRY(const bool window, config.bool_or("use_sliding_window", false));
  if (window)
    return unsupported(
        "config: use_sliding_window is not supported (DeepSeek's distills do not use it)");
  TRY(out.rope_interleaved, config.bool_or("hadal_rope_interleaved", false));
  return {};
}

Status read_mla(const json::Value& config, ModelConfig& out) {
  TRY(out.mla.q_lora, extent_or(config, "q_lora_rank", 0));
  TRY(out.mla.kv_lora, extent(config, "kv_lora_rank"));
  TRY(out.mla.nope, extent(config, "qk_nope_head_dim", 1 << 16));
  TRY(out.mla.rope, extent(config, "qk_rope_head_dim", 1 << 16));
  TRY(out.mla.v_dim, extent(config, "v_head_dim", 1 << 16));
  if (out.mla.rope % 2 != 0) return corrupt("config: qk_rope_head_dim must be even");
  out.head_dim = out.mla.nope + out.mla.rope;
  TRY(out.rope_interleaved, config.bool_or("rope_interleave", true));
  return {};
}

Status read_indexer(const json::Value& config, ModelConfig& out) {
  TRY(out.indexer.heads, extent(config, "index_n_heads", 1 << 16));
  TRY(out.indexer.dim, extent(config, "index_head_dim", 1 << 16));
  TRY(out.indexer.top_k, extent(config, "index_topk"));
  return {};
}

Status read_score(const json::Value& config, ModelConfig& out) {
  const std::string_view fallback =
      out.attention == AttentionFamily::compressed ? "sqrtsoftplus"
      : out.architecture == "DeepseekV3ForCausalLM" || out.architecture == "DeepseekV32ForCausalLM"
          ? "sigmoid"
          : "softmax";
  TRY(const std::string score, config.string_or("scoring_func", fallback));
  if (score == "softmax") {
    out.moe.score = kernels::GateScore::softmax;
  } else if (score == "sigmoid") {
    out.moe.score = kernels::GateScore::sigmoid;
  } else if (score == "sqrtsoftplus") {
    out.moe.score = kernels::GateScore::sqrt_softplus;
  } else {
    return unsupported("config: scoring_func '" + score + "' (softmax, sigmoid, sqrtsoftplus)");
  }
  return {};
}

Status read_moe(const json::Value& config, ModelConfig& out) {
  MoeConfig& moe = out.moe;
  TRY(moe.experts, extent_or(config, "n_routed_experts", 0, kExpertsMax));
  if (moe.experts == 0) return {};
  TRY(moe.per_token, extent(config, "num_experts_per_tok", moe.experts));
  TRY(moe.shared, extent_or(config, "n_shared_experts", 0, kExpertsMax));
  TRY(moe.intermediate, extent(config, "moe_intermediate_size"));
  TRY(moe.first_dense, extent_or(config, "first_k_dense_replace", 0, kLayersMax));
  TRY(moe.layer_freq, extent_or(config, "moe_layer_freq", 1, kLayersMax));
  if (moe.layer_freq < 1) return corrupt("config: moe_layer_freq must be at least 1");
  TRY_VOID(read_score(config, out));
  const bool v3 = moe.score != kernels::GateScore::softmax;
  TRY(moe.normalize, config.bool_or("norm_topk_prob", v3));
  TRY(const double scale, config.double_or("routed_scaling_factor", 1.0));
  if (!std::isfinite(scale)) return corrupt("config: routed_scaling_factor must be finite");
  moe.scale = static_cast<float>(scale);
  TRY(const std::string method, config.string_or("topk_method", v3 ? "noaux_tc" : "greedy"));
  if (method != "greedy" && method != "group_limited_greedy" && method != "noaux_tc") {
    return unsupported("config: topk_method '" + method +
                       "' (greedy, group_limited_greedy, noaux_tc)");
  }
  moe.group_score_top = method == "noaux_tc" ? 2 : 1;
  if (method != "greedy" && out.attention != AttentionFamily::compressed) {
    TRY(const int64_t groups, extent_or(config, "n_group", 1, moe.experts));
    TRY(const int64_t kept, extent_or(config, "topk_group", groups, moe.experts));
    if (groups < 1 || kept < 1 || kept > groups || moe.experts % groups != 0) {
      return corrupt("config: n_group and topk_group do not divide the experts");
    }
    if (kept * (moe.experts / groups) < moe.per_token) {
      return corrupt("config: topk_group keeps fewer experts than num_experts_per_tok");
    }
    moe.groups = static_cast<int>(groups);
    moe.groups_kept = static_cast<int>(kept);
  }
  return {};
}

// Layer kinds of newer configs, instead of compress_ratios.
Status read_layer_types(const json::Value& config, ModelConfig& out, int64_t csa, int64_t hca) {
  CompressedConfig& c = out.compressed;
  const json::Value* types = config.find("layer_types");
  if (types == nullptr || !types->is_array() ||
      types->as_array().size() < static_cast<size_t>(out.layers)) {
    return corrupt("config: compress_ratios (or layer_types) must name every layer");
  }
  for (int64_t i = 0; i < out.layers; ++i) {
    const json::Value& t = types->as_array()[static_cast<size_t>(i)];
    const std::string name = t.is_string() ? t.as_string() : "";
    const bool sparse = name == "compressed_sparse_attention";
    const bool heavy = name == "heavily_compressed_attention";
    if (!sparse && !heavy && name != "sliding_attention") {
      return unsupported("config: layer_types[" + std::to_string(i) + "] '" + name +
                         "' is not known");
    }
    c.ratios.push_back(sparse ? csa : heavy ? hca : 0);
    c.overlap.push_back(sparse);
  }
  return {};
}

Status read_compressed(const json::Value& config, ModelConfig& out) {
  CompressedConfig& c = out.compressed;
  TRY(out.head_dim, extent(config, "head_dim", 1 << 16));
  TRY(c.q_lora, extent(config, "q_lora_rank"));
  TRY(c.rope, extent(config, "qk_rope_head_dim", out.head_dim));
  TRY(c.o_groups, extent(config, "o_groups", out.heads));
  TRY(c.o_lora, extent(config, "o_lora_rank"));
  TRY(c.window, extent(config, "sliding_window"));
  if (c.rope % 2 != 0) return corrupt("config: qk_rope_head_dim must be even");
  if (out.heads % c.o_groups != 0) return corrupt("config: o_groups does not divide the heads");
  TRY_VOID(read_indexer(config, out));
  // The pooling rates of the two kinds can be given apart from the list, which then only names the
  // kind of a layer.
  const json::Value* rates = config.find("compress_rates");
  const json::Value& rates_in = rates != nullptr && rates->is_object() ? *rates : config;
  const bool nested = &rates_in != &config;
  TRY(const int64_t csa,
      extent_or(rates_in, nested ? "compressed_sparse_attention" : "compress_rate_csa", 4,
                1 << 16));
  TRY(const int64_t hca,
      extent_or(rates_in, nested ? "heavily_compressed_attention" : "compress_rate_hca", 128,
                1 << 16));
  if (csa < 1 || hca < 1) return corrupt("config: compress rates must be at least 1");
  if (const json::Value* list = config.find("compress_ratios");
      list != nullptr && list->is_array()) {
    if (list->as_array().size() < static_cast<size_t>(out.layers)) {
      return corrupt("config: compress_ratios must name every layer");
    }
    for (int64_t i = 0; i < out.layers; ++i) {
      const json::Value& r = list->as_array()[static_cast<size_t>(i)];
      if (!r.is_int() || (r.as_int() != 0 && r.as_int() != 4 && r.as_int() != 128)) {
        return unsupported("config: compress_ratios[" + std::to_string(i) +
                           "] must be 0, 4 or 128");
      }
      c.ratios.push_back(r.as_int() == 4 ? csa : r.as_int() == 128 ? hca : 0);
      c.overlap.push_back(r.as_int() == 4);
    }
  } else {
    TRY_VOID(read_layer_types(config, out, csa, hca));
  }
  TRY(c.rope_config, read_rope_config(config, "compress"));
  const json::Value* parameters = config.find("rope_parameters");
  if (parameters == nullptr || parameters->find("compress") == nullptr) {
    TRY(c.rope_config.theta, config.double_or("compress_rope_theta", 160000));
  }
  c.rope_config.attention_factor = 1;  // V4 leaves cos and sin at magnitude 1
  out.rope = RopeConfig{};
  TRY(out.rope.theta, config.double_or("rope_theta", 10000));
  if (parameters != nullptr && parameters->find("main") != nullptr) {
    TRY(out.rope.theta, parameters->find("main")->double_or("rope_theta", out.rope.theta));
  }
  return {};
}

Status read_v4_extras(const json::Value& config, ModelConfig& out) {
  TRY(out.hyper.streams, extent_or(config, "hc_mult", 4, 64));
  TRY(const int64_t iterations, extent_or(config, "hc_sinkhorn_iters", 20, 1000));
  out.hyper.sinkhorn_iterations = static_cast<int>(iterations);
  TRY(const double hc_eps, config.double_or("hc_eps", 1e-6));
  out.hyper.eps = static_cast<float>(hc_eps);
  if (out.hyper.streams < 1 || iterations < 1 || !(hc_eps >= 0 && hc_eps < 1)) {
    return corrupt("config: hc_mult, hc_sinkhorn_iters and hc_eps must be positive");
  }
  TRY(const double limit, config.double_or("swiglu_limit", 0));
  if (!(limit >= 0 && limit < 1e30)) return corrupt("config: swiglu_limit must not be negative");
  out.swiglu_limit = static_cast<float>(limit);
  TRY(out.moe.hash_layers, extent_or(config, "num_hash_layers", 0, kLayersMax));
  // Newer configs name the kind of every layer's experts instead; hash routing comes first there
  // too.
  if (const json::Value* kinds = config.find("mlp_layer_types");
      kinds != nullptr && kinds->is_array()) {
    const json::Array& list = kinds->as_array();
    while (out.moe.hash_layers < static_cast<int64_t>(list.size()) &&
           list[static_cast<size_t>(out.moe.hash_layers)] == json::Value("hash_moe")) {
      ++out.moe.hash_layers;
    }
  }
  return {};
}

Result<ModelConfig> read_checked(const json::Value& config) {
  if (!config.is_object()) return corrupt("config: not a JSON object");
  ModelConfig out;
  TRY(out.architecture, architecture_of(config));
  const std::string& a = out.architecture;
  const bool dense = a == "LlamaForCausalLM" || a == "Qwen2ForCausalLM" || a == "Qwen3ForCausalLM";
  const bool mla =
      a == "DeepseekV2ForCausalLM" || a == "DeepseekV3ForCausalLM" || a == "DeepseekV32ForCausalLM";
  const bool v4 = a == "DeepseekV4ForCausalLM";
  if (!dense && !mla && !v4 && a != "DeepseekForCausalLM") {
    return unsupported("architecture '" + a + "' is not known")
        .with_hint(
            "known: Llama, Qwen2, Qwen3, Deepseek, DeepseekV2, DeepseekV3, DeepseekV32, DeepseekV4 "
            "ForCausalLM");
  }
  out.attention = mla  ? AttentionFamily::mla
                  : v4 ? AttentionFamily::compressed
                       : AttentionFamily::gqa;
  TRY_VOID(read_common(config, out));
  TRY(out.tied_embeddings, config.bool_or("tie_word_embeddings", false));
  if (!v4) {
    TRY(out.rope, read_rope_config(config));
  }
  if (mla) {
    TRY_VOID(read_mla(config, out));
  } else if (v4) {
    TRY_VOID(read_compressed(config, out));
  } else {
    TRY_VOID(read_gqa(config, out));
  }
  if (a == "DeepseekV32ForCausalLM") TRY_VOID(read_indexer(config, out));
  if (!dense) TRY_VOID(read_moe(config, out));
  if (v4) TRY_VOID(read_v4_extras(config, out));
  if (a == "DeepseekV3ForCausalLM" || a == "DeepseekV32ForCausalLM" || v4) {
    TRY(out.draft_layers, extent_or(config, "num_nextn_predict_layers", 0, kDraftLayersMax));
  }
  bool any_dense = false;
  for (int64_t i = 0; i < out.layers; ++i) any_dense |= !out.is_moe_layer(i);
  if (any_dense) {
    TRY(out.intermediate, extent(config, "intermediate_size"));
  }
  return out;
}

}  // namespace

Result<ModelConfig> read_model_config(const json::Value& config) {
  auto out = read_checked(config);
  // A member of the wrong type is the file's fault, not the caller's.
  if (!out && out.error().code == ErrorCode::invalid_argument) {
    out.error().code = ErrorCode::corrupt;
  }
  return out;
}

}  // namespace hadal::model
