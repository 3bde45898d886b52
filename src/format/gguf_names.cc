#include "format/gguf_names.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace hadal::format {
namespace {

struct Pair {
  std::string_view gguf;
  std::string_view hf;
};

// Pairs are stems; ".weight" or ".bias" follows on both sides. Pairs in the "whole" tables are
// complete.
constexpr Pair kGlobal[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};
constexpr Pair kBlock[] = {
    {"attn_norm", "input_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_q_a", "self_attn.q_a_proj"},
    {"attn_q_a_norm", "self_attn.q_a_layernorm"},
    {"attn_q_b", "self_attn.q_b_proj"},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
    {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
    {"attn_kv_b", "self_attn.kv_b_proj"},
    {"attn_k_b", "self_attn.k_b_proj"},
    {"attn_v_b", "self_attn.v_b_proj"},
    {"indexer.attn_q_b", "self_attn.indexer.wq_b"},
    {"indexer.attn_k", "self_attn.indexer.wk"},
    {"indexer.k_norm", "self_attn.indexer.k_norm"},
    {"indexer.proj", "self_attn.indexer.weights_proj"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_shexp", "mlp.shared_experts.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_experts.up_proj"},
    {"ffn_down_shexp", "mlp.shared_experts.down_proj"},
    {"ffn_gate_exps", "mlp.experts.{e}.gate_proj"},
    {"ffn_up_exps", "mlp.experts.{e}.up_proj"},
    {"ffn_down_exps", "mlp.experts.{e}.down_proj"},
    {"nextn.eh_proj", "eh_proj"},
    {"nextn.enorm", "enorm"},
    {"nextn.hnorm", "hnorm"},
    {"nextn.embed_tokens", "embed_tokens"},
    {"nextn.shared_head_head", "shared_head.head"},
    {"nextn.shared_head_norm", "shared_head.norm"},
};
constexpr Pair kBlockWhole[] = {
    {"exp_probs_b.bias", "mlp.gate.e_score_correction_bias"},
};

constexpr Pair kV4Global[] = {
    {"token_embd", "embed"},
    {"output_norm", "norm"},
    {"output", "head"},
};
constexpr Pair kV4GlobalWhole[] = {
    {"output_hc_fn.weight", "hc_head_fn"},
    {"output_hc_base.weight", "hc_head_base"},
    {"output_hc_scale.weight", "hc_head_scale"},
};
constexpr Pair kV4Block[] = {
    {"attn_norm", "attn_norm"},
    {"ffn_norm", "ffn_norm"},
    {"attn_q_a", "attn.wq_a"},
    {"attn_q_a_norm", "attn.q_norm"},
    {"attn_q_b", "attn.wq_b"},
    {"attn_kv", "attn.wkv"},
    {"attn_kv_a_norm", "attn.kv_norm"},
    {"attn_output_a", "attn.wo_a"},
    {"attn_output_b", "attn.wo_b"},
    {"attn_compressor_kv", "attn.compressor.wkv"},
    {"attn_compressor_gate", "attn.compressor.wgate"},
    {"attn_compressor_norm", "attn.compressor.norm"},
    {"indexer.attn_q_b", "attn.indexer.wq_b"},
    {"indexer.proj", "attn.indexer.weights_proj"},
    {"indexer_compressor_kv", "attn.indexer.compressor.wkv"},
    {"indexer_compressor_gate", "attn.indexer.compressor.wgate"},
    {"indexer_compressor_norm", "attn.indexer.compressor.norm"},
    {"ffn_gate_shexp", "ffn.shared_experts.w1"},
    {"ffn_down_shexp", "ffn.shared_experts.w2"},
    {"ffn_up_shexp", "ffn.shared_experts.w3"},
    {"ffn_gate_exps", "ffn.experts.{e}.w1"},
    {"ffn_down_exps", "ffn.experts.{e}.w2"},
    {"ffn_up_exps", "ffn.experts.{e}.w3"},
};
constexpr Pair kV4BlockWhole[] = {
    {"attn_sinks.weight", "attn.attn_sink"},
    {"attn_compressor_ape.weight", "attn.compressor.ape"},
    {"indexer_compressor_ape.weight", "attn.indexer.compressor.ape"},
    {"ffn_gate_inp.weight", "ffn.gate.weight"},
    {"exp_probs_b.bias", "ffn.gate.bias"},
    {"ffn_gate_tid2eid.weight", "ffn.gate.tid2eid"},
    {"hc_attn_fn.weight", "hc_attn_fn"},
    {"hc_attn_base.weight", "hc_attn_base"},
    {"hc_attn_scale.weight", "hc_attn_scale"},
    {"hc_ffn_fn.weight", "hc_ffn_fn"},
    {"hc_ffn_base.weight", "hc_ffn_base"},
    {"hc_ffn_scale.weight", "hc_ffn_scale"},
};

/// The tables of one naming.
struct Tables {
  std::span<const Pair> global, global_whole, block, block_whole;
  std::string_view hf_block;  ///< before the layer's number
};

const Tables& tables_of(std::string_view arch) {
  static constexpr Tables kHf{kGlobal, {}, kBlock, kBlockWhole, "model.layers."};
  static constexpr Tables kV4{kV4Global, kV4GlobalWhole, kV4Block, kV4BlockWhole, "layers."};
  return arch == "deepseek4" ? kV4 : kHf;
}

/// "<prefix><digits>.<rest>" as digits and rest.
struct Numbered {
  std::string_view number, rest;
};
std::optional<Numbered> numbered(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits == 0 || digits > 6 || digits >= name.size() || name[digits] != '.') {
    return std::nullopt;
  }
  return Numbered{name.substr(0, digits), name.substr(digits + 1)};
}

/// Translates the part after the layer's number (or the whole global name) from side `from` to
/// side `to`.
std::optional<std::string> translate(std::string_view name, std::span<const Pair> stems,
                                     std::span<const Pair> whole, std::string_view Pair::*from,
                                     std::string_view Pair::*to) {
  for (const Pair& p : whole) {
    if (p.*from == name) return std::string(p.*to);
  }
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view stem = name.substr(0, dot), tail = name.substr(dot);
  if (tail != ".weight" && tail != ".bias") return std::nullopt;
  for (const Pair& p : stems) {
    if (p.*from == stem) return std::string(p.*to).append(tail);
  }
  return std::nullopt;
}

/// V4 checkpoints that transformers wrote, in the official names.
std::string official_v4_name(std::string_view name) {
  std::string out(name);
  if (out.starts_with("model.")) out.erase(0, 6);
  const auto rename = [&out](std::string_view from, std::string_view to) {
    if (out == from) out = to;
  };
  rename("embed_tokens.weight", "embed.weight");
  rename("lm_head.weight", "head.weight");
  rename("hc_head.hc_fn", "hc_head_fn");
  rename("hc_head.hc_base", "hc_head_base");
  rename("hc_head.hc_scale", "hc_head_scale");
  constexpr std::string_view kNorm = ".attn.norm.weight";
  if (out.ends_with(kNorm))
    out.replace(out.size() - kNorm.size(), kNorm.size(), ".attn.kv_norm.weight");
  return out;
}

}  // namespace

bool gguf_arch_known(std::string_view arch) {
  constexpr std::array<std::string_view, 7> kKnown = {
      "llama", "qwen2", "qwen3", "deepseek", "deepseek2", "deepseek32", "deepseek4"};
  return std::find(kKnown.begin(), kKnown.end(), arch) != kKnown.end();
}

std::string_view gguf_arch_of_model_type(std::string_view model_type) {
  constexpr std::pair<std::string_view, std::string_view> kArchs[] = {
      {"llama", "llama"},
      {"qwen2", "qwen2"},
      {"qwen3", "qwen3"},
      {"deepseek", "deepseek"},
      {"deepseek_v2", "deepseek2"},
      {"deepseek_v3", "deepseek2"},
      {"deepseek_v32", "deepseek32"},
      {"deepseek_v4", "deepseek4"}};
  for (const auto& [type, arch] : kArchs) {
    if (type == model_type) return arch;
  }
  return {};
}

std::string hf_name_of_gguf(std::string_view arch, std::string_view name) {
  const Tables& t = tables_of(arch);
  if (const auto block = numbered(name, "blk.")) {
    const auto rest = translate(block->rest, t.block, t.block_whole, &Pair::gguf, &Pair::hf);
    if (!rest) return std::string(name);
    return std::string(t.hf_block).append(block->number).append(".").append(*rest);
  }
  return translate(name, t.global, t.global_whole, &Pair::gguf, &Pair::hf)
      .value_or(std::string(name));
}

GgufName gguf_name_of_hf(std::string_view arch, std::string_view hf) {
  const Tables& t = tables_of(arch);
  const std::string name = arch == "deepseek4" ? official_v4_name(hf) : std::string(hf);
  const auto block = numbered(name, t.hf_block);
  if (!block) {
    return {translate(name, t.global, t.global_whole, &Pair::hf, &Pair::gguf).value_or(name), {}};
  }
  std::string rest(block->rest);
  std::optional<int64_t> expert;
  for (const std::string_view prefix : {"mlp.experts.", "ffn.experts."}) {
    if (const auto e = numbered(rest, prefix)) {
      expert = std::stoll(std::string(e->number));
      rest = std::string(prefix).append("{e}.").append(e->rest);
    }
  }
  const auto gguf = translate(rest, t.block, t.block_whole, &Pair::hf, &Pair::gguf);
  if (!gguf) return {name, {}};
  return {std::string("blk.").append(block->number).append(".").append(*gguf), expert};
}

}  // namespace hadal::format
