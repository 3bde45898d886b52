#include "format/tensor_list.h"

#include <algorithm>
#include <set>

#include "format/gguf_names.h"

namespace hadal::format {
namespace {

constexpr size_t kTensorsMax = 1 << 18;
constexpr size_t kProblemsMax = 100;

/// Collects tensors; extents come from the configuration by key.
class Lister {
 public:
  explicit Lister(const json::Value& config) : config_(config) {}

  /// A positive extent; 0 once something was missing, and then `status` says what.
  int64_t extent(std::string_view key) {
    const auto v = config_.int_at(key);
    if (v && *v > 0 && *v <= (1 << 24)) return *v;
    if (status_) {
      status_ = invalid_argument("config: '" + std::string(key) +
                                 (v ? "' is out of range" : "' is missing or not an integer"));
    }
    return 0;
  }
  int64_t extent_or(std::string_view key, int64_t fallback) {
    return config_.find(key) == nullptr ? fallback : extent(key);
  }
  bool flag(std::string_view key) { return config_.bool_or(key, false).value_or(false); }
  std::string text(std::string_view key) { return config_.string_or(key, "").value_or(""); }
  /// An integer that may be 0.
  int64_t count(std::string_view key) {
    const int64_t v = config_.int_or(key, 0).value_or(0);
    return v < 0 || v > (1 << 24) ? 0 : v;
  }

  void add(std::string name, Shape shape, bool integer = false) {
    if (out_.size() < kTensorsMax) {
      out_.push_back({std::move(name), shape, integer, only_with_});
    } else if (status_) {
      status_ = invalid_argument("config: more than 262144 tensors");
    }
  }
  void linear(const std::string& stem, int64_t n, int64_t k, bool bias = false) {
    add(stem + ".weight", Shape{n, k});
    if (bias) add(stem + ".bias", Shape{n});
  }
  void norm(const std::string& stem, int64_t n) { add(stem + ".weight", Shape{n}); }
  void mlp(const std::string& stem, int64_t width, int64_t inner, bool bias = false) {
    linear(stem + ".gate_proj", inner, width, bias);
    linear(stem + ".up_proj", inner, width, bias);
    linear(stem + ".down_proj", width, inner, bias);
  }
  /// V4's experts: w1 gate, w2 down, w3 up.
  void mlp_v4(const std::string& stem, int64_t width, int64_t inner) {
    linear(stem + ".w1", inner, width);
    linear(stem + ".w2", width, inner);
    linear(stem + ".w3", inner, width);
  }

  /// What is added from now on is needed only where `tensor` is.
  void only_with(std::string tensor) { only_with_ = std::move(tensor); }

  const json::Value& config() const { return config_; }
  Result<std::vector<TensorSpec>> finish() {
    if (!status_) return status_.error();
    return std::move(out_);
  }
  bool ok() const { return status_.has_value() && out_.size() < kTensorsMax; }

