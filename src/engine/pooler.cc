#include "engine/pooler.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace hadal::engine {

Pooler::Pooler(engine_api::Pooling pooling, int64_t width)
    : pooling_(pooling), sum_(static_cast<size_t>(width)) {
  CHECK(pooling != engine_api::Pooling::none);
}

int64_t Pooler::wanted(int64_t tokens, bool ends) const {
  if (needs_all()) return tokens;
  return ends ? 1 : 0;
}

void Pooler::add(std::span<const float> states) {
  for (size_t i = 0; i < states.size(); ++i) sum_[i % sum_.size()] += states[i];
}

void Pooler::restart() { std::ranges::fill(sum_, 0); }

// The mean and the sum have the same direction, which is all that is left of them.
Result<std::vector<float>> Pooler::result() const {
  double squares = 0;
  for (const double v : sum_) squares += v * v;
  if (!std::isfinite(squares)) {
    return internal_error("the model's states are not numbers: is the checkpoint damaged?");
  }
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  std::vector<float> out;
  out.reserve(sum_.size());
  for (const double v : sum_) out.push_back(static_cast<float>(v * scale));
  return out;
}

}  // namespace hadal::engine
