#include "engine/speculation.h"

#include <algorithm>

#include "base/check.h"

namespace hadal::engine {
namespace {

// Weights of the newest guess in a rate: of this sequence, and of all.
constexpr double kNewest = 0.12;
constexpr double kNewestOfAll = 0.04;
// Every so often a guess that does not seem to pay is made all the same: texts change.
constexpr int64_t kRetryEvery = 64;
// A draft layer is made to look one token ahead; its guesses on its own guesses get worse.
constexpr int64_t kAheadMax = 4;

}  // namespace

Speculation::Speculation(const SpeculationOptions& options, int64_t tokens_max, Acceptance& usual)
    : options_(options),
      ngram_(options.ngram ? tokens_max : 0),
      acceptance_(usual),
      usual_(usual),
      layer_follows_(options.mtp) {
  step_.reserve(static_cast<size_t>(options.tokens_max) + 1);
  ahead_.reserve(static_cast<size_t>(kAheadMax));
}

void Speculation::draft(std::span<const int32_t> tokens, int64_t room, DraftBudget& budget) {
  CHECK(!tokens.empty());
  step_.assign(1, tokens.back());
  confirmed_ = 0;
  room = std::min(room, options_.tokens_max);
  int64_t most = 0;
  if (options_.ngram) ngram_.read(tokens);
  match_ = ngram_.match();
  if (match_ > 0) most = room;
  source_ = DraftSource::ngram;
  const int64_t ahead = std::min(room, static_cast<int64_t>(ahead_.size()));
  if (ahead > 0 && acceptance_.expected(DraftSource::mtp, 0, ahead) >
                       acceptance_.expected(DraftSource::ngram, match_, most)) {
    source_ = DraftSource::mtp;
    most = ahead;
  }
  const bool retry = refusals_ >= kRetryEvery;
  int64_t count = 0;
  for (double probability = 1; count < most; ++count) {
    probability *= acceptance_.rate(source_, match_, count);
    if (!budget.take(retry && count == 0 ? 1 : probability)) break;
  }
  if (most > 0) refusals_ = count == 0 ? refusals_ + 1 : 0;
  if (count == 0) return;
  step_.resize(static_cast<size_t>(count) + 1);
  const auto guesses = std::span(step_).subspan(1);
  if (source_ == DraftSource::ngram) {
    ngram_.draft(tokens, guesses);
  } else {
    std::copy_n(ahead_.begin(), count, guesses.begin());
  }
}

bool Speculation::confirm(int32_t token) {
  if (drafted() <= 0) return false;
  const bool came_true = step_[static_cast<size_t>(confirmed_) + 1] == token;
  acceptance_.learn(source_, match_, confirmed_, came_true, kNewest);
  usual_.learn(source_, match_, confirmed_, came_true, kNewestOfAll);
  if (came_true) {
    ++confirmed_;
  } else {
    clear();
  }
  return came_true;
}

void Speculation::judge_layer(double price) {
  if (acceptance_.rate(DraftSource::mtp, 0, 0) < price) stop_layer();
}

bool Speculation::wants_ahead(double price) const {
  const auto n = static_cast<int64_t>(ahead_.size());
  if (n >= std::min(kAheadMax, options_.tokens_max)) return false;
  double all = 1;
  for (int64_t i = 0; i <= n; ++i) all *= acceptance_.rate(DraftSource::mtp, 0, i);
  return all >= price;
}

}  // namespace hadal::engine
