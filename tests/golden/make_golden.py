#!/usr/bin/env python3
"""Makes tiny checkpoints with random weights and their reference logits, for what the first eight goldens leave out.

    python3 make_golden.py OUT [NAME...]

Each gets a folder OUT/NAME with config.json, model.safetensors and golden.safetensors (input_ids, logits). The logits are
those of Hugging Face transformers in float32 with the weights as stored (quantized ones multiplied out). DeepSeek-MoE-16B,
which transformers does not have, is Llama's attention with the experts written here.
Needs torch, safetensors and transformers; made with torch 2.11.0 and transformers 5.17.0 on a CPU.
"""
import json
import os
import re
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

COMMON = {"vocab_size": 256, "rms_norm_eps": 1e-6, "hidden_act": "silu", "attention_bias": False, "bos_token_id": 0,
          "eos_token_id": 1, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
YARN = {"type": "yarn", "factor": 8, "original_max_position_embeddings": 32, "beta_fast": 32, "beta_slow": 1,
        "mscale": 0.9, "mscale_all_dim": 0.6}
LATENT = {"num_attention_heads": 4, "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 24, "qk_nope_head_dim": 16,
          "qk_rope_head_dim": 8, "v_head_dim": 16, "moe_intermediate_size": 32, "intermediate_size": 96, "hidden_size": 64,
          "n_shared_experts": 1, "n_routed_experts": 8, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
          "moe_layer_freq": 1, "num_hidden_layers": 3, "max_position_embeddings": 512, "rope_theta": 10000,
          "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True, "n_group": 4, "topk_group": 2,
          "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 0, "rope_scaling": YARN}


def config(architecture, model_type, **values):
    return {**COMMON, "architectures": [architecture], "model_type": model_type, **values}


CONFIGS = {
    # Biases everywhere, tied embeddings, a head size of its own, rope scaled linearly.
    "llama_biases": config("LlamaForCausalLM", "llama", hidden_size=48, intermediate_size=88, num_hidden_layers=2,
                           num_attention_heads=6, num_key_value_heads=3, head_dim=16, max_position_embeddings=256,
                           rope_theta=1e5, rope_scaling={"type": "linear", "factor": 4.0}, attention_bias=True,
                           mlp_bias=True, tie_word_embeddings=True),
    # The newer spelling of rope, weights in float16.
    "llama_rope_parameters": config(
        "LlamaForCausalLM", "llama", hidden_size=64, intermediate_size=120, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, torch_dtype="float16",
        rope_parameters={"rope_type": "llama3", "rope_theta": 300000.0, "factor": 32.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
    # Seven heads of eight, which fill no vector.
    "qwen2_odd": config("Qwen2ForCausalLM", "qwen2", hidden_size=56, intermediate_size=104, num_hidden_layers=2,
                        num_attention_heads=7, num_key_value_heads=1, max_position_embeddings=256, rope_theta=1e6,
                        use_sliding_window=False),
    "qwen3": config("Qwen3ForCausalLM", "qwen3", hidden_size=64, intermediate_size=120, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, head_dim=24, max_position_embeddings=256, rope_theta=1e6,
                    rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
    "deepseek_moe": config("DeepseekForCausalLM", "deepseek", hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                           num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, rope_theta=1e4,
                           moe_intermediate_size=32, n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3,
                           first_k_dense_replace=1, moe_layer_freq=1, norm_topk_prob=False, scoring_func="softmax"),
    # The config as transformers writes it.
    "deepseek_v3_new_config": config("DeepseekV3ForCausalLM", "deepseek_v3", **LATENT),
    # No compressed queries, one group of experts, heads of three widths, no rope scaling.
    "deepseek_v3_plain": config("DeepseekV3ForCausalLM", "deepseek_v3", **{
        **LATENT, "q_lora_rank": None, "n_group": 1, "topk_group": 1, "qk_nope_head_dim": 40, "qk_rope_head_dim": 16,
        "v_head_dim": 24, "n_shared_experts": 2, "routed_scaling_factor": 1.0, "rope_scaling": None}),
    # FP8 with scales that are powers of two, in matrices that are not whole blocks.
    "deepseek_v3_fp8_ue8m0": config("DeepseekV3ForCausalLM", "deepseek_v3", **{
        **LATENT, "hidden_size": 136, "intermediate_size": 136, "kv_lora_rank": 56, "q_lora_rank": 72,
        "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_hidden_layers": 2}),
    # The official names, FP4 experts, FP8 elsewhere; more than one pooled row of 128.
    "deepseek_v4_official": config(
        "DeepseekV4ForCausalLM", "deepseek_v4", hidden_size=64, moe_intermediate_size=32, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=1, head_dim=32, qk_rope_head_dim=8, q_lora_rank=24, num_experts_per_tok=3,
        n_routed_experts=8, n_shared_experts=1, scoring_func="sqrtsoftplus", topk_method="noaux_tc", norm_topk_prob=True,
        routed_scaling_factor=1.5, max_position_embeddings=1024, rope_theta=10000, compress_rope_theta=160000,
        rope_scaling={"type": "yarn", "factor": 16, "original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1},
        hc_mult=2, hc_sinkhorn_iters=20, hc_eps=1e-6, swiglu_limit=10.0, sliding_window=5, o_groups=2, o_lora_rank=16,
        index_n_heads=16, index_head_dim=16, index_topk=4, num_nextn_predict_layers=0, compress_ratios=[0, 4, 128, 4],
        num_hash_layers=1),
}


# ------------------------------------------------------------------------------------------------ weights

def randomize(model, seed):
    """Random weights under which activations keep their size and every part matters."""
    generator = torch.Generator().manual_seed(seed)

    def noise(shape):
        return torch.randn(shape, generator=generator)

    for name, p in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            p.data = 1 + 0.2 * noise(p.shape)
        elif p.dim() == 1:
            p.data = 0.2 * noise(p.shape)
        elif "embed_tokens" in name:
            p.data = noise(p.shape)
        else:
            p.data = noise(p.shape) * (1.3 / p.shape[-1] ** 0.5)
    for name, b in model.named_buffers():
        if "e_score_correction_bias" in name or name.endswith("gate.bias"):
            b.copy_(0.2 * noise(b.shape))
        if "tid2eid" in name:
            rows = [torch.randperm(model.config.n_routed_experts, generator=generator)[:b.shape[1]] for _ in range(len(b))]
            b.copy_(torch.stack(rows).to(b.dtype))


def e4m3(w):
    """DeepSeek's FP8: blocks of 128 x 128, scales powers of two. Returns stored, scales, multiplied out."""
    n, k = w.shape
    rows, cols = -(-n // 128), -(-k // 128)
    padded = torch.zeros(rows * 128, cols * 128)
    padded[:n, :k] = w
    blocks = padded.view(rows, 128, cols, 128)
    scale = torch.exp2(torch.ceil(torch.log2(blocks.abs().amax((1, 3)).clamp(min=1e-8) / 448)))
    stored = (blocks / scale[:, None, :, None]).view(rows * 128, cols * 128)[:n, :k].to(torch.float8_e4m3fn)
    spread = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:n, :k]
    return stored, scale.to(torch.float8_e8m0fnu), stored.float() * spread


def e2m1(w):
    """DeepSeek-V4's FP4: blocks of 32, scales powers of two, the even weight in the low nibble."""
    values = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])
    blocks = w.view(len(w), -1, 32)
    scale = torch.exp2(torch.ceil(torch.log2(blocks.abs().amax(-1).clamp(min=1e-8) / 6)))
    codes = ((blocks / scale[..., None])[..., None] - values).abs().argmin(-1)
    whole = (values[codes] * scale[..., None]).view(w.shape)
    codes = codes.view(w.shape).to(torch.uint8)
    return (codes[:, 0::2] | codes[:, 1::2] << 4).view(torch.int8), scale.to(torch.float8_e8m0fnu), whole


def official_name(name):
    """DeepSeek-V4's own name of a tensor, from the one that transformers writes."""
    name = name.removeprefix("model.").replace("hc_head.hc_", "hc_head_").replace("embed_tokens.", "embed.")
    return re.sub(r"attn\.norm\.", "attn.kv_norm.", name)


def quantize(tensors, v4):
    """What is stored, and the same multiplied out under transformers' names."""
    stored, whole = {}, {}
    for name, w in tensors.items():
        out = official_name(name) if v4 else name
        matrix = w.dim() == 2 and "layers." in name
        if v4 and matrix and ".experts." in name:
            stored[out], stored[out.replace(".weight", ".scale")], whole[name] = e2m1(w.float())
        elif matrix and re.search(r"attn\.(w\w+|indexer\.wq_b)\.weight|shared_experts" if v4 else
                                  r"(self_attn|mlp)\.(?!gate\.)", name):
            scale_name = out.replace(".weight", ".scale" if v4 else ".weight_scale_inv")
            stored[out], stored[scale_name], whole[name] = e4m3(w.float())
        elif w.is_floating_point():
            single = v4 and re.search(r"hc_|sink|gate\.bias|ape", name)
            stored[out], whole[name] = w.float() if single else w, w.float()
        else:
            stored[out] = whole[name] = w
    return stored, whole


# ------------------------------------------------------------------------------------------------ DeepSeek-MoE-16B

class Experts(nn.Module):
    def __init__(self, c, values):
        super().__init__()

        def mlp(width):
            narrow = transformers.LlamaConfig(**{**c.to_dict(), "intermediate_size": width})
            return LlamaMLP(narrow)

        self.top = values["num_experts_per_tok"]
        self.experts = nn.ModuleList(mlp(values["moe_intermediate_size"]) for _ in range(values["n_routed_experts"]))
        self.gate = nn.Linear(c.hidden_size, values["n_routed_experts"], bias=False)
        self.shared_experts = mlp(values["moe_intermediate_size"] * values["n_shared_experts"])

    def forward(self, x):
        flat = x.view(-1, x.shape[-1])
        weight, ids = self.gate(flat).softmax(-1).topk(self.top, -1)
        rows = [sum(w * self.experts[e](row) for w, e in zip(ws, es)) for row, ws, es in zip(flat, weight, ids)]
        return torch.stack(rows).view_as(x) + self.shared_experts(x)


def moe_16b(values):
    c = transformers.LlamaConfig(**{k: v for k, v in values.items() if k not in ("architectures", "model_type")})
    c._attn_implementation = "eager"
    model = transformers.LlamaForCausalLM(c)
    for layer in model.model.layers[values["first_k_dense_replace"]:]:
        layer.mlp = Experts(c, values)
    return model


# ------------------------------------------------------------------------------------------------ use

def write_config(folder, values):
    with open(f"{folder}/config.json", "w", encoding="utf-8") as f:
        json.dump(values, f, indent=1)


def make(name, values, folder, seed):
    """Writes checkpoint and golden; returns the logits' deviation, a sign that they are not all alike."""
    os.makedirs(folder, exist_ok=True)
    weights = f"{folder}/model.safetensors"
    if name == "deepseek_moe":
        model = moe_16b(values).eval()
        randomize(model, seed)
        for p in model.parameters():
            p.data = p.data.bfloat16().float()
        save_file({k: v.bfloat16().contiguous() for k, v in model.state_dict().items()}, weights)
        write_config(folder, values)
    else:
        write_config(folder, values)
        blank = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        randomize(blank, seed)
        blank.to(getattr(torch, values["torch_dtype"])).save_pretrained(folder)
        if not name.endswith("new_config"):
            write_config(folder, values)
        os.remove(f"{folder}/generation_config.json")
        quantized = "fp8" in name or "official" in name
        if quantized:
            stored, whole = quantize(load_file(weights), v4="v4" in name)
            save_file({k: v.contiguous() for k, v in whole.items()}, weights, metadata={"format": "pt"})
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        if quantized:
            save_file({k: v.contiguous() for k, v in stored.items()}, weights, metadata={"format": "pt"})
            write_config(folder, {**values, "quantization_config": {
                "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "scale_fmt": "ue8m0",
                "weight_block_size": [128, 128]}})
    ids = torch.randint(2, values["vocab_size"], (1, 280 if "v4" in name else 80),
                        generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0].float()
    save_file({"input_ids": ids[0].int(), "logits": logits.contiguous()}, f"{folder}/golden.safetensors")
    return float(logits.std())


def main():
    out, *names = sys.argv[1:]
    for seed, (name, values) in enumerate(CONFIGS.items(), start=1):
        if not names or name in names:
            print(f"{name}: logits deviate by {make(name, values, f'{out}/{name}', seed):.2f}", flush=True)


if __name__ == "__main__":
    main()
