#include "engine/ngram_drafter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "base/rng.h"

namespace hadal::engine {
namespace {

std::vector<int32_t> guess(NgramDrafter& d, const std::vector<int32_t>& tokens, size_t count) {
  std::vector<int32_t> out(count);
  d.draft(tokens, out);
  return out;
}

TEST(NgramDrafterTest, GoesOnAsAfterTheLastPlaceWithTheSameTokens) {
  NgramDrafter d(100);
  const std::vector<int32_t> tokens{1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 0, 2, 3};
  d.read(tokens);
  EXPECT_EQ(d.match(), 2);
  EXPECT_EQ(guess(d, tokens, 3), (std::vector<int32_t>{7, 8, 0})) << "the later place";
}

TEST(NgramDrafterTest, ALongerMatchWinsOverALaterOne) {
  NgramDrafter d(100);
  const std::vector<int32_t> tokens{5, 1, 2, 3, 10, 11, 2, 3, 20, 21, 5, 1, 2, 3};
  d.read(tokens);
  EXPECT_EQ(d.match(), 4);
  EXPECT_EQ(guess(d, tokens, 2), (std::vector<int32_t>{10, 11}));
}

TEST(NgramDrafterTest, KnowsNothingOfAFirstTimeOrASingleToken) {
  NgramDrafter d(100);
  std::vector<int32_t> tokens;
  d.read(tokens);
  EXPECT_EQ(d.match(), 0);
  tokens = {1, 2, 3, 4, 1};
  d.read(tokens);
  EXPECT_EQ(d.match(), 0) << "one equal token is chance";
}

TEST(NgramDrafterTest, MovesAlongWhileItIsRight) {
  NgramDrafter d(1000);
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 200; ++i) tokens.push_back(i);
  tokens.insert(tokens.end(), {50, 51});
  d.read(tokens);
  for (int32_t i = 52; i < 150; ++i) {
    EXPECT_EQ(d.match(), i - 50);
    ASSERT_EQ(guess(d, tokens, 1), std::vector<int32_t>{i});
    tokens.push_back(i);
    d.read(tokens);
  }
  tokens.push_back(3);  // unlike the text
  d.read(tokens);
  EXPECT_EQ(d.match(), 0);
}

TEST(NgramDrafterTest, AGuessMayRepeatItself) {
  NgramDrafter d(100);
  const std::vector<int32_t> tokens{1, 2, 3, 1, 2, 3, 1};
  d.read(tokens);
  EXPECT_EQ(d.match(), 4);
  EXPECT_EQ(guess(d, tokens, 7), (std::vector<int32_t>{2, 3, 1, 2, 3, 1, 2}));
}

// Whether the last `match` tokens stand somewhere before a token `next`.
bool stands(const std::vector<int32_t>& tokens, size_t match, int32_t next) {
  const auto last = std::span(tokens).last(match);
  for (size_t at = match; at < tokens.size(); ++at) {
    const auto before = std::span(tokens).subspan(at - match, match);
    if (tokens[at] == next && std::ranges::equal(before, last)) return true;
  }
  return false;
}

// Read in pieces, with tables far too small for the sequence.
TEST(NgramDrafterTest, MatchesAreTrueWhateverTheTablesForgot) {
  Rng rng(7);
  std::vector<int32_t> tokens;
  NgramDrafter pieces(16);
  int64_t found = 0;
  for (int i = 0; i < 3000; ++i) {
    tokens.push_back(static_cast<int32_t>(rng.next_below(6)));
    if (rng.next_below(3) != 0) continue;
    pieces.read(tokens);
    if (pieces.match() == 0) continue;
    ++found;
    const auto match = static_cast<size_t>(pieces.match());
    ASSERT_TRUE(stands(tokens, match, guess(pieces, tokens, 1)[0])) << i << ", match " << match;
  }
  EXPECT_GT(found, 300);
  NgramDrafter whole(16);
  whole.read(tokens);
  pieces.read(tokens);
  EXPECT_EQ(whole.match(), pieces.match()) << "reading in pieces is reading";
}

}  // namespace
}  // namespace hadal::engine
