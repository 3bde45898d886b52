// Mixture of experts: which ones, and their feed-forward for the tokens that chose them.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cpu/cpu_ops.h"

namespace hadal::kernels::cpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void score_experts(const float* logits, float* scores, int64_t experts, GateScore how) {
  if (how == GateScore::softmax) {
    const float largest = *std::max_element(logits, logits + experts);
    float sum = 0;
    for (int64_t e = 0; e < experts; ++e) sum += scores[e] = std::exp(logits[e] - largest);
    for (int64_t e = 0; e < experts; ++e) scores[e] /= sum;
    return;
  }
  for (int64_t e = 0; e < experts; ++e) {
    const float x = logits[e];
    if (how == GateScore::sigmoid) {
      scores[e] = 1 / (1 + std::exp(-x));
    } else {
      scores[e] = std::sqrt(x > 20 ? x : std::log1p(std::exp(x)));
    }
  }
}

// Sets the choice values of all but the best groups to never.
void keep_best_groups(const MoeGateArgs& a, float* choice, int64_t experts,
                      std::vector<std::pair<float, int>>& groups) {
  const int64_t per_group = experts / a.groups;
  groups.clear();
  for (int g = 0; g < a.groups; ++g) {
    float first = kNever;
    float second = kNever;
    for (int64_t e = g * per_group; e < (g + 1) * per_group; ++e) {
      if (choice[e] > first) {
        second = first;
        first = choice[e];
      } else if (choice[e] > second) {
        second = choice[e];
      }
    }
    groups.emplace_back(a.group_score_top == 2 && per_group > 1 ? first + second : first, g);
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& x, const auto& y) { return x.first > y.first; });
  for (size_t i = static_cast<size_t>(a.groups_kept); i < groups.size(); ++i) {
    const int64_t begin = groups[i].second * per_group;
    std::fill(choice + begin, choice + begin + per_group, kNever);
  }
}

}  // namespace

void CpuOps::moe_gate(const MoeGateArgs& a, const StepView& step) {
  const int64_t experts = a.logits.cols;
  const int64_t k = a.experts_per_token;
  float* scores = shared_.floats(0, static_cast<size_t>(2 * experts));
  float* choice = scores + experts;
  std::vector<std::pair<float, int>> groups;
  for (int64_t t = 0; t < a.logits.rows; ++t) {
    score_experts(row_of(a.logits, t), scores, experts, a.score);
    int32_t* ids = a.ids + t * k;
    if (a.hash_table != nullptr) {
      std::copy_n(a.hash_table + step.token_ids[t] * k, k, ids);
    } else {
      for (int64_t e = 0; e < experts; ++e) {
        choice[e] = scores[e] + (a.bias != nullptr ? a.bias[e] : 0);
        if (std::isnan(choice[e])) choice[e] = std::numeric_limits<float>::lowest();
      }
      if (a.groups > 1) keep_best_groups(a, choice, experts, groups);
      for (int64_t i = 0; i < k; ++i) {
        const auto best = std::max_element(choice, choice + experts) - choice;
        ids[i] = static_cast<int32_t>(best);
        choice[best] = kNever;
      }
    }
    float sum = 1e-20f;
    for (int64_t i = 0; i < k; ++i) sum += scores[ids[i]];
    for (int64_t i = 0; i < k; ++i) {
      a.weights[t * k + i] = scores[ids[i]] / (a.normalize ? sum : 1.0f) * a.scale;
    }
  }
}

// Pairs (token, choice) are sorted by expert. Then four sweeps over all experts at once, so that a
// decode step wakes the pool four times and not four times per expert: gate and up rows; SwiGLU;
// down rows; the weighted sums.
void CpuOps::moe_experts(Mat out, Mat x, const ExpertsView& experts, const int32_t* ids,
                         const float* weights, int64_t per_token, float limit) {
  const int64_t pairs = x.rows * per_token;
  const int64_t d = x.cols;
  const int64_t inter = experts.gate[0].n();
  const auto expert_of = [&](int32_t pair) { return ids[pair]; };
  pairs_.resize(static_cast<size_t>(pairs));
  for (int64_t i = 0; i < pairs; ++i) pairs_[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  std::stable_sort(pairs_.begin(), pairs_.end(),
                   [&](int32_t a, int32_t b) { return expert_of(a) < expert_of(b); });
  groups_.clear();
  for (int64_t i = 0; i < pairs; ++i) {
    const int32_t e = expert_of(pairs_[static_cast<size_t>(i)]);
    if (groups_.empty() || groups_[groups_.size() - 3] != e)
      groups_.insert(groups_.end(), {e, static_cast<int32_t>(i), 0});
    ++groups_.back();
  }
  const auto count = static_cast<int64_t>(groups_.size() / 3);

  const auto mat = [&](size_t slot, int64_t cols) {
    float* p = shared_.floats(slot, static_cast<size_t>(pairs * cols));
    return Mat{reinterpret_cast<std::byte*>(p), DType::f32, pairs, cols, cols};
  };
  const Mat in = mat(1, d);
  const Mat gate = mat(2, inter);
  const Mat up = mat(3, inter);
  const Mat down = mat(4, d);
  for (int64_t i = 0; i < pairs; ++i) {
    std::copy_n(row_of(x, pairs_[static_cast<size_t>(i)] / per_token), d, row_of(in, i));
  }
  const bool q8 = experts.gate[0].data.dtype == DType::q8_0;
  const bool down_q8 = experts.down[0].data.dtype == DType::q8_0;
  const Input input = q8 ? quantize(in, quantized_[0]) : Input{in};

  constexpr int64_t kRows = 32;
  // One sweep: rows [0, n) of a matrix of every expert in use, for that expert's pairs.
  const auto sweep = [&](std::span<const WeightView> matrices, const Input& from, const Mat& to) {
    const int64_t tiles = ceil_div(to.cols, kRows);
    pool_.run(count * tiles, 2, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t item = begin; item < end; ++item) {
        const auto g = static_cast<size_t>(item / tiles) * 3;
        const int64_t row = item % tiles * kRows;
        const Input part = from.rows(groups_[g + 1], groups_[g + 2]);
        linear_rows(to.slice_rows(groups_[g + 1], groups_[g + 2]),
                    matrices[static_cast<size_t>(groups_[g])], nullptr, part, row,
                    std::min(row + kRows, to.cols), 0, thread);
      }
    });
  };
  sweep(experts.gate, input, gate);
  sweep(experts.up, input, up);
  swiglu(gate, gate, up, limit);
  sweep(experts.down, down_q8 ? quantize(gate, quantized_[1]) : Input{gate}, down);
  for (int64_t i = 0; i < pairs; ++i) {
    const int32_t pair = pairs_[static_cast<size_t>(i)];
    t_.axpy(row_of(out, pair / per_token), weights[pair], row_of(down, i), d);
  }
}

}  // namespace hadal::kernels::cpu
