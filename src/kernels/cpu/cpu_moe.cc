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

// Sorts the (token, choice) pairs by expert; within an expert they keep their order.
void CpuOps::sort_pairs(const int32_t* ids, int64_t pairs, int64_t per_token, int64_t experts) {
  expert_ids_.assign(static_cast<size_t>(experts) + 1, 0);
  for (int64_t i = 0; i < pairs; ++i) {
    CHECK(ids[i] >= 0 && ids[i] < experts);
    ++expert_ids_[static_cast<size_t>(ids[i]) + 1];
  }
  for (size_t e = 1; e < expert_ids_.size(); ++e) expert_ids_[e] += expert_ids_[e - 1];
  pair_token_.resize(static_cast<size_t>(pairs));
  pair_place_.resize(static_cast<size_t>(pairs));
  for (int64_t i = 0; i < pairs; ++i) {
    const int32_t place = expert_ids_[static_cast<size_t>(ids[i])]++;
    pair_place_[static_cast<size_t>(i)] = place;
    pair_token_[static_cast<size_t>(place)] = static_cast<int32_t>(i / per_token);
  }
  // expert_ids_[e] is now where e ends. Kept: the experts in use, and where each begins.
  segments_.assign(1, 0);
  size_t used = 0;
  for (int32_t e = 0; e < static_cast<int32_t>(experts); ++e) {
    const int32_t end = expert_ids_[static_cast<size_t>(e)];
    if (end == segments_.back()) continue;
    segments_.push_back(end);
    expert_ids_[used++] = e;
  }
  expert_ids_.resize(used);
}

// Two sweeps over all experts in use at once, so that a decode step wakes the pool a few times and
// not a few times per expert: gate, up and SwiGLU; then down. Last the weighted sums by token, in
// the order of its choices.
void CpuOps::moe_experts(Mat out, Mat x, const ExpertsView& experts, const int32_t* ids,
                         const float* weights, int64_t per_token, float limit) {
  const int64_t pairs = x.rows * per_token;
  if (pairs == 0) return;
  sort_pairs(ids, pairs, per_token, static_cast<int64_t>(experts.gate.size()));
  const auto count = static_cast<int64_t>(expert_ids_.size());
  const int64_t inter = experts.gate[0].n();
  Forms outer;
  Forms inner;
  expert_packed_.clear();
  for (int64_t i = 0; i < count; ++i) {
    const auto e = static_cast<size_t>(expert_ids_[static_cast<size_t>(i)]);
    const int64_t n = segments_[static_cast<size_t>(i) + 1] - segments_[static_cast<size_t>(i)];
    for (const WeightView* w : {&experts.gate[e], &experts.up[e], &experts.down[e]}) {
      expert_packed_.push_back(weights_.find(*w));
      want(w == &experts.down[e] ? inner : outer, *w, expert_packed_.back(), n);
    }
  }
  const auto mat = [&](size_t slot, int64_t cols) {
    float* p = shared_.floats(slot, static_cast<size_t>(pairs * cols));
    return Mat{reinterpret_cast<std::byte*>(p), DType::f32, pairs, cols, cols};
  };
  const Mat gate = mat(1, inter);
  const Mat up = mat(2, inter);
  const Mat down = mat(3, x.cols);

  constexpr int64_t kRows = 64;
  // body(expert, which of those in use, its pairs' rows of `from`, first row, end row, thread)
  const auto sweep = [&](int64_t rows, const Input& from, auto body) {
    const int64_t pieces = ceil_div(rows, kRows);
    pool_.run(count * pieces, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t item = begin; item < end; ++item) {
        const auto i = static_cast<size_t>(item / pieces);
        const int64_t row = item % pieces * kRows;
        const int64_t first = segments_[i];
        const int64_t n = segments_[i + 1] - first;
        body(static_cast<size_t>(expert_ids_[i]), i, from.rows(first, n), first, row,
             std::min(row + kRows, rows), thread);
      }
    });
  };
  sweep(inter, prepare(outer, x, pair_token_.data(), segments_, memory_[0]),
        [&](size_t e, size_t i, const Input& in, int64_t first, int64_t row, int64_t end, int th) {
          const Mat g = gate.slice_rows(first, in.x.rows);
          const Mat u = up.slice_rows(first, in.x.rows);
          product_rows(g, experts.gate[e], expert_packed_[3 * i], in, row, end, th);
          product_rows(u, experts.up[e], expert_packed_[3 * i + 1], in, row, end, th);
          for (int64_t t = 0; t < in.x.rows; ++t) {
            t_.swiglu(row_of(g, t) + row, row_of(g, t) + row, row_of(u, t) + row, limit, end - row);
          }
        });
  sweep(x.cols, prepare(inner, gate, nullptr, segments_, memory_[1]),
        [&](size_t e, size_t i, const Input& in, int64_t first, int64_t row, int64_t end, int th) {
          product_rows(down.slice_rows(first, in.x.rows), experts.down[e],
                       expert_packed_[3 * i + 2], in, row, end, th);
        });
  pool_.run(x.rows, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * per_token; i < end * per_token; ++i)
      t_.axpy(row_of(out, i / per_token), weights[i],
              row_of(down, pair_place_[static_cast<size_t>(i)]), x.cols);
  });
}

}  // namespace hadal::kernels::cpu
