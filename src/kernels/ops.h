#pragma once

// The contract of every op. cpu/ref is its definition in code; every other table must agree with it
// within the bound that the parity test states. Ops are enqueued on the device's stream in order
// and return at once; they allocate nothing after their first use at a size. All addresses are
// device addresses.
//
// Shape letters: T tokens in the step, S sequences, D model, H heads, C latent (kv_lora), R rope
// dims, E experts, K experts per token, V vocabulary, P page, M hyper-connection streams.

#include <cstdint>
#include <span>

#include "tensor/tensor_view.h"

namespace hadal::kernels {

/// Activations: `rows` x `cols` elements of the device's activation dtype; row i begins at data + i
/// * stride elements.
struct Mat {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  bool empty() const { return data == nullptr; }
  /// Columns [begin, begin + count) of every row.
  Mat slice_cols(int64_t begin, int64_t count) const {
    CHECK(begin >= 0 && count >= 0 && begin + count <= cols);
    return {data + begin * dtype_info(dtype).block_bytes, dtype, rows, count, stride};
  }
  Mat slice_rows(int64_t begin, int64_t count) const {
    CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    return {data + begin * stride * dtype_info(dtype).block_bytes, dtype, count, cols, stride};
  }
  /// The same dense elements as rows of `to_cols`: [T, H * d] as [T * H, d].
  Mat split_rows(int64_t to_cols) const {
    CHECK(stride == cols && to_cols > 0 && cols % to_cols == 0);
    return {data, dtype, rows * (cols / to_cols), to_cols, to_cols};
  }
};

/// What a step works on. Arrays lie in device memory; the scalars are the host's own bounds.
struct StepView {
  int64_t tokens = 0;                  ///< T
  int64_t sequences = 0;               ///< S
  const int32_t* token_ids = nullptr;  ///< [T], each in [0, V)
  const int32_t* positions = nullptr;  ///< [T], of the token in its sequence, from 0
  const int32_t* token_seq =
      nullptr;  ///< [T], index of its sequence; tokens of a sequence are neighbours, in order
  const int32_t* seq_begin = nullptr;  ///< [S + 1], its first token in this step
  const int32_t* block_table =
      nullptr;  ///< [S, blocks_max], the page of each P tokens of a sequence
  int64_t blocks_max = 0;
  const int32_t* slots = nullptr;  ///< [S], the ring slot of a sequence
  int64_t context_max = 0;         ///< the largest position in the step + 1
};

/// One layer's rows in the KV cache. A growing stream keeps row r of sequence s in page
/// block_table[s][r / page_rows]; a ring stream keeps the last ring_rows rows of a sequence, row r
/// at slots[s] * ring_rows + r % ring_rows.
struct KvView {
  std::byte* data = nullptr;
  /// f32, f16, bf16, f8_e4m3, or q8_0 where rows and heads are whole blocks.
  DType dtype = DType::f32;
  int64_t width = 0;      ///< elements of a row
  int64_t page_rows = 0;  ///< rows of a page: P / tokens per row
  int64_t ring_rows = 0;  ///< 0: growing

