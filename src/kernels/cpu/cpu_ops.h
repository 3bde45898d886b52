#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/flash.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/weight_store.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace hadal::kernels::cpu {

/// The ops of the CPU device: they split the work over a pool and leave the inner loops to a table.
/// Activations are f32. Threading: one caller at a time.
class CpuOps final : public Ops {
 public:
  /// Of `options` it reads `exact` (the store must then hold no block types) and
  /// `batch_invariant`.
  CpuOps(ThreadPool& pool, const Table& table, WeightStore& weights, const CpuOptions& options = {})
      : pool_(pool),
        t_(table),
        weights_(weights),
        exact_(options.exact),
        invariant_(options.batch_invariant),
        scratch_(static_cast<size_t>(pool.threads())),
        flash_(pool, table) {}

  void clear(Mat x) override;
  void embed(Mat out, const WeightView& table, const int32_t* ids) override;
  void gather_rows(Mat out, Mat x, const int32_t* rows) override;
  void repeat_cols(Mat out, Mat x) override;
  void rms_norm(Mat out, Mat x, const float* weight, float eps) override;
  void layer_norm(Mat out, Mat x, const float* weight, const float* bias, float eps) override;
  void add(Mat x, Mat y) override;
  void linear(std::span<const Projection> projections, Mat x) override;
  void linear_grouped(Mat out, Mat x, const WeightView& weight, int64_t groups) override;
  void rope_table(float* cos, float* sin, const int32_t* positions, int64_t tokens,
                  const float* inv_freq, int64_t dims, float scale) override;
  void rope(Mat x, int64_t heads, int64_t offset, const RopeView& table, bool interleaved,
            bool inverse) override;
  void kv_append(const KvView& kv, Mat x, const StepView& step) override;
  void attention(const AttentionArgs& args, const StepView& step) override;
  void mla_attention(const MlaArgs& args, const StepView& step) override;
  void indexer_top_k(const IndexerArgs& args, const StepView& step) override;
  void compress(const CompressArgs& args, const StepView& step) override;
  void sink_attention(const SinkAttentionArgs& args, const StepView& step) override;
  void swiglu(Mat out, Mat gate, Mat up, float limit) override;
  void moe_gate(const MoeGateArgs& args, const StepView& step) override;
  void moe_experts(Mat out, Mat x, const ExpertsView& experts, const int32_t* ids,
                   const float* weights, int64_t experts_per_token, float limit) override;
  void hyper_pre(const HyperArgs& args, Mat out, float* post, float* comb) override;
  void hyper_post(Mat x, Mat y, const float* post, const float* comb, int64_t streams) override;
  void hyper_head(const HyperArgs& args, Mat out) override;

 private:
  /// Growing memory that keeps its size: a step allocates only the first time it is this large.
  class Scratch {
   public:
    float* floats(size_t slot, size_t n) {
      if (slot >= slots_.size()) slots_.resize(slot + 1);
      if (slots_[slot].size() < n) slots_[slot].resize(n);
      return slots_[slot].data();
    }

   private:
    std::vector<std::vector<float>> slots_;
  };

  /// Activations of a product, and those forms of them that its weights want; null otherwise.
  struct Input {
    Mat x;
    const std::byte* blocks = nullptr;  ///< groups of 16 tokens in 8-bit blocks, see packed.h
    const std::byte* whole = nullptr;   ///< the same with one scale a token
    const float* columns = nullptr;     ///< groups of 16 tokens, [k][g] each
    const int8_t* q = nullptr;          ///< [T, k] 8-bit blocks for weights as they are stored
    const float* scale = nullptr;
    const int32_t* bias = nullptr;

    /// Rows that were prepared as one segment.
    Input rows(int64_t begin, int64_t count) const;
  };
  /// The memory behind an Input's forms; keeps its size.
  struct InputMemory {
    std::vector<std::byte> blocks, whole;
    std::vector<float> columns;
    std::vector<int8_t> q;
    std::vector<float> scale;
    std::vector<int32_t> bias;
  };
  /// Which forms a product wants.
  struct Forms {
    bool blocks = false;
    bool whole = false;
    bool columns = false;
    bool rows_q8 = false;
    bool plain = false;
  };
  bool few(int64_t tokens) const;
  void want(Forms& forms, const WeightView& w, const PackedWeight* packed, int64_t tokens) const;
  /// Makes the forms of x. Segments [segments[i], segments[i + 1]) are grouped apart. With
  /// `source`, row i of the input is x's row source[i], and x itself is copied only if a weight
  /// wants it.
  Input prepare(const Forms& forms, Mat x, const int32_t* source, std::span<const int32_t> segments,
                InputMemory& memory);

