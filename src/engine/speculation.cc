#include "engine/speculation.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace hadal::engine {
namespace {

constexpr double kNewest = 0.12;  // weight of the newest guess in a rate
// Every so often a guess that does not seem to pay is made all the same: texts change.
constexpr int64_t kRetryEvery = 64;

}  // namespace

// 2, 4, 8, 16, 32, 64 tokens of a match and more each have a rate of their own.
size_t Acceptance::at(int64_t evidence) const {
  const int width = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(evidence, 2)));
  return std::min(static_cast<size_t>(width - 2), rates_.size() - 1);
}

void Acceptance::learn(int64_t evidence, bool came_true) {
  double& rate = rates_[at(evidence)];
  rate += kNewest * ((came_true ? 1.0 : 0.0) - rate);
}

Speculation::Speculation(const SpeculationOptions& options, int64_t tokens_max)
    : options_(options), ngram_(tokens_max) {
  step_.reserve(static_cast<size_t>(options.tokens_max) + 1);
}

void Speculation::draft(std::span<const int32_t> tokens, int64_t room, DraftBudget& budget) {
  CHECK(!tokens.empty());
  step_.assign(1, tokens.back());
  confirmed_ = 0;
  ngram_.read(tokens);
  match_ = ngram_.match();
  room = std::min(room, options_.tokens_max);
  if (match_ == 0 || room <= 0) return;
  // Each guess that comes true makes the match longer, and the next one surer.
  const bool retry = refusals_ >= kRetryEvery;
  int64_t count = 0;
  for (double probability = 1; count < room; ++count) {
    probability *= acceptance_.rate(match_ + count);
    if (!budget.take(retry && count == 0 ? 1 : probability)) break;
  }
  refusals_ = count == 0 ? refusals_ + 1 : 0;
  step_.resize(static_cast<size_t>(count) + 1);
  ngram_.draft(tokens, std::span(step_).subspan(1));
}

bool Speculation::confirm(int32_t token) {
  if (drafted() <= 0) return false;
  const bool came_true = step_[static_cast<size_t>(confirmed_) + 1] == token;
  acceptance_.learn(match_ + confirmed_, came_true);
  if (came_true) {
    ++confirmed_;
  } else {
    clear();
  }
  return came_true;
}

}  // namespace hadal::engine
