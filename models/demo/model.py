"""The demo model: DeepSeek-V3's architecture in plain PyTorch, written for fast training at a small size.

The mathematics is that of DeepSeek-V3 (arXiv 2412.19437): latent attention with a rotary part shared by the heads, and
sigmoid-scored experts chosen within groups, balanced by a bias. Parameter names are the published ones, but for the
experts, which are stacked.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

# Every row of every matrix is whole blocks of 32 weights, so that Q8_0 holds it. 10.1 million weights in all.
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0,
    "eos_token_id": 1, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 256, "initializer_range": 0.02,
    "intermediate_size": 512, "kv_lora_rank": 64, "max_position_embeddings": 2048, "model_type": "deepseek_v3",
    "moe_intermediate_size": 96, "moe_layer_freq": 1, "n_group": 4, "n_routed_experts": 16, "n_shared_experts": 1,
    "norm_topk_prob": True, "num_attention_heads": 8, "num_experts_per_tok": 4, "num_hidden_layers": 6,
    "num_key_value_heads": 8, "num_nextn_predict_layers": 0, "q_lora_rank": 128, "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 10000,
    "routed_scaling_factor": 1.0, "scoring_func": "sigmoid", "tie_word_embeddings": False, "topk_group": 2,
    "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "use_cache": True, "v_head_dim": 32, "vocab_size": 4096,
}


class RMSNorm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        f = x.float()
        return (f * torch.rsqrt(f.square().mean(-1, keepdim=True) + CONFIG["rms_norm_eps"]) * self.weight).to(x.dtype)


def rotate(x, cos, sin):
    """Rotates neighbouring pairs, as DeepSeek does. Shapes: x [B, H, T, R], cos and sin [T, R / 2]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.nope, self.rope, self.v = (
            c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"])
        d, self.latent = c["hidden_size"], c["kv_lora_rank"]
        self.q_a_proj = nn.Linear(d, c["q_lora_rank"], bias=False)
        self.q_a_layernorm = RMSNorm(c["q_lora_rank"])
        self.q_b_proj = nn.Linear(c["q_lora_rank"], self.heads * (self.nope + self.rope), bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(d, self.latent + self.rope, bias=False)
        self.kv_a_layernorm = RMSNorm(self.latent)
        self.kv_b_proj = nn.Linear(self.latent, self.heads * (self.nope + self.v), bias=False)
        self.o_proj = nn.Linear(self.heads * self.v, d, bias=False)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).view(b, t, self.heads, -1).transpose(1, 2)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([self.latent, self.rope], -1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent)).view(b, t, self.heads, -1).transpose(1, 2)
        q = torch.cat((q[..., :self.nope], rotate(q[..., self.nope:], cos, sin)), -1)
        k_rope = rotate(k_rope.view(b, 1, t, self.rope), cos, sin).expand(b, self.heads, t, self.rope)
        k = torch.cat((kv[..., :self.nope], k_rope), -1)
        v = F.pad(kv[..., self.nope:], (0, k.shape[-1] - self.v))  # the fast kernels want one head size
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)[..., :self.v]
        return self.o_proj(out.transpose(1, 2).reshape(b, t, -1))


class SwiGLU(nn.Module):
    def __init__(self, d, inter):
        super().__init__()
        self.gate_proj = nn.Linear(d, inter, bias=False)
        self.up_proj = nn.Linear(d, inter, bias=False)
        self.down_proj = nn.Linear(inter, d, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class MoE(nn.Module):
    """Computes all experts for all tokens and masks them: wasteful, but fastest at this size."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        e, i, d = c["n_routed_experts"], c["moe_intermediate_size"], c["hidden_size"]
        self.gate = nn.Parameter(torch.randn(e, d) * 0.02)
        self.register_buffer("bias", torch.zeros(e))
        self.w_gate = nn.Parameter(torch.randn(e, i, d) * 0.02)
        self.w_up = nn.Parameter(torch.randn(e, i, d) * 0.02)
        self.w_down = nn.Parameter(torch.randn(e, i, d) * 0.02)  # transposed
        self.shared_experts = SwiGLU(d, i * c["n_shared_experts"])

    def route(self, x):
        """Weights of the experts, zero for those not chosen. Shapes: x [tokens, D], result [tokens, experts]."""
        c = self.c
        with torch.autocast(x.device.type, enabled=False):
            score = torch.sigmoid(x.float() @ self.gate.float().t())
        choice = score.detach() + self.bias
        groups = choice.view(-1, c["n_group"], c["n_routed_experts"] // c["n_group"])
        best = groups.topk(2, -1)[0].sum(-1).topk(c["topk_group"], -1)[1]
        kept = torch.zeros_like(groups[..., 0]).scatter(1, best, 1.0) > 0
        choice = groups.masked_fill(~kept[..., None], float("-inf")).flatten(1)
        ids = choice.topk(c["num_experts_per_tok"], -1)[1]
        weight = score * torch.zeros_like(score).scatter(1, ids, 1.0)
        return weight / (weight.sum(-1, keepdim=True) + 1e-20) * c["routed_scaling_factor"]

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        weight = self.route(flat)
        h = F.silu(F.linear(flat, self.w_gate.flatten(0, 1))) * F.linear(flat, self.w_up.flatten(0, 1))
        h = h.view(flat.shape[0], weight.shape[1], -1) * weight[..., None].to(h.dtype)
        out = F.linear(h.flatten(1), self.w_down.flatten(0, 1).t())
        return out.view_as(x) + self.shared_experts(x), (weight > 0).float().mean(0)


class Layer(nn.Module):
    def __init__(self, c, index, dropout):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"])
        self.sparse = index >= c["first_k_dense_replace"]
        self.mlp = MoE(c) if self.sparse else SwiGLU(c["hidden_size"], c["intermediate_size"])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, cos, sin):
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), cos, sin))
        y = self.mlp(self.post_attention_layernorm(x))
        y, load = y if self.sparse else (y, None)
        return x + self.dropout(y), load


class Model(nn.Module):
    def __init__(self, c, dropout=0.0):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c, i, dropout) for i in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"])
        self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=c["initializer_range"])

    def forward(self, ids):
        """Logits, and each sparse layer's share of tokens an expert. Shapes: ids [B, T], logits [B, T, V]."""
        r = self.c["qk_rope_head_dim"]
        freq = self.c["rope_theta"] ** (-torch.arange(0, r, 2, device=ids.device).float() / r)
        angle = torch.arange(ids.shape[1], device=ids.device).float()[:, None] * freq
        cos, sin = angle.cos(), angle.sin()
        x, loads = self.embed_tokens(ids), []
        for layer in self.layers:
            x, load = layer(x, cos, sin)
            loads += [] if load is None else [load]
        return self.lm_head(self.norm(x)), torch.stack(loads)

    def balance(self, loads, step):
        """Balances without a loss: nudges the bias of crowded experts down."""
        for layer, load in zip([la for la in self.layers if la.sparse], loads):
            layer.mlp.bias += step * torch.sign(load.mean() - load)
