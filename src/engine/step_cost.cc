#include "engine/step_cost.h"

#include <algorithm>

namespace hadal::engine {
namespace {

constexpr double kNewest = 0.1;  // weight of the newest step
// Until steps tell: a row costs a tenth of a step of one row, with the weight of this variance.
constexpr double kPriorShare = 0.1;
constexpr double kPriorVariance = 0.05;
// Steps of about as many rows as usual tell nothing of the price of one, and forget nothing.
constexpr double kTelling = 0.25;
// A row is never free, and a step that waited for another process tells little.
constexpr double kShareMin = 0.005;
constexpr double kSurpriseMax = 2;
// What a guess must bring beyond its price: estimates are noisy.
constexpr double kMargin = 1.15;

}  // namespace

void StepCost::learn(int64_t rows, int64_t ns) {
  if (ns <= 0) return;
  const auto x = static_cast<double>(rows);
  auto y = static_cast<double>(ns);
  if (ns_ == 0) {
    rows_ = x;
    ns_ = y;
    return;
  }
  y = std::min(y, kSurpriseMax * ns_);
  // Moments with exponential weights. Source: T. Finch, Incremental calculation of weighted mean
  // and variance, 2009, section 9.
  const double dx = x - rows_;
  const double dy = y - ns_;
  rows_ += kNewest * dx;
  ns_ += kNewest * dy;
  if (dx * dx < kTelling) return;
  variance_ = (1 - kNewest) * (variance_ + kNewest * dx * dx);
  covariance_ = (1 - kNewest) * (covariance_ + kNewest * dx * dy);
}

double StepCost::share_of_row(int64_t rows) const {
  const double ns = ns_ == 0 ? 1 : ns_;
  const double usual = ns_ == 0 ? 1 : rows_;
  const double prior = kPriorShare * ns / (1 + kPriorShare * (usual - 1));
  const double slope = (covariance_ + kPriorVariance * prior) / (variance_ + kPriorVariance);
  const double time = ns + slope * (static_cast<double>(rows) - usual);
  return std::max(kShareMin, slope / std::max(time, 0.1 * ns));
}

bool DraftBudget::take(double probability) {
  if (left_ == 0) return false;
  // Tokens per time rise when (tokens + p) / (time + row) > tokens / time.
  if (!always_ && probability < kMargin * tokens_ * cost_.share_of_row(rows_)) return false;
  tokens_ += probability;
  ++rows_;
  --left_;
  return true;
}

}  // namespace hadal::engine