  /// out[:, 0 ...] = tiles [begin, end) of a packed weight . x.
  void packed_tiles(const Mat& out, const PackedWeight& w, const Input& in, int64_t begin,
                    int64_t end);
  /// out[:, 0 ...] = rows [begin, end) of a weight as it is stored . x.
  void stored_rows(const Mat& out, const WeightView& w, const Input& in, int64_t begin, int64_t end,
                   int thread);
  void few_tokens(const Mat& out, const WeightView& w, const Input& in, int64_t begin, int64_t end,
                  int thread);
  void many_tokens(const Mat& out, const WeightView& w, const Input& in, int64_t begin, int64_t end,
                   int thread);
  /// out[:, row ...] = rows [row, end) of W . x, packed or not. row is a multiple of 16.
  void product_rows(const Mat& out, const WeightView& w, const PackedWeight* packed,
                    const Input& in, int64_t row, int64_t end, int thread);
  /// Row n of a weight as numbers, scales applied. out [k].
  void weight_row(float* out, const WeightView& w, int64_t n) const;

  void sort_pairs(const int32_t* ids, int64_t pairs, int64_t per_token, int64_t experts);

  /// For `groups` blocks of columns: out_of(g) = rows [first_row(g), first_row(g) + rows) of w .
  /// x_of(g).
  void product_groups(const WeightView& w, int64_t groups, int64_t rows,
                      FunctionRef<int64_t(int64_t)> first_row, FunctionRef<Mat(int64_t)> x_of,
                      FunctionRef<Mat(int64_t)> out_of);

  struct TokenRun {
    int64_t first;
    int64_t count;
  };
  void token_runs(const StepView& step, int64_t tokens_max);
  void mla_absorb(const MlaArgs& args, const Mat& q, const Mat& to);
  void mla_absorbed(const MlaArgs& args, const StepView& step, int64_t first, int64_t tokens);
  void mla_expanded(const MlaArgs& args, const StepView& step, int64_t sequence);
  void mla_expand_head(const MlaArgs& args, int64_t head, const float* cached, int64_t rows,
                       Scratch& scratch, float* k, float* v) const;
  void index_scores(const IndexerArgs& args, const StepView& step, int64_t token, int64_t rows,
                    Scratch& scratch, float* scores);
  void hyper_mix(const HyperArgs& args, int64_t token, float* mix, float* row);

  ThreadPool& pool_;
  const Table& t_;
  WeightStore& weights_;
  bool exact_;
  bool invariant_;
  std::vector<Scratch> scratch_;  ///< one per thread
  Scratch shared_;                ///< of the caller
  Flash flash_;
  std::vector<TokenRun> runs_;  ///< of the step: see token_runs
  std::vector<InputMemory> memory_ = std::vector<InputMemory>(2);
  std::vector<const PackedWeight*> packed_;  ///< of the projections of this call
  std::vector<Input> group_inputs_;
  std::vector<int32_t> segments_;  ///< where the sorted pairs of an expert begin, and the end
  // Routed experts: see moe_experts.
  std::vector<int32_t> pair_token_;                 ///< by sorted pair
  std::vector<int32_t> pair_place_;                 ///< sorted place of each (token, choice)
  std::vector<int32_t> expert_ids_;                 ///< experts in use
  std::vector<const PackedWeight*> expert_packed_;  ///< gate, up, down of each in use
};

/// Types whose weights share scales in blocks of 32 or more: their products may round activations
/// to 8-bit blocks.
inline bool is_block_type(DType d) {
  return d != DType::f32 && d != DType::f16 && d != DType::bf16 && d != DType::f8_e4m3;
}

inline float* row_of(const Mat& m, int64_t i) {
  return reinterpret_cast<float*>(m.data) + i * m.stride;
}

/// Bytes of `n` columns of a cached row, whole blocks.
inline int64_t kv_bytes(DType dtype, int64_t n) {
  const DTypeInfo& info = dtype_info(dtype);
  return n / info.block_elems * info.block_bytes;
}

/// Where row r of a step's sequence lies in its stream.
inline int64_t kv_row(const KvView& kv, const StepView& step, int64_t sequence, int64_t r) {
  if (kv.ring_rows > 0) return step.slots[sequence] * kv.ring_rows + r % kv.ring_rows;
  const int64_t page = step.block_table[sequence * step.blocks_max + r / kv.page_rows];
  return page * kv.page_rows + r % kv.page_rows;
}

inline std::byte* kv_address(const KvView& kv, const StepView& step, int64_t sequence, int64_t r) {
  return kv.data + kv_row(kv, step, sequence, r) * kv_bytes(kv.dtype, kv.width);
}

}  // namespace hadal::kernels::cpu
