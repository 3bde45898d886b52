// RMSNorm, the definition. Source: Zhang and Sennrich, arXiv 1910.07467.
//
//   out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]
//
// The row is read twice: once for its sum of squares, once to scale it. The two halves are separate
// functions because every table splits them so, and because the sum alone is what hyper-connections
// need. The sum is kept in double here: it is the definition, and other tables are held to it.

#include "kernels/cpu/ref/ref.h"

namespace hadal::kernels::cpu::ref {

float sum_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return static_cast<float>(sum);
}

void scale(float* out, const float* x, float scale, const float* weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] * scale * (weight != nullptr ? weight[i] : 1.0f);
}

}  // namespace hadal::kernels::cpu::ref
