#include "engine/acceptance.h"

#include <algorithm>
#include <bit>

namespace hadal::engine {
namespace {

constexpr int64_t kMatchRates = 6;
constexpr int64_t kLayerRates = 4;

}  // namespace

size_t Acceptance::at(DraftSource source, int64_t match, int64_t i) {
  if (source == DraftSource::mtp)
    return static_cast<size_t>(kMatchRates + std::min(i, kLayerRates - 1));
  const auto now = static_cast<uint64_t>(std::max<int64_t>(match + i, 2));
  return static_cast<size_t>(std::min<int64_t>(std::bit_width(now) - 2, kMatchRates - 1));
}

double Acceptance::expected(DraftSource source, int64_t match, int64_t count) const {
  double sum = 0;
  double all = 1;
  for (int64_t i = 0; i < count; ++i) {
    all *= rate(source, match, i);
    sum += all;
  }
  return sum;
}

void Acceptance::learn(DraftSource source, int64_t match, int64_t i, bool came_true,
                       double weight) {
  double& rate = rates_[at(source, match, i)];
  rate += weight * ((came_true ? 1.0 : 0.0) - rate);
}

}  // namespace hadal::engine
