// Source: the models' config.json on Hugging Face.

#include <algorithm>

#include "format/synth.h"

namespace hadal::format {
namespace {

struct SynthShape {
  std::string_view name;
  std::string_view config;  ///< JSON members
};

constexpr SynthShape kShapes[] = {
    {"deepseek-r1-distill-qwen-1.5b",
     R"("model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"num_hidden_layers":28,
     "hidden_size":1536,"num_attention_heads":12,"num_key_value_heads":2,"intermediate_size":8960,
     "vocab_size":151936,"max_position_embeddings":131072,"rope_theta":10000,
     "rms_norm_eps":1e-06)"},
    {"deepseek-r1-distill-qwen-7b",
     R"("model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"num_hidden_layers":28,
     "hidden_size":3584,"num_attention_heads":28,"num_key_value_heads":4,"intermediate_size":18944,
     "vocab_size":152064,"max_position_embeddings":131072,"rope_theta":10000,
     "rms_norm_eps":1e-06)"},
    {"deepseek-r1-distill-qwen-14b",
     R"("model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"num_hidden_layers":48,
     "hidden_size":5120,"num_attention_heads":40,"num_key_value_heads":8,"intermediate_size":13824,
     "vocab_size":152064,"max_position_embeddings":131072,"rope_theta":1000000,
     "rms_norm_eps":1e-05)"},
    {"deepseek-r1-distill-qwen-32b",
     R"("model_type":"qwen2","architectures":["Qwen2ForCausalLM"],"num_hidden_layers":64,
     "hidden_size":5120,"num_attention_heads":40,"num_key_value_heads":8,"intermediate_size":27648,
     "vocab_size":152064,"max_position_embeddings":131072,"rope_theta":1000000,
     "rms_norm_eps":1e-05)"},
    {"deepseek-r1-distill-llama-8b",
     R"("model_type":"llama","architectures":["LlamaForCausalLM"],"num_hidden_layers":32,
     "hidden_size":4096,"num_attention_heads":32,"num_key_value_heads":8,"intermediate_size":14336,
     "head_dim":128,"vocab_size":128256,"max_position_embeddings":131072,"rope_theta":500000,
     "rms_norm_eps":1e-05,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
     "high_freq_factor":4.0,"original_max_position_embeddings":8192})"},
    {"deepseek-r1-distill-llama-70b",
     R"("model_type":"llama","architectures":["LlamaForCausalLM"],"num_hidden_layers":80,
     "hidden_size":8192,"num_attention_heads":64,"num_key_value_heads":8,"intermediate_size":28672,
     "head_dim":128,"vocab_size":128256,"max_position_embeddings":131072,"rope_theta":500000,
     "rms_norm_eps":1e-05,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
     "high_freq_factor":4.0,"original_max_position_embeddings":8192})"},
    {"deepseek-r1-0528-qwen3-8b",
     R"("model_type":"qwen3","architectures":["Qwen3ForCausalLM"],"num_hidden_layers":36,
     "hidden_size":4096,"num_attention_heads":32,"num_key_value_heads":8,"intermediate_size":12288,
     "head_dim":128,"vocab_size":151936,"max_position_embeddings":131072,"rope_theta":1000000,
     "rms_norm_eps":1e-06,"rope_scaling":{"rope_type":"yarn","factor":4.0,
     "original_max_position_embeddings":32768,"attn_factor":0.8782488562869419})"},
    {"deepseek-llm-7b",
     R"("model_type":"llama","architectures":["LlamaForCausalLM"],"num_hidden_layers":30,
     "hidden_size":4096,"num_attention_heads":32,"num_key_value_heads":32,
     "intermediate_size":11008,"vocab_size":102400,"max_position_embeddings":4096,
     "rope_theta":10000,"rms_norm_eps":1e-06)"},
    {"deepseek-coder-1.3b",
     R"("model_type":"llama","architectures":["LlamaForCausalLM"],"num_hidden_layers":24,
     "hidden_size":2048,"num_attention_heads":16,"num_key_value_heads":16,"intermediate_size":5504,
     "vocab_size":32256,"max_position_embeddings":16384,"rope_theta":100000,"rms_norm_eps":1e-06,
     "rope_scaling":{"type":"linear","factor":4.0})"},
    {"deepseek-moe-16b",
     R"("model_type":"deepseek","architectures":["DeepseekForCausalLM"],"num_hidden_layers":28,
     "hidden_size":2048,"num_attention_heads":16,"num_key_value_heads":16,
     "intermediate_size":10944,"moe_intermediate_size":1408,"n_routed_experts":64,
     "n_shared_experts":2,"num_experts_per_tok":6,"first_k_dense_replace":1,"moe_layer_freq":1,
     "norm_topk_prob":false,"scoring_func":"softmax","vocab_size":102400,
     "max_position_embeddings":4096,"rope_theta":10000,"rms_norm_eps":1e-06)"},
    {"deepseek-v2-lite",
     R"("model_type":"deepseek_v2","architectures":["DeepseekV2ForCausalLM"],
     "num_hidden_layers":27,"hidden_size":2048,"num_attention_heads":16,"num_key_value_heads":16,
     "kv_lora_rank":512,"q_lora_rank":null,"qk_nope_head_dim":128,"qk_rope_head_dim":64,
     "v_head_dim":128,"intermediate_size":10944,"moe_intermediate_size":1408,"n_routed_experts":64,
     "n_shared_experts":2,"num_experts_per_tok":6,"first_k_dense_replace":1,"moe_layer_freq":1,
     "norm_topk_prob":false,"scoring_func":"softmax","topk_method":"greedy","n_group":1,
     "topk_group":1,"routed_scaling_factor":1.0,"vocab_size":102400,
     "max_position_embeddings":163840,"rope_theta":10000,"rms_norm_eps":1e-06,
     "rope_scaling":{"type":"yarn","factor":40,"original_max_position_embeddings":4096,
     "beta_fast":32,"beta_slow":1,"mscale":0.707,"mscale_all_dim":0.707})"},
    {"deepseek-v2",
     R"("model_type":"deepseek_v2","architectures":["DeepseekV2ForCausalLM"],
     "num_hidden_layers":60,"hidden_size":5120,"num_attention_heads":128,
     "num_key_value_heads":128,"kv_lora_rank":512,"q_lora_rank":1536,"qk_nope_head_dim":128,
     "qk_rope_head_dim":64,"v_head_dim":128,"intermediate_size":12288,
     "moe_intermediate_size":1536,"n_routed_experts":160,"n_shared_experts":2,
     "num_experts_per_tok":6,"first_k_dense_replace":1,"moe_layer_freq":1,"norm_topk_prob":false,
     "scoring_func":"softmax","topk_method":"group_limited_greedy","n_group":8,"topk_group":3,
     "routed_scaling_factor":16.0,"vocab_size":102400,"max_position_embeddings":163840,
     "rope_theta":10000,"rms_norm_eps":1e-06,"rope_scaling":{"type":"yarn","factor":40,
     "original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,"mscale":0.707,
     "mscale_all_dim":0.707})"},
    {"deepseek-v3",
     R"("model_type":"deepseek_v3","architectures":["DeepseekV3ForCausalLM"],
     "num_hidden_layers":61,"hidden_size":7168,"num_attention_heads":128,
     "num_key_value_heads":128,"kv_lora_rank":512,"q_lora_rank":1536,"qk_nope_head_dim":128,
     "qk_rope_head_dim":64,"v_head_dim":128,"intermediate_size":18432,
     "moe_intermediate_size":2048,"n_routed_experts":256,"n_shared_experts":1,
     "num_experts_per_tok":8,"first_k_dense_replace":3,"moe_layer_freq":1,"norm_topk_prob":true,
     "scoring_func":"sigmoid","topk_method":"noaux_tc","n_group":8,"topk_group":4,
     "routed_scaling_factor":2.5,"vocab_size":129280,"max_position_embeddings":163840,
     "rope_theta":10000,"rms_norm_eps":1e-06,"rope_scaling":{"type":"yarn","factor":40,
     "original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,"mscale":1.0,
     "mscale_all_dim":1.0})"},
    {"deepseek-v3.2",
     R"("model_type":"deepseek_v32","architectures":["DeepseekV32ForCausalLM"],
     "num_hidden_layers":61,"hidden_size":7168,"num_attention_heads":128,
     "num_key_value_heads":128,"kv_lora_rank":512,"q_lora_rank":1536,"qk_nope_head_dim":128,
     "qk_rope_head_dim":64,"v_head_dim":128,"intermediate_size":18432,
     "moe_intermediate_size":2048,"n_routed_experts":256,"n_shared_experts":1,
     "num_experts_per_tok":8,"first_k_dense_replace":3,"moe_layer_freq":1,"norm_topk_prob":true,
     "scoring_func":"sigmoid","topk_method":"noaux_tc","n_group":8,"topk_group":4,
     "routed_scaling_factor":2.5,"vocab_size":129280,"max_position_embeddings":163840,
     "rope_theta":10000,"rms_norm_eps":1e-06,"index_n_heads":64,"index_head_dim":128,
     "index_topk":2048,"rope_scaling":{"type":"yarn","factor":40,
     "original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,"mscale":1.0,
     "mscale_all_dim":1.0})"},
    {"deepseek-v4-flash",
     R"("model_type":"deepseek_v4","architectures":["DeepseekV4ForCausalLM"],
     "num_hidden_layers":43,"hidden_size":4096,"num_attention_heads":64,"num_key_value_heads":1,
     "head_dim":512,"qk_rope_head_dim":64,"q_lora_rank":1024,"o_groups":8,"o_lora_rank":1024,
     "moe_intermediate_size":2048,"n_routed_experts":256,"n_shared_experts":1,
     "num_experts_per_tok":6,"norm_topk_prob":true,"scoring_func":"sqrtsoftplus",
     "topk_method":"noaux_tc","routed_scaling_factor":1.5,"num_hash_layers":3,"index_n_heads":64,
     "index_head_dim":128,"index_topk":512,"sliding_window":128,"hc_mult":4,
     "hc_sinkhorn_iters":20,"hc_eps":1e-06,"swiglu_limit":10.0,"vocab_size":129280,
     "max_position_embeddings":1048576,"rope_theta":10000,"compress_rope_theta":160000,
     "rms_norm_eps":1e-06,"rope_scaling":{"type":"yarn","factor":16,
     "original_max_position_embeddings":65536,"beta_fast":32,"beta_slow":1})"},
    {"deepseek-v4-pro",
     R"("model_type":"deepseek_v4","architectures":["DeepseekV4ForCausalLM"],
     "num_hidden_layers":61,"hidden_size":7168,"num_attention_heads":128,"num_key_value_heads":1,
     "head_dim":512,"qk_rope_head_dim":64,"q_lora_rank":1536,"o_groups":16,"o_lora_rank":1024,
     "moe_intermediate_size":3072,"n_routed_experts":384,"n_shared_experts":1,
     "num_experts_per_tok":6,"norm_topk_prob":true,"scoring_func":"sqrtsoftplus",
     "topk_method":"noaux_tc","routed_scaling_factor":2.5,"num_hash_layers":3,"index_n_heads":64,
     "index_head_dim":128,"index_topk":1024,"sliding_window":128,"hc_mult":4,
     "hc_sinkhorn_iters":20,"hc_eps":1e-06,"swiglu_limit":10.0,"vocab_size":129280,
     "max_position_embeddings":1048576,"rope_theta":10000,"compress_rope_theta":160000,
     "rms_norm_eps":1e-06,"rope_scaling":{"type":"yarn","factor":16,
     "original_max_position_embeddings":65536,"beta_fast":32,"beta_slow":1})"},
};

