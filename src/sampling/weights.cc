#include <algorithm>
#include <cmath>
#include <limits>

#include "sampling/internal/weights.h"

namespace hadal::sampling {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr size_t kLanes = 16;

bool ranks_before(const Ranked& a, const Ranked& b) { return a.before(b); }

// Calls body(begin, end) for each block of a row of n.
template <class F>
void for_blocks(size_t n, const F& body) {
  for (size_t begin = 0; begin < n; begin += kBlock) body(begin, std::min(n, begin + kBlock));
}

// Lanes spare the compiler a promise about the order of a reduction.
float block_largest(const float* v, size_t n) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, kForbidden);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] = v[i + j] > lanes[j] ? v[i + j] : lanes[j];
  }
  for (; i < n; ++i) lanes[0] = v[i] > lanes[0] ? v[i] : lanes[0];
  return *std::max_element(lanes, lanes + kLanes);
}

double block_sum(const float* v, size_t n) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += v[i + j];
  }
  for (; i < n; ++i) lanes[0] += v[i];
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace

Largest find_largest(std::span<const float> logits) {
  Largest best{kForbidden, -1};
  size_t block = 0;
  for_blocks(logits.size(), [&](size_t begin, size_t end) {
    const float v = block_largest(logits.data() + begin, end - begin);
    if (v > best.logit) {
      best.logit = v;
      block = begin;
    }
  });
  if (best.logit == kForbidden) return best;
  while (logits[block] != best.logit) ++block;
  best.id = static_cast<int32_t>(block);
  return best;
}

void weigh(std::span<const float> logits, float largest, float temperature,
           std::span<float> weights) {
  const float scale = 1.0f / temperature;
  const float* in = logits.data();
  float* out = weights.data();
  for (size_t i = 0; i < logits.size(); ++i) out[i] = exp_or_zero((in[i] - largest) * scale);
}

double add_up(std::span<const float> weights, std::span<double> block_sums) {
  double total = 0;
  for_blocks(weights.size(), [&](size_t begin, size_t end) {
    const double sum = block_sum(weights.data() + begin, end - begin);
    block_sums[begin / kBlock] = sum;
    total += sum;
  });
  return total;
}

int32_t token_at(std::span<const float> weights, std::span<const double> block_sums, double point) {
  // Sums are rounded: should the walk overshoot, the last token with a weight is meant.
  size_t block = 0;
  size_t chosen = 0;
  for (; block < block_sums.size(); ++block) {
    if (block_sums[block] <= 0) continue;
    chosen = block;
    if (point < block_sums[block]) break;
    point -= block_sums[block];
  }
  size_t last = chosen * kBlock;
  const size_t end = std::min(weights.size(), last + kBlock);
  for (size_t i = last; i < end; ++i) {
    if (weights[i] <= 0) continue;
    last = i;
    point -= weights[i];
    if (point < 0 && block < block_sums.size()) break;
  }
  return static_cast<int32_t>(last);
}

void Ranking::collect(std::span<const float> logits, float least) {
  found_.clear();
  for_blocks(logits.size(), [&](size_t begin, size_t end) {
    if (block_largest(logits.data() + begin, end - begin) < least) return;
    for (size_t i = begin; i < end; ++i) {
      if (logits[i] >= least) found_.push_back({logits[i], static_cast<int32_t>(i)});
    }
  });
}

// Fills found_ with the tokens near the largest, further and further down until `enough`.
template <class F>
void Ranking::collect_until(std::span<const float> logits, const F& enough) {
  const float largest = find_largest(logits).logit;
  for (const float margin : {3.0f, 8.0f, 20.0f}) {
    collect(logits, largest - margin);
    if (enough()) return;
  }
  collect(logits, std::numeric_limits<float>::lowest());
}

std::span<const Ranked> Ranking::best(std::span<const float> logits, size_t k) {
  collect_until(logits, [&] { return found_.size() >= k; });
  const size_t n = std::min(k, found_.size());
  std::partial_sort(found_.begin(), found_.begin() + static_cast<ptrdiff_t>(n), found_.end(),
                    ranks_before);
  return {found_.data(), n};
}

Ranked Ranking::last_of_top_k(std::span<const float> logits, size_t k) {
  collect_until(logits, [&] { return found_.size() >= k; });
  const size_t n = std::min(k, found_.size());
  const auto last = found_.begin() + static_cast<ptrdiff_t>(n) - 1;
  std::nth_element(found_.begin(), last, found_.end(), ranks_before);
  return *last;
}

Ranked Ranking::last_of_top_p(std::span<const float> logits, std::span<const float> weights,
                              double wanted) {
  const auto weight = [&](const Ranked& r) -> double { return weights[static_cast<size_t>(r.id)]; };
  const auto sum = [&](size_t begin, size_t end) {
    double out = 0;
    for (size_t i = begin; i < end; ++i) out += weight(found_[i]);
    return out;
  };
  collect_until(logits, [&] { return sum(0, found_.size()) >= wanted; });
  // As quickselect, but the place sought is a sum. Before `low` all rank first, and are counted.
  size_t low = 0;
  size_t high = found_.size();
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    std::nth_element(found_.begin() + static_cast<ptrdiff_t>(low),
                     found_.begin() + static_cast<ptrdiff_t>(middle),
                     found_.begin() + static_cast<ptrdiff_t>(high), ranks_before);
    const double left = sum(low, middle);
    if (left >= wanted) {
      high = middle;
    } else {
      wanted -= left;
      low = middle;
    }
  }
  return found_[low];
}

}  // namespace hadal::sampling