  bool empty() const { return data == nullptr; }
};

/// cos and sin of every token's rotation: [T, dims / 2] each, made once per step by rope_table.
struct RopeView {
  const float* cos = nullptr;
  const float* sin = nullptr;
  int64_t dims = 0;
};

/// y = W x for one of several weights that share x.
struct Projection {
  Mat out;                      ///< [T, N]
  WeightView weight;            ///< [N, K]
  const float* bias = nullptr;  ///< [N] or null
};

/// The routed experts of a layer. The spans are host memory that lives as long as the model;
/// `table` is the device's own form of them, made by Device::import_experts.
struct ExpertsView {
  std::span<const WeightView> gate;  ///< E of [I, D]
  std::span<const WeightView> up;    ///< E of [I, D]
  std::span<const WeightView> down;  ///< E of [D, I]
  const void* table = nullptr;
};

/// How router scores are made from logits.
enum class GateScore { softmax, sigmoid, sqrt_softplus };

struct MoeGateArgs {
  Mat logits;                   ///< [T, E]
  const float* bias = nullptr;  ///< [E], added for the choice only, or null
  const int32_t* hash_table =
      nullptr;  ///< [V, K]: experts by token id instead of by score, or null
  GateScore score = GateScore::softmax;
  int experts_per_token = 0;  ///< K
  int groups = 1;             ///< experts are chosen from the best groups_kept of these groups
  int groups_kept = 1;
  int group_score_top = 1;   ///< a group's score is the sum of its best 1 or 2
  bool normalize = false;    ///< divide the K weights by their sum + 1e-20
  float scale = 1;           ///< then multiply by this
  int32_t* ids = nullptr;    ///< out [T, K]
  float* weights = nullptr;  ///< out [T, K]
};

struct AttentionArgs {
  Mat out;   ///< [T, H * v_dim]
  Mat q;     ///< [T, H * dim], rotated
  KvView k;  ///< rows of kv_heads * dim, including this step's
  KvView v;  ///< rows of kv_heads * v_dim
  int64_t heads = 0;
  int64_t kv_heads = 0;
  float scale = 1;
};

/// Latent attention. The device chooses between the absorbed form (queries moved into the latent
/// space; decode) and expanding the cached latents to keys and values (long prefill). Source:
/// DeepSeek-V2, arXiv 2405.04434, 2.1 and B.
struct MlaArgs {
  Mat out;    ///< [T, H * v_dim]
  Mat q;      ///< [T, H * (nope + R)], the last R of each head rotated
  KvView kv;  ///< rows of C + R: normalised latent, rotated key; including this step's
  /// [H * (nope + v_dim), C]: for each head its nope key rows, then its v_dim value rows. Empty
  /// when split:
  WeightView kv_b;
  WeightView k_b_t;  ///< [H * C, nope], transposed keys
  WeightView v_b;    ///< [H * v_dim, C]
  int64_t heads = 0;
  int64_t nope = 0;
  int64_t latent = 0;
  int64_t rope = 0;
  int64_t v_dim = 0;
  float scale = 1;
  const int32_t* selected =
      nullptr;  ///< [T, selected_max] rows to attend, -1 ends a list; null: all up to the token
  int64_t selected_max = 0;
};

/// Scores cached rows for each token and keeps the best: score(t, r) = sum_h weights[t][h] *
/// ReLU(q[t][h] . k[r]). A token at position p sees rows r < (p + 1) / ratio. Among equal scores
/// the lower row wins. Source: DeepSeek-V3.2-Exp technical report, "DeepSeek Sparse Attention".
struct IndexerArgs {
  Mat q;        ///< [T, H * dim]
  Mat weights;  ///< [T, H]
  KvView k;     ///< rows of dim
  int64_t heads = 0;
  int64_t ratio = 1;            ///< tokens per row
  float scale = 1;              ///< multiplies q . k before ReLU
  float weight_scale = 1;       ///< multiplies the weights
  int32_t* selected = nullptr;  ///< out [T, selected_max], rows ascending, then -1
  int64_t selected_max = 0;
};

/// Pools every `ratio` tokens into one cached row: a softmax over the window per channel of gate +
/// ape weighs kv, then RMSNorm, then rotation of the last rope dims as position g * ratio. With
/// overlap, kv and gate have 2 * width columns: row g takes the low half of window g - 1 (nothing
/// for g = 0) and the high half of window g, in one softmax. Raw rows are kept in `state` so that a
/// window may span steps. Source: DeepSeek-V4 report, compressed attention.
struct CompressArgs {
  Mat kv;                       ///< [T, coff * width], coff = overlap ? 2 : 1
  Mat gate;                     ///< [T, coff * width]
  const float* ape = nullptr;   ///< [ratio, coff * width], by position % ratio
  const float* norm = nullptr;  ///< [width]
  float eps = 0;
  int64_t ratio = 0;
  bool overlap = false;
  const float* inv_freq = nullptr;  ///< [rope_dims / 2]
  int64_t rope_dims = 0;
  float rope_scale = 1;  ///< multiplies cos and sin
  KvView state;          ///< ring, f32, rows of 2 * coff * width: kv, then gate + ape
  KvView out;            ///< growing, rows of width, one per `ratio` tokens
};

/// Attention where keys are the values: over the last `window` rows, the compressed rows a token
/// may see (r < (p + 1) / ratio, or the selected ones), and a sink that takes weight exp(sink[h])
/// and gives nothing. Source: DeepSeek-V4 report.
struct SinkAttentionArgs {
  Mat out;                      ///< [T, H * dim]
  Mat q;                        ///< [T, H * dim], rotated
  KvView recent;                ///< ring, rows of dim
  KvView compressed;            ///< rows of dim; empty: none
  const float* sink = nullptr;  ///< [H]
  int64_t heads = 0;
  int64_t window = 0;
  int64_t ratio = 1;
  float scale = 1;
  const int32_t* selected = nullptr;  ///< [T, selected_max], -1 ends a list; null: all visible
  int64_t selected_max = 0;
};

/// Hyper-connection mixing weights of one sub-layer. X is [T, M * D]; mix = fn (x / rms(x)) over
/// the flattened M * D, cut into pre [M], post [M], comb [M * M] with mix * scale[part] + base.
/// Source: DeepSeek-V4 report; Manifold-Constrained Hyper-Connections, arXiv 2512.24880.
struct HyperArgs {
  Mat x;                         ///< [T, M * D]
  WeightView fn;                 ///< [(2 + M) * M, M * D] (head: [M, M * D])
  const float* base = nullptr;   ///< [(2 + M) * M] (head: [M])
  const float* scale = nullptr;  ///< [3] (head: [1])
  int64_t streams = 0;           ///< M
  float norm_eps = 0;
  float eps = 0;
  int sinkhorn_iterations = 0;
};

/// The op table of a device.
class Ops {
 public:
  virtual ~Ops() = default;

