#include "format/gguf_config.h"

#include <charconv>
#include <cmath>
#include <string>

#include "base/units.h"
#include "format/gguf_names.h"

namespace hadal::format {
namespace {

// Ranges in which products of a few of them stay far from overflow.
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kWidthMax = 1 << 20;
constexpr int64_t kHeadsMax = 4096;
constexpr int64_t kExpertsMax = 4096;
constexpr int64_t kVocabMax = 1 << 22;
constexpr int64_t kContextMax = int64_t{1} << 32;

/// A 32-bit number with the digits a person gave it: 1e-06, not 9.99999997e-07.
double shortest(double stored) {
  const auto narrow = static_cast<float>(stored);
  if (static_cast<double>(narrow) != stored) return stored;
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, narrow);
  double out = 0;
  std::from_chars(digits, end.ptr, out);
  return out;
}

/// Reads "<arch>.<key>" and writes it under its Hugging Face name.
class Translator {
 public:
  Translator(const Gguf& gguf, std::string arch) : gguf_(gguf), arch_(std::move(arch)) {}

  std::string key(std::string_view tail) const {
    return std::string(arch_).append(".").append(tail);
  }
  bool has(std::string_view tail) const { return gguf_.find(key(tail)) != nullptr; }
  bool has_tensor(std::string_view name) const {
    for (const GgufTensor& t : gguf_.tensors()) {
      if (t.name == name) return true;
    }
    return false;
  }
  bool has_tensor_like(std::string_view part) const {
    for (const GgufTensor& t : gguf_.tensors()) {
      if (t.name.find(part) != std::string_view::npos) return true;
    }
    return false;
  }

  Result<int64_t> number(std::string_view tail, int64_t max) const {
    return gguf_.int_at(key(tail), 1, max);
  }
  /// A number, or the first of a per-layer array that says the same everywhere.
  Result<int64_t> number_of_layers(std::string_view tail, int64_t max) const {
    const GgufValue* v = gguf_.find(key(tail));
    if (v == nullptr || v->type() != GgufType::array) return number(tail, max);
    const auto all = v->as_ints();
    if (!all || all->empty()) return corrupt("metadata '" + key(tail) + "' is not integers");
    for (const int64_t n : *all) {
      if (n != all->front()) return unsupported("'" + key(tail) + "' differs between layers");
    }
    if (all->front() < 1 || all->front() > max) {
      return corrupt("metadata '" + key(tail) + "' is out of range");
    }
    return all->front();
  }
  Status required(std::string_view hf, std::string_view tail, int64_t max) {
    TRY(const int64_t v, number_of_layers(tail, max));
    out.set(hf, v);
    return {};
  }
  Status optional(std::string_view hf, std::string_view tail, int64_t min, int64_t max) {
    if (!has(tail)) return {};
    TRY(const int64_t v, gguf_.int_at(key(tail), min, max));
    out.set(hf, v);
    return {};
  }
  Status optional_double(std::string_view hf, std::string_view tail) {
    if (!has(tail)) return {};
    TRY(const double v, gguf_.double_or(key(tail), 0));
    out.set(hf, shortest(v));
    return {};
  }
  Status optional_ints(std::string_view hf, std::string_view tail) {
    const GgufValue* v = gguf_.find(key(tail));
    if (v == nullptr) return {};
    const auto all = v->as_ints();
    if (!all || all->size() > static_cast<size_t>(2 * kLayersMax)) {
      return corrupt("metadata '" + key(tail) + "' is not a list of integers");
    }
    json::Array list;
    for (const int64_t n : *all) list.emplace_back(n);
    out.set(hf, std::move(list));
    return {};
  }

  const Gguf& gguf() const { return gguf_; }
  const std::string& arch() const { return arch_; }

  json::Value out = json::Object{};

