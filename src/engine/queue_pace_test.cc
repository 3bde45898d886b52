#include "engine/queue_pace.h"

#include <gtest/gtest.h>

namespace hadal::engine {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(QueuePaceTest, TellsWhenHalfOfThemHadTheirTurn) {
  QueuePace pace;
  EXPECT_EQ(pace.retry_after_s(64), 1) << "nothing is known yet";
  for (int64_t i = 0; i < 5; ++i) pace.learn(100 * kSecond + i * kSecond / 2, true);
  EXPECT_EQ(pace.retry_after_s(64), 16);
  EXPECT_EQ(pace.retry_after_s(1), 1);
  EXPECT_EQ(pace.retry_after_s(100'000), 60);
}

TEST(QueuePaceTest, FollowsTheRecentPace) {
  QueuePace pace;
  int64_t now = 0;
  for (int i = 0; i < 100; ++i) pace.learn(now += kSecond, true);
  for (int i = 0; i < 60; ++i) pace.learn(now += kSecond / 4, true);
  EXPECT_EQ(pace.retry_after_s(64), 9);
}

TEST(QueuePaceTest, TimesWhenNobodyWaitedDoNotCount) {
  QueuePace pace;
  pace.learn(kSecond, true);
  pace.learn(2 * kSecond, false);
  pace.learn(500 * kSecond, true);
  EXPECT_EQ(pace.retry_after_s(20), 10);
}

}  // namespace
}  // namespace hadal::engine