/// V4's kinds of layers: two at the start without (Flash) or with heavy (Pro) compression, then
/// sparse and heavy in turn.
json::Array compress_ratios(int64_t layers, bool pro) {
  json::Array out;
  for (int64_t i = 0; i < layers; ++i) {
    out.emplace_back(i < 2 ? (pro ? 128 : 0) : (i % 2 == 0 ? 4 : 128));
  }
  return out;
}

}  // namespace

std::vector<std::string_view> synth_shapes() {
  std::vector<std::string_view> out;
  for (const SynthShape& s : kShapes) out.push_back(s.name);
  return out;
}

namespace {

/// Fewer experts than the shape has: a router that can still choose among them.
void fit_routing(json::Value& config, int64_t experts) {
  const int64_t chosen = std::min(config.int_or("num_experts_per_tok", 1).value_or(1), experts);
  config.set("num_experts_per_tok", chosen);
  const int64_t groups = config.int_or("n_group", 1).value_or(1);
  const int64_t kept = config.int_or("topk_group", 1).value_or(1);
  if (experts % groups != 0 || kept * (experts / groups) < chosen) {
    config.set("n_group", int64_t{1});
    config.set("topk_group", int64_t{1});
  }
}

}  // namespace

Result<json::Value> synth_config(const SynthOptions& options) {
  const auto* shape = std::find_if(std::begin(kShapes), std::end(kShapes),
                                   [&](const SynthShape& s) { return s.name == options.shape; });
  if (shape == std::end(kShapes)) {
    std::string known;
    for (const SynthShape& s : kShapes) known.append(known.empty() ? "" : ", ").append(s.name);
    return not_found("no shape '" + options.shape.substr(0, 64) + "'; known are " + known);
  }
  std::string text("{");
  text.append(shape->config).append("}");
  auto parsed = json::parse(text);
  if (!parsed) return internal_error("shape: " + parsed.error().message);
  json::Value config = *std::move(parsed);
  config.set("tie_word_embeddings", false);
  config.set("hidden_act", "silu");
  config.set("torch_dtype", "bfloat16");
  const std::pair<const char*, int64_t> overrides[] = {{"num_hidden_layers", options.layers},
                                                       {"vocab_size", options.vocab},
                                                       {"n_routed_experts", options.experts}};
  for (const auto& [key, value] : overrides) {
    if (value > 0 && config.find(key) != nullptr) config.set(key, value);
  }
  if (options.draft_layers > 0) {
    const std::string type = config.string_or("model_type", "").value_or("");
    if (type != "deepseek_v3" && type != "deepseek_v32" && type != "deepseek_v4") {
      return invalid_argument("'" + options.shape + "' has no draft layers; V3 and later have")
          .about("draft-layers");
    }
    config.set("num_nextn_predict_layers", options.draft_layers);
  }
  if (options.experts > 0) fit_routing(config, options.experts);
  if (config.find("compress_rope_theta") != nullptr) {
    config.set("compress_ratios", compress_ratios(*config.int_at("num_hidden_layers"),
                                                  options.shape == "deepseek-v4-pro"));
  }
  return config;
}

}  // namespace hadal::format
