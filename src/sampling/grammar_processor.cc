#include "sampling/grammar_processor.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace hadal::sampling {

GrammarProcessor::GrammarProcessor(grammar::Matcher matcher, std::span<const int32_t> end_ids)
    : matcher_(std::move(matcher)), end_ids_(end_ids.begin(), end_ids.end()) {}

Status GrammarProcessor::apply(std::span<float> logits) {
  if (!accepted_) return accepted_;
  bits_.resize((logits.size() + 63) / 64);
  TRY_VOID(matcher_.allowed(bits_));
  for (const int32_t id : end_ids_) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    const uint64_t bit = uint64_t{1} << (id % 64);
    uint64_t& word = bits_[static_cast<size_t>(id) / 64];
    word = matcher_.may_end() ? word | bit : word & ~bit;
  }
  if (std::ranges::all_of(bits_, [](uint64_t w) { return w == 0; })) {
    return unsupported("no token of this model can go on with what the request's format asks for");
  }
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  for (size_t w = 0; w < bits_.size(); ++w) {
    const auto part = logits.subspan(w * 64, std::min<size_t>(64, logits.size() - w * 64));
    const uint64_t word = bits_[w];
    if (word == ~uint64_t{0}) continue;
    if (word == 0) {
      std::ranges::fill(part, kForbidden);
      continue;
    }
    for (size_t i = 0; i < part.size(); ++i) {
      part[i] = ((word >> i) & 1) != 0 ? part[i] : kForbidden;
    }
  }
  return {};
}

void GrammarProcessor::accept(int32_t token) {
  if (std::ranges::find(end_ids_, token) != end_ids_.end()) return;
  const auto taken = matcher_.accept(token);
  if (!taken) {
    accepted_ = taken.error();
  } else if (!*taken) {
    accepted_ = internal_error("a token was chosen that the grammar does not allow");
  }
}

}  // namespace hadal::sampling