 private:
  const json::Value& config_;
  std::vector<TensorSpec> out_;
  std::string only_with_;
  Status status_;
};

void dense_attention(Lister& l, const std::string& at, std::string_view type) {
  const int64_t width = l.extent("hidden_size"), heads = l.extent("num_attention_heads");
  const int64_t kv = l.extent_or("num_key_value_heads", heads);
  const int64_t head = l.extent_or("head_dim", heads > 0 ? width / heads : 0);
  const bool bias = l.flag("attention_bias");
  const bool qkv_bias = bias || type == "qwen2";
  l.linear(at + ".q_proj", heads * head, width, qkv_bias);
  l.linear(at + ".k_proj", kv * head, width, qkv_bias);
  l.linear(at + ".v_proj", kv * head, width, qkv_bias);
  l.linear(at + ".o_proj", width, heads * head, bias);
  if (type == "qwen3") {
    l.norm(at + ".q_norm", head);
    l.norm(at + ".k_norm", head);
  }
}

void latent_attention(Lister& l, const std::string& at, std::string_view type) {
  const int64_t width = l.extent("hidden_size"), heads = l.extent("num_attention_heads");
  const int64_t latent = l.extent("kv_lora_rank"), nope = l.extent("qk_nope_head_dim");
  const int64_t rope = l.extent("qk_rope_head_dim"), value = l.extent("v_head_dim");
  const int64_t q_rank = l.extent_or("q_lora_rank", 0);
  if (q_rank == 0) {
    l.linear(at + ".q_proj", heads * (nope + rope), width);
  } else {
    l.linear(at + ".q_a_proj", q_rank, width);
    l.norm(at + ".q_a_layernorm", q_rank);
    l.linear(at + ".q_b_proj", heads * (nope + rope), q_rank);
  }
  l.linear(at + ".kv_a_proj_with_mqa", latent + rope, width);
  l.norm(at + ".kv_a_layernorm", latent);
  l.linear(at + ".kv_b_proj", heads * (nope + value), latent);
  l.linear(at + ".o_proj", width, heads * value);
  if (type != "deepseek_v32") return;
  const int64_t index_heads = l.extent("index_n_heads"), index = l.extent("index_head_dim");
  l.linear(at + ".indexer.wq_b", index_heads * index, q_rank);
  l.linear(at + ".indexer.wk", index, width);
  l.norm(at + ".indexer.k_norm", index);
  l.add(at + ".indexer.k_norm.bias", Shape{index});
  l.linear(at + ".indexer.weights_proj", index_heads, width);
}

void feed_forward(Lister& l, const std::string& at, int64_t layer) {
  const int64_t width = l.extent("hidden_size");
  const int64_t experts = l.count("n_routed_experts");
  const int64_t freq = std::max<int64_t>(1, l.count("moe_layer_freq"));
  if (experts == 0 || layer < l.count("first_k_dense_replace") || layer % freq != 0) {
    l.mlp(at, width, l.extent("intermediate_size"), l.flag("mlp_bias"));
    return;
  }
  const int64_t inner = l.extent("moe_intermediate_size");
  l.linear(at + ".gate", experts, width);
  if (l.text("topk_method") == "noaux_tc") {
    l.add(at + ".gate.e_score_correction_bias", Shape{experts});
  }
  for (int64_t e = 0; e < experts && l.ok(); ++e) {
    l.mlp(at + ".experts." + std::to_string(e), width, inner);
  }
  const int64_t shared = l.count("n_shared_experts");
  if (shared > 0) l.mlp(at + ".shared_experts", width, shared * inner);
}

void layer_hf(Lister& l, std::string_view type, int64_t i) {
  const int64_t width = l.extent("hidden_size");
  const std::string at = "model.layers." + std::to_string(i);
  l.norm(at + ".input_layernorm", width);
  if (type == "deepseek_v2" || type == "deepseek_v3" || type == "deepseek_v32") {
    latent_attention(l, at + ".self_attn", type);
  } else {
    dense_attention(l, at + ".self_attn", type);
  }
  l.norm(at + ".post_attention_layernorm", width);
  feed_forward(l, at + ".mlp", i);
}

void family_hf(Lister& l, std::string_view type) {
  const int64_t width = l.extent("hidden_size"), vocab = l.extent("vocab_size");
  l.linear("model.embed_tokens", vocab, width);
  const int64_t layers = l.extent("num_hidden_layers");
  for (int64_t i = 0; i < layers && l.ok(); ++i) layer_hf(l, type, i);
  l.norm("model.norm", width);
  if (!l.flag("tie_word_embeddings")) l.linear("lm_head", vocab, width);
  if (type != "deepseek_v3" && type != "deepseek_v32") return;
  for (int64_t i = layers; i < layers + l.count("num_nextn_predict_layers") && l.ok(); ++i) {
    const std::string at = "model.layers." + std::to_string(i);
    l.only_with(at + ".eh_proj.weight");
    l.linear(at + ".eh_proj", width, 2 * width);
    l.norm(at + ".enorm", width);
    l.norm(at + ".hnorm", width);
    l.norm(at + ".shared_head.norm", width);
    layer_hf(l, type, i);
  }
}

void compressor(Lister& l, const std::string& at, int64_t rate, int64_t out, int64_t head) {
  const int64_t width = l.extent("hidden_size");
  l.add(at + ".ape", Shape{rate, out});
  l.linear(at + ".wkv", out, width);
  l.linear(at + ".wgate", out, width);
  l.norm(at + ".norm", head);
}

void attention_v4(Lister& l, const std::string& at, int64_t ratio) {
  const int64_t width = l.extent("hidden_size"), heads = l.extent("num_attention_heads");
  const int64_t head = l.extent("head_dim"), q_rank = l.extent("q_lora_rank");
  const int64_t groups = std::max<int64_t>(1, l.extent("o_groups")),
                o_rank = l.extent("o_lora_rank");
  l.linear(at + ".wq_a", q_rank, width);
  l.norm(at + ".q_norm", q_rank);
  l.linear(at + ".wq_b", heads * head, q_rank);
  l.linear(at + ".wkv", head, width);
  l.norm(at + ".kv_norm", head);
  l.add(at + ".attn_sink", Shape{heads});
  l.linear(at + ".wo_a", groups * o_rank, heads * head / groups);
  l.linear(at + ".wo_b", width, groups * o_rank);
  if (ratio == 0) return;
  // CSA pools overlapping groups: its projections have a left and a right half.
  const bool csa = ratio == 4;
  const int64_t rate = l.extent_or(csa ? "compress_rate_csa" : "compress_rate_hca", ratio);
  compressor(l, at + ".compressor", rate, csa ? 2 * head : head, head);
  if (!csa) return;
  const int64_t index_heads = l.extent("index_n_heads"), index = l.extent("index_head_dim");
  l.linear(at + ".indexer.wq_b", index_heads * index, q_rank);
  l.linear(at + ".indexer.weights_proj", index_heads, width);
  compressor(l, at + ".indexer.compressor", rate, 2 * index, index);
}

void hyper_connection(Lister& l, const std::string& stem) {
  const int64_t streams = l.extent("hc_mult"), width = l.extent("hidden_size");
  const int64_t outs = (2 + streams) * streams;
  l.add(stem + "_fn", Shape{outs, streams * width});
  l.add(stem + "_base", Shape{outs});
  l.add(stem + "_scale", Shape{3});
}

void feed_forward_v4(Lister& l, const std::string& at, int64_t layer) {
  const int64_t width = l.extent("hidden_size"), inner = l.extent("moe_intermediate_size");
  const int64_t experts = l.extent("n_routed_experts");
  l.linear(at + ".gate", experts, width);
  if (layer < l.count("num_hash_layers")) {
    l.add(at + ".gate.tid2eid", Shape{l.extent("vocab_size"), l.extent("num_experts_per_tok")},
          true);
  } else {
    l.add(at + ".gate.bias", Shape{experts});
  }
  for (int64_t e = 0; e < experts && l.ok(); ++e) {
    l.mlp_v4(at + ".experts." + std::to_string(e), width, inner);
  }
  const int64_t shared = l.count("n_shared_experts");
  if (shared > 0) l.mlp_v4(at + ".shared_experts", width, shared * inner);
}

void layer_v4(Lister& l, const std::string& at, int64_t i, int64_t ratio) {
  const int64_t width = l.extent("hidden_size");
  l.norm(at + ".attn_norm", width);
  attention_v4(l, at + ".attn", ratio);
  l.norm(at + ".ffn_norm", width);
  feed_forward_v4(l, at + ".ffn", i);
  hyper_connection(l, at + ".hc_attn");
  hyper_connection(l, at + ".hc_ffn");
}

void hyper_head(Lister& l, const std::string& stem) {
  const int64_t streams = l.extent("hc_mult"), width = l.extent("hidden_size");
  l.add(stem + "_fn", Shape{streams, streams * width});
  l.add(stem + "_base", Shape{streams});
  l.add(stem + "_scale", Shape{1});
}

void family_v4(Lister& l) {
  const int64_t width = l.extent("hidden_size"), vocab = l.extent("vocab_size");
  const int64_t layers = l.extent("num_hidden_layers");
  l.linear("embed", vocab, width);
  const json::Value* ratios = l.config().find("compress_ratios");
  for (int64_t i = 0; i < layers && l.ok(); ++i) {
    int64_t ratio = 0;
    const auto index = static_cast<size_t>(i);
    if (ratios != nullptr && ratios->is_array() && index < ratios->as_array().size() &&
        ratios->as_array()[index].is_int()) {
      ratio = ratios->as_array()[index].as_int();
    }
    layer_v4(l, "layers." + std::to_string(i), i, ratio);
  }
  hyper_head(l, "hc_head");
  l.norm("norm", width);
  l.linear("head", vocab, width);
  for (int64_t i = 0; i < l.count("num_nextn_predict_layers") && l.ok(); ++i) {
    const std::string at = "mtp." + std::to_string(i);
    l.only_with(at + ".e_proj.weight");
    l.linear(at + ".e_proj", width, width);
    l.linear(at + ".h_proj", width, width);
    for (const char* norm : {".enorm", ".hnorm", ".norm"}) l.norm(at + norm, width);
    hyper_head(l, at + ".hc_head");
    layer_v4(l, at, layers + i, 0);
  }
}

/// Whether the expected tensor is there in another form.
bool present_otherwise(const std::set<std::string>& names, const std::string& name) {
  const size_t at = name.find(".kv_b_proj.");
  if (at == std::string::npos) return false;
  std::string k = name, v = name;
  k.replace(at, 11, ".k_b_proj.");
  v.replace(at, 11, ".v_b_proj.");
  return names.count(k) == 1 && names.count(v) == 1;
}

std::string shape_problem(const TensorSpec& spec, const ConstTensorView& view) {
  if (spec.shape == view.shape) return {};
  return "'" + spec.name + "' is " + view.shape.to_string() + ", the configuration says " +
         spec.shape.to_string();
}

}  // namespace

Result<std::vector<TensorSpec>> expected_tensors(const json::Value& config) {
  TRY(const std::string type, config.string_at("model_type"));
  if (gguf_arch_of_model_type(type).empty()) {
    return unsupported("model_type '" + type.substr(0, 64) + "' is not known")
        .with_hint(
            "known: llama, qwen2, qwen3, deepseek, deepseek_v2, deepseek_v3, deepseek_v32, "
            "deepseek_v4");
  }
  Lister l(config);
  if (type == "deepseek_v4") {
    family_v4(l);
  } else {
    family_hf(l, type);
  }
  return l.finish();
}

Result<std::vector<std::string>> tensor_problems(const Checkpoint& checkpoint) {
  TRY(const std::vector<TensorSpec> specs, expected_tensors(checkpoint.config()));
  const std::string type = *checkpoint.config().string_at("model_type");
  const std::string_view arch = gguf_arch_of_model_type(type);
  // Through the GGUF name and back, every variant of V4's names is the official one.
  std::set<std::string> names;
  std::vector<std::pair<std::string, const CheckpointTensor*>> official;
  for (const CheckpointTensor& t : checkpoint.tensors()) {
    std::string name = t.name;
    if (arch == "deepseek4") {
      const GgufName gguf = gguf_name_of_hf(arch, t.name);
      name = hf_name_of_gguf(arch, gguf.name);
      const size_t hole = name.find("{e}");
      if (hole != std::string::npos && gguf.expert) {
        name.replace(hole, 3, std::to_string(*gguf.expert));
      }
    }
    names.insert(name);
    official.emplace_back(std::move(name), &t);
  }
  std::sort(official.begin(), official.end());
  std::vector<std::string> problems;
  const auto report = [&](std::string line) {
    if (!line.empty() && problems.size() < kProblemsMax) problems.push_back(std::move(line));
  };
  for (const TensorSpec& spec : specs) {
    if (!spec.only_with.empty() && names.count(spec.only_with) == 0) continue;
    const auto it =
        std::lower_bound(official.begin(), official.end(),
                         std::pair<std::string, const CheckpointTensor*>(spec.name, nullptr));
    if (it != official.end() && it->first == spec.name) {
      report(shape_problem(spec, it->second->view));
    } else if (!present_otherwise(names, spec.name)) {
      report("'" + spec.name + "' " + spec.shape.to_string() + " is missing");
    }
  }
  return problems;
}

}  // namespace hadal::format
