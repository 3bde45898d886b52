#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace hadal::sampling {

/// Rows are walked in blocks, whose sums find a token without walking the row.
inline constexpr size_t kBlock = 1024;

/// e^x for -80 < x <= 0 to about 1e-7 of itself; 0 below, and for NaN. Only additions and
/// multiplications, so that every machine gets the same and the compiler can vectorise it.
/// Source: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite: ln 2 in two parts), then Taylor.
inline float exp_or_zero(float x) {
  const float safe = x > -80.0f ? x : 0.0f;
  const auto n = static_cast<int32_t>(safe * 1.44269504f - 0.5f);
  const auto f = static_cast<float>(n);
  const float r = (safe - f * 0.693359375f) + f * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float power = std::bit_cast<float>((n + 127) << 23);
  return x > -80.0f ? p * power : 0.0f;
}

/// The largest of a row and the lowest id that has it. NaN counts as -infinity.
struct Largest {
  float logit;
  int32_t id;  ///< -1 when nothing is above -infinity
};
Largest find_largest(std::span<const float> logits);

/// e^((logit - largest) / temperature) of each token into `weights`; forbidden tokens get 0.
/// Shapes: logits [V], weights [V].
void weigh(std::span<const float> logits, float largest, float temperature,
           std::span<float> weights);

/// The sum of `weights`; those of the blocks go to `block_sums` [ceil(V / kBlock)].
double add_up(std::span<const float> weights, std::span<double> block_sums);

/// The token at `point`, from 0 to the sum of the weights, walking in the order of the ids.
int32_t token_at(std::span<const float> weights, std::span<const double> block_sums, double point);

/// A token's place in the order by logit: the larger first, the lower id among equals.
struct Ranked {
  float logit;
  int32_t id;

  bool before(const Ranked& other) const {
    return logit > other.logit || (logit == other.logit && id < other.id);
  }
};

/// Picks the tokens that rank first, without sorting a row. Buffers are reused.
class Ranking {
 public:
  explicit Ranking(size_t vocab) { found_.reserve(vocab); }

  /// The first `k` tokens, best first; fewer where not so many are allowed.
  std::span<const Ranked> best(std::span<const float> logits, size_t k);
  /// The last of the first `k` tokens. Some token must be allowed, `k` > 0.
  Ranked last_of_top_k(std::span<const float> logits, size_t k);
  /// The last of the fewest first tokens whose weights reach `wanted`. `wanted` > 0.
  Ranked last_of_top_p(std::span<const float> logits, std::span<const float> weights,
                       double wanted);

 private:
  void collect(std::span<const float> logits, float least);
  template <class F>
  void collect_until(std::span<const float> logits, const F& enough);

  std::vector<Ranked> found_;
};

}  // namespace hadal::sampling