  /// out[t] = table[ids[t]]. Shapes: out [T, D], table [V, D] of any dtype.
  virtual void embed(Mat out, const WeightView& table, const int32_t* ids) = 0;
  /// out[i] = x[rows[i]]. Shapes: out [n, D], rows [n].
  virtual void gather_rows(Mat out, Mat x, const int32_t* rows) = 0;
  /// out = copies of x side by side: out[t] = x[t], M times. Shapes: x [T, D], out [T, M * D].
  virtual void repeat_cols(Mat out, Mat x) = 0;
  /// out = x / sqrt(mean(x^2) + eps) * weight per row. weight [cols] or null; out may be x.
  virtual void rms_norm(Mat out, Mat x, const float* weight, float eps) = 0;
  /// out = (x - mean) / sqrt(var + eps) * weight + bias per row; out may be x.
  virtual void layer_norm(Mat out, Mat x, const float* weight, const float* bias, float eps) = 0;
  /// x = 0.
  virtual void clear(Mat x) = 0;
  /// x += y.
  virtual void add(Mat x, Mat y) = 0;
  /// Every projection of the same x [T, K]. Blocked weights (q8_0, ...) may round x to 8-bit blocks
  /// of 32, weights of i8 a whole row of x.
  virtual void linear(std::span<const Projection> projections, Mat x) = 0;
  /// out[:, g] = W_g x[:, g] for `groups` equal column blocks. Shapes: x [T, G * k], weight [G * r,
  /// k], out [T, G * r].
  virtual void linear_grouped(Mat out, Mat x, const WeightView& weight, int64_t groups) = 0;

  /// cos and sin [T, dims / 2] of positions[t] * inv_freq[i], times scale.
  virtual void rope_table(float* cos, float* sin, const int32_t* positions, int64_t tokens,
                          const float* inv_freq, int64_t dims, float scale) = 0;
  /// Rotates columns [offset, offset + dims) of each of `heads` equal column blocks of x, in place.
  /// Pairs are (2i, 2i + 1) when interleaved, (i, i + dims / 2) otherwise. `inverse` rotates back.
  virtual void rope(Mat x, int64_t heads, int64_t offset, const RopeView& table, bool interleaved,
                    bool inverse) = 0;

  /// Writes row positions[t] of each token's sequence. Shapes: x [T, width].
  virtual void kv_append(const KvView& kv, Mat x, const StepView& step) = 0;
  virtual void attention(const AttentionArgs& args, const StepView& step) = 0;
  virtual void mla_attention(const MlaArgs& args, const StepView& step) = 0;
  virtual void indexer_top_k(const IndexerArgs& args, const StepView& step) = 0;
  virtual void compress(const CompressArgs& args, const StepView& step) = 0;
  virtual void sink_attention(const SinkAttentionArgs& args, const StepView& step) = 0;

  /// out = silu(min(gate, limit)) * clamp(up, -limit, limit); limit 0: no clamps. out may be gate.
  virtual void swiglu(Mat out, Mat gate, Mat up, float limit) = 0;
  virtual void moe_gate(const MoeGateArgs& args, const StepView& step) = 0;
  /// out[t] += sum_k weights[t][k] * down(swiglu(gate x, up x)) of expert ids[t][k]. Shapes: out, x
  /// [T, D]; ids, weights [T, K].
  virtual void moe_experts(Mat out, Mat x, const ExpertsView& experts, const int32_t* ids,
                           const float* weights, int64_t experts_per_token, float limit) = 0;

  /// pre = sigmoid + eps; out = sum_m pre[m] * X[m]; post = 2 * sigmoid; comb = softmax of rows +
  /// eps, then columns normalised, then sinkhorn_iterations - 1 times rows and columns. Shapes: out
  /// [T, D], post [T, M], comb [T, M * M].
  virtual void hyper_pre(const HyperArgs& args, Mat out, float* post, float* comb) = 0;
  /// X[m] = post[m] * y + sum_n comb[n][m] * X[n], in place. Shapes: x [T, M * D], y [T, D].
  virtual void hyper_post(Mat x, Mat y, const float* post, const float* comb, int64_t streams) = 0;
  /// out = sum_m (sigmoid + eps)[m] * X[m].
  virtual void hyper_head(const HyperArgs& args, Mat out) = 0;
};

}  // namespace hadal::kernels
