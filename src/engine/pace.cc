#include "engine/pace.h"

#include <algorithm>

namespace hadal::engine {
namespace {

// Prompts may add this share of a step's time: with the rest of the noise, a stream then waits less
// than twice as long for its next token as when nobody else arrives.
constexpr double kShare = 0.7;
// A prompt always gets on, whatever the clock says.
constexpr int64_t kPrefillMin = 4;
// Until something is known.
constexpr int64_t kPrefillUnknown = 32;
constexpr double kNewest = 0.2;  // weight of the newest step in the running means

void blend(double& mean, double value) {
  mean = mean == 0 ? value : (1 - kNewest) * mean + kNewest * value;
}

}  // namespace

int64_t Pace::prefill_tokens(int64_t decoding) const {
  const int64_t room = step_tokens_max_ - decoding;
  if (decoding == 0 || room <= 0) return std::max<int64_t>(room, 0);
  if (decode_ns_ == 0 || prefill_ns_per_token_ == 0) return std::min(room, kPrefillUnknown);
  const auto fits = static_cast<int64_t>(kShare * decode_ns_ / prefill_ns_per_token_);
  return std::clamp(fits, std::min(kPrefillMin, room), room);
}

void Pace::learn(int64_t decoding, int64_t prefill, int64_t ns) {
  const auto time = static_cast<double>(ns);
  if (time <= 0) return;
  if (prefill == 0) {
    blend(decode_ns_, time);
  } else if (decoding == 0) {
    // A step of prompts alone: an upper bound, used until mixed steps tell better.
    if (prefill_ns_per_token_ == 0) prefill_ns_per_token_ = time / static_cast<double>(prefill);
  } else if (decode_ns_ > 0) {
    const double added = std::max(time - decode_ns_, 0.05 * time);
    blend(prefill_ns_per_token_, added / static_cast<double>(prefill));
  }
}

}  // namespace hadal::engine