 private:
  const Gguf& gguf_;
  std::string arch_;
};

struct ArchNames {
  std::string_view arch, model_type, architecture;
};
constexpr ArchNames kArchNames[] = {
    {"llama", "llama", "LlamaForCausalLM"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM"},
    {"qwen3", "qwen3", "Qwen3ForCausalLM"},
    {"deepseek", "deepseek", "DeepseekForCausalLM"},
    {"deepseek2", "deepseek_v2", "DeepseekV2ForCausalLM"},
    {"deepseek32", "deepseek_v32", "DeepseekV32ForCausalLM"},
    {"deepseek4", "deepseek_v4", "DeepseekV4ForCausalLM"},
};

Result<int64_t> vocabulary(const Translator& t) {
  for (const GgufTensor& tensor : t.gguf().tensors()) {
    if (tensor.name == "token_embd.weight") {
      const int64_t rows = tensor.shape.rows();
      if (rows > kVocabMax)
        return corrupt("token_embd.weight has " + std::to_string(rows) + " rows");
      return rows;
    }
  }
  return corrupt("tensor 'token_embd.weight' is missing");
}

Status basics(Translator& t) {
  for (const ArchNames& row : kArchNames) {
    if (row.arch != t.arch()) continue;
    t.out.set("architectures", json::Array{json::Value(row.architecture)});
    t.out.set("model_type", row.model_type);
  }
  TRY(const int64_t vocab, vocabulary(t));
  t.out.set("vocab_size", vocab);
  TRY_VOID(t.required("hidden_size", "embedding_length", kWidthMax));
  TRY(const int64_t blocks, t.number("block_count", kLayersMax));
  TRY(const int64_t nextn, t.gguf().int_or(t.key("nextn_predict_layers"), 0, 0, 16));
  if (nextn >= blocks) return corrupt("'nextn_predict_layers' is not below 'block_count'");
  t.out.set("num_hidden_layers", blocks - nextn);
  if (nextn > 0) t.out.set("num_nextn_predict_layers", nextn);
  TRY_VOID(t.required("num_attention_heads", "attention.head_count", kHeadsMax));
  TRY_VOID(t.required("max_position_embeddings", "context_length", kContextMax));
  if (t.has("feed_forward_length")) {
    TRY_VOID(t.required("intermediate_size", "feed_forward_length", kWidthMax));
  }
  TRY_VOID(t.optional_double("rms_norm_eps", "attention.layer_norm_rms_epsilon"));
  if (t.out.find("rms_norm_eps") == nullptr) {
    return corrupt("metadata '" + t.key("attention.layer_norm_rms_epsilon") + "' is missing");
  }
  TRY(const double theta, t.gguf().double_or(t.key("rope.freq_base"), 10000));
  if (!(theta > 0)) return corrupt("'rope.freq_base' is not positive");
  t.out.set("rope_theta", shortest(theta));
  t.out.set("tie_word_embeddings", !t.has_tensor("output.weight"));
  t.out.set("hidden_act", "silu");
  for (const auto& [hf, key] : {std::pair{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                std::pair{"eos_token_id", "tokenizer.ggml.eos_token_id"}}) {
    if (t.gguf().find(key) == nullptr) continue;
    TRY(const int64_t id, t.gguf().int_at(key, 0, vocab - 1));
    t.out.set(hf, id);
  }
  return {};
}

Status rope_scaling(Translator& t) {
  TRY(const std::string type, t.gguf().string_or(t.key("rope.scaling.type"), "none"));
  TRY(double factor, t.gguf().double_or(t.key("rope.scaling.factor"), 0));
  if (factor == 0) {
    TRY(factor, t.gguf().double_or(t.key("rope.scale_linear"), 0));
  }
  if (type != "yarn" && (type == "linear" || factor > 1)) {
    if (!(factor > 0)) return corrupt("'rope.scaling.factor' is not positive");
    if (factor == 1) return {};
    json::Value s;
    s.set("type", "linear");
    s.set("factor", shortest(factor));
    t.out.set("rope_scaling", std::move(s));
    return {};
  }
  if (type == "none") return {};
  if (type != "yarn") return unsupported("rope scaling '" + type.substr(0, 32) + "'");
  if (!(factor > 0)) return corrupt("'rope.scaling.factor' is not positive");
  json::Value s;
  s.set("type", "yarn");
  s.set("factor", shortest(factor));
  TRY(const int64_t original,
      t.gguf().int_at(t.key("rope.scaling.original_context_length"), 1, kContextMax));
  s.set("original_max_position_embeddings", original);
  TRY(const double fast, t.gguf().double_or(t.key("rope.scaling.yarn_beta_fast"), 32));
  TRY(const double slow, t.gguf().double_or(t.key("rope.scaling.yarn_beta_slow"), 1));
  s.set("beta_fast", shortest(fast));
  s.set("beta_slow", shortest(slow));
  if (t.has("rope.scaling.yarn_log_multiplier")) {
    TRY(const double log, t.gguf().double_or(t.key("rope.scaling.yarn_log_multiplier"), 0));
    // 0.0707 stands for 0.707; six digits undo the float's rounding.
    const double mscale = std::round(log / kYarnLogMultiplier * 1e6) / 1e6;
    s.set("mscale", mscale);
    s.set("mscale_all_dim", mscale);
  }
  if (t.has("rope.scaling.attn_factor")) {
    TRY(const double attn, t.gguf().double_or(t.key("rope.scaling.attn_factor"), 1));
    // llama.cpp multiplies it with YaRN's own factor; Hugging Face's is the product.
    s.set("attention_factor", shortest(attn) * (1 + kYarnLogMultiplier * std::log(factor)));
  }
  t.out.set("rope_scaling", std::move(s));
  return {};
}

/// Multi-head or grouped-query attention.
Status dense_attention(Translator& t) {
  const std::string_view kv =
      t.has("attention.head_count_kv") ? "attention.head_count_kv" : "attention.head_count";
  TRY_VOID(t.required("num_key_value_heads", kv, kHeadsMax));
  const int64_t heads = *t.out.int_at("num_attention_heads");
  if (heads % *t.out.int_at("num_key_value_heads") != 0) {
    return corrupt("the heads are not a multiple of the key-value heads");
  }
  TRY_VOID(t.optional("head_dim", "attention.key_length", 1, kWidthMax));
  if (t.out.find("head_dim") == nullptr) {
    const int64_t width = *t.out.int_at("hidden_size");
    if (width % heads != 0) return corrupt("'embedding_length' is not a multiple of the heads");
    t.out.set("head_dim", width / heads);
  }
  if (*t.out.int_at("head_dim") % 2 != 0) return corrupt("the head dimension is odd");
  return {};
}

/// Multi-head latent attention, of either generation of files.
Status latent_attention(Translator& t) {
  TRY_VOID(t.required("kv_lora_rank", "attention.kv_lora_rank", kWidthMax));
  TRY_VOID(t.optional("q_lora_rank", "attention.q_lora_rank", 0, kWidthMax));
  if (t.out.find("q_lora_rank") == nullptr || *t.out.int_at("q_lora_rank") == 0) {
    t.out.set("q_lora_rank", nullptr);
  }
  TRY_VOID(t.required("qk_rope_head_dim", "rope.dimension_count", kWidthMax));
  const bool mla = t.has("attention.key_length_mla");
  TRY(const int64_t key,
      t.number(mla ? "attention.key_length_mla" : "attention.key_length", kWidthMax));
  TRY(const int64_t value,
      t.number(mla ? "attention.value_length_mla" : "attention.value_length", kWidthMax));
  const int64_t rope = *t.out.int_at("qk_rope_head_dim");
  if (key <= rope || rope % 2 != 0) return corrupt("the key and rotary dimensions do not fit");
  t.out.set("qk_nope_head_dim", key - rope);
  t.out.set("v_head_dim", value);
  t.out.set("num_key_value_heads", *t.out.int_at("num_attention_heads"));
  return {};
}

/// How the experts are scored. Source: llama.cpp, enum llama_expert_gating_func_type.
Result<std::string> scoring(const Translator& t) {
  TRY(const int64_t f, t.gguf().int_or(t.key("expert_gating_func"), 0, 0, 16));
  switch (f) {
    case 0:  // files from before the key: V3's have the bias
      return t.has_tensor_like(".exp_probs_b.") ? "sigmoid" : "softmax";
    case 1: return "softmax";
    case 2: return "sigmoid";
    case 4: return "sqrtsoftplus";
    default: return unsupported("'expert_gating_func' " + std::to_string(f));
  }
}

Status groups(Translator& t, int64_t experts) {
  TRY_VOID(t.optional("n_group", "expert_group_count", 0, kExpertsMax));
  TRY_VOID(t.optional("topk_group", "expert_group_used_count", 0, kExpertsMax));
  if (t.out.find("n_group") == nullptr) {
    // Files from before the keys. Source: the models' config.json (V2: 160 experts, V3: 256).
    const bool v2 = experts == 160, v3 = experts == 256;
    t.out.set("n_group", v2 || v3 ? 8 : 1);
    t.out.set("topk_group", v2 ? 3 : v3 ? 4 : 1);
  }
  if (*t.out.int_at("n_group") == 0) t.out.set("n_group", 1);
  TRY(const int64_t kept, t.out.int_or("topk_group", 1));
  t.out.set("topk_group", std::max<int64_t>(kept, 1));
  const int64_t n = *t.out.int_at("n_group");
  if (experts % n != 0 || std::max<int64_t>(kept, 1) > n) {
    return corrupt("the expert groups do not fit the experts");
  }
  return {};
}

Status experts(Translator& t) {
  TRY_VOID(t.required("n_routed_experts", "expert_count", kExpertsMax));
  TRY_VOID(t.required("num_experts_per_tok", "expert_used_count", kExpertsMax));
  const int64_t count = *t.out.int_at("n_routed_experts");
  if (*t.out.int_at("num_experts_per_tok") > count) {
    return corrupt("more experts are used than there are");
  }
  TRY_VOID(t.required("moe_intermediate_size", "expert_feed_forward_length", kWidthMax));
  TRY_VOID(t.optional("n_shared_experts", "expert_shared_count", 0, 64));
  TRY_VOID(t.optional("first_k_dense_replace", "leading_dense_block_count", 0, kLayersMax));
  t.out.set("moe_layer_freq", 1);
  TRY(const double scale, t.gguf().double_or(t.key("expert_weights_scale"), 1));
  t.out.set("routed_scaling_factor", scale == 0 ? 1.0 : shortest(scale));
  TRY(const bool norm, t.gguf().bool_or(t.key("expert_weights_norm"), false));
  t.out.set("norm_topk_prob", norm);
  TRY(const std::string func, scoring(t));
  t.out.set("scoring_func", func);
  TRY_VOID(groups(t, count));
  const bool bias = t.has_tensor_like(".exp_probs_b.") || func == "sqrtsoftplus";
  const bool grouped = *t.out.int_at("n_group") > 1;
  t.out.set("topk_method", bias ? "noaux_tc" : grouped ? "group_limited_greedy" : "greedy");
  return {};
}

Status indexer(Translator& t) {
  TRY_VOID(t.required("index_n_heads", "attention.indexer.head_count", kHeadsMax));
  TRY_VOID(t.required("index_head_dim", "attention.indexer.key_length", kWidthMax));
  TRY_VOID(t.required("index_topk", "attention.indexer.top_k", kContextMax));
  return {};
}

/// DeepSeek V4: one latent, compressed keys, hyper-connections.
Status v4(Translator& t) {
  TRY_VOID(t.required("head_dim", "attention.key_length", kWidthMax));
  t.out.set("num_key_value_heads", 1);
  TRY_VOID(t.required("qk_rope_head_dim", "rope.dimension_count", kWidthMax));
  TRY_VOID(t.required("q_lora_rank", "attention.q_lora_rank", kWidthMax));
  TRY_VOID(t.required("o_lora_rank", "attention.output_lora_rank", kWidthMax));
  TRY_VOID(t.required("o_groups", "attention.output_group_count", kHeadsMax));
  TRY_VOID(t.required("sliding_window", "attention.sliding_window", kContextMax));
  TRY_VOID(t.required("hc_mult", "hyper_connection.count", 64));
  TRY_VOID(t.required("hc_sinkhorn_iters", "hyper_connection.sinkhorn_iterations", 1000));
  TRY_VOID(t.optional_double("hc_eps", "hyper_connection.epsilon"));
  TRY_VOID(t.optional_double("compress_rope_theta", "attention.compress_rope_freq_base"));
  TRY_VOID(t.optional("num_hash_layers", "hash_layer_count", 0, kLayersMax));
  TRY_VOID(t.optional_ints("compress_ratios", "attention.compress_ratios"));
  TRY_VOID(indexer(t));
  if (const GgufValue* clamp = t.gguf().find(t.key("swiglu_clamp_exp"))) {
    const auto limits = clamp->as_doubles();
    if (!limits || limits->empty()) return corrupt("'swiglu_clamp_exp' is not a list of numbers");
    t.out.set("swiglu_limit", shortest(limits->front()));
  }
  return {};
}

/// The original config.json that our writer keeps, when it is about the same model.
Result<json::Value> kept_config(const Translator& t) {
  TRY(const std::string text, t.gguf().string_or("hadal.config_json", ""));
  if (text.empty()) return json::Value();
  auto kept = json::parse(text, {.bytes_max = 16 * kMiB});
  if (!kept) return corrupt("'hadal.config_json': " + kept.error().message);
  TRY(const std::string type, kept->string_or("model_type", ""));
  if (gguf_arch_of_model_type(type) != t.arch()) {
    return corrupt("'hadal.config_json' is about another architecture than the metadata");
  }
  for (const std::string_view key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
        "intermediate_size", "moe_intermediate_size", "n_routed_experts", "num_experts_per_tok",
        "kv_lora_rank", "qk_rope_head_dim", "v_head_dim"}) {
    const json::Value* theirs = kept->find(key);
    const json::Value* ours = t.out.find(key);
    if (theirs != nullptr && ours != nullptr && !(*theirs == *ours)) {
      return corrupt("'hadal.config_json' and the metadata differ in '" + std::string(key) + "'");
    }
  }
  return std::move(*kept);
}

}  // namespace

Result<json::Value> hf_config_of_gguf(const Gguf& gguf) {
  TRY(const std::string arch, gguf.string_at("general.architecture"));
  if (!gguf_arch_known(arch)) {
    return unsupported("architecture '" + arch.substr(0, 32) +
                       "'; known are llama, qwen2, qwen3, deepseek, deepseek2, deepseek32, "
                       "deepseek4");
  }
  Translator t(gguf, arch);
  TRY_VOID(basics(t));
  TRY_VOID(rope_scaling(t));
  if (arch == "deepseek2" || arch == "deepseek32") {
    TRY_VOID(latent_attention(t));
  } else if (arch == "deepseek4") {
    TRY_VOID(v4(t));
  } else {
    TRY_VOID(dense_attention(t));
  }
  if (arch == "deepseek32") TRY_VOID(indexer(t));
  if (arch.starts_with("deepseek") && t.has("expert_count")) TRY_VOID(experts(t));
  if (!arch.starts_with("deepseek") && t.has("expert_count")) {
    return unsupported("a '" + arch + "' model with experts");
  }
  if (arch == "deepseek2" && t.out.find("scoring_func") != nullptr &&
      *t.out.string_at("scoring_func") == "sigmoid") {
    t.out.set("model_type", "deepseek_v3");
    t.out.set("architectures", json::Array{json::Value("DeepseekV3ForCausalLM")});
  }
  TRY(json::Value kept, kept_config(t));
  json::Value config = kept.is_null() ? std::move(t.out) : std::move(kept);
  // llama.cpp's converter stores q and k of these two permuted.
  if (arch == "llama" || arch == "deepseek") config.set("hadal_rope_interleaved", true);
  return config;
}

}  // namespace hadal::format
