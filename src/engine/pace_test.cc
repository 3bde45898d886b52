#include "engine/pace.h"

#include <gtest/gtest.h>

namespace hadal::engine {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(PaceTest, APromptAloneTakesTheWholeStep) {
  const Pace pace(512);
  EXPECT_EQ(pace.prefill_tokens(0), 512);
}

TEST(PaceTest, APieceMakesTheStepLessThanTwiceAsLong) {
  Pace pace(512);
  for (int i = 0; i < 50; ++i) {
    pace.learn(4, 0, 40 * kMs);
    pace.learn(4, 10, 70 * kMs);  // 3 ms a prompt token
  }
  EXPECT_EQ(pace.prefill_tokens(4), 9);  // 0.7 * 40 ms / 3 ms
}

TEST(PaceTest, FollowsAMachineThatChanges) {
  Pace pace(512);
  for (int i = 0; i < 50; ++i) {
    pace.learn(1, 0, 40 * kMs);
    pace.learn(1, 10, 70 * kMs);
  }
  for (int i = 0; i < 50; ++i) {
    pace.learn(1, 0, 40 * kMs);
    pace.learn(1, 10, 45 * kMs);
  }
  EXPECT_GT(pace.prefill_tokens(1), 50);
}

TEST(PaceTest, StaysWithinTheStep) {
  Pace pace(64);
  EXPECT_LE(pace.prefill_tokens(60), 4);
  EXPECT_EQ(pace.prefill_tokens(64), 0);
  pace.learn(1, 0, 1000 * kMs);
  pace.learn(1, 10, 1001 * kMs);
  EXPECT_EQ(pace.prefill_tokens(1), 63);
  pace.learn(1, 1, 900'000 * kMs);
  EXPECT_GE(pace.prefill_tokens(1), 1) << "a prompt always gets on";
}

TEST(PaceTest, AClockThatStandsStillTeachesNothing) {
  Pace pace(512);
  pace.learn(1, 0, 0);
  pace.learn(1, 10, 0);
  EXPECT_EQ(pace.prefill_tokens(1), 32);
}

}  // namespace
}  // namespace hadal::engine
