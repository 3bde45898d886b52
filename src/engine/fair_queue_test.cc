#include "engine/fair_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace hadal::engine {
namespace {

std::shared_ptr<Job> job(const std::string& user, int priority = 0) {
  auto j = std::make_shared<Job>();
  j->request.user = user;
  j->request.priority = priority;
  return j;
}

bool anyone(const Job&) { return true; }

// Serves `count` requests of 10 tokens each, one after the other; whose they were.
std::string served(FairQueue& queue, int count) {
  std::string users;
  for (int i = 0; i < count; ++i) {
    const auto next = queue.pop_if(anyone);
    if (next == nullptr) break;
    users += next->request.user;
    next->account->served += 10;
    queue.leave(*next);
  }
  return users;
}

TEST(FairQueueTest, OneWhoAsksMuchDoesNotKeepOthersWaiting) {
  FairQueue queue(16);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(queue.try_push(job("a")));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(queue.try_push(job("b")));
  EXPECT_EQ(served(queue, 16), "ababaaaa");
}

TEST(FairQueueTest, AUserWhoComesBackHasNoMoreCreditThanThoseWhoAreHere) {
  FairQueue queue(16);
  ASSERT_TRUE(queue.try_push(job("b")));
  EXPECT_EQ(served(queue, 1), "b");  // b: 10
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(queue.try_push(job("a")));
  EXPECT_EQ(served(queue, 5), "aaaaa");  // a: 50
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue.try_push(job("b")));
  EXPECT_EQ(served(queue, 16), "abababb") << "b does not get the 40 tokens it did not ask for";
}

TEST(FairQueueTest, LeavingDoesNotPayADebt) {
  FairQueue queue(16);
  ASSERT_TRUE(queue.try_push(job("a")));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.try_push(job("b")));
  const auto big = queue.pop_if(anyone);
  ASSERT_EQ(big->request.user, "a");
  big->account->served += 1000;
  queue.leave(*big);
  EXPECT_EQ(served(queue, 1), "b");
  ASSERT_TRUE(queue.try_push(job("a")));
  EXPECT_EQ(served(queue, 16), "bba");
}

TEST(FairQueueTest, PriorityComesBeforeFairness) {
  FairQueue queue(16);
  ASSERT_TRUE(queue.try_push(job("a", 5)));
  ASSERT_TRUE(queue.try_push(job("a", 0)));
  ASSERT_TRUE(queue.try_push(job("b", 5)));
  ASSERT_TRUE(queue.try_push(job("c", -1)));
  EXPECT_EQ(served(queue, 16), "caba") << "a was served once before b, at priority 0";
}

TEST(FairQueueTest, NobodyOvertakesTheOneWhoseTurnItIs) {
  FairQueue queue(4);
  ASSERT_TRUE(queue.try_push(job("a")));
  ASSERT_TRUE(queue.try_push(job("b")));
  EXPECT_EQ(queue.pop_if([](const Job& j) { return j.request.user == "b"; }), nullptr);
  EXPECT_EQ(queue.size(), 2u);
}

TEST(FairQueueTest, RefusesWhenFullAndWhenClosed) {
  FairQueue queue(2);
  EXPECT_TRUE(queue.try_push(job("a")));
  EXPECT_TRUE(queue.try_push(job("a")));
  EXPECT_FALSE(queue.try_push(job("a")));
  EXPECT_EQ(queue.take_if(anyone).size(), 2u);
  queue.close();
  EXPECT_FALSE(queue.try_push(job("a")));
  EXPECT_FALSE(queue.wait());
}

TEST(FairQueueTest, WaitLeavesTheRequestWhereItIs) {
  FairQueue queue(1);
  std::thread late([&] { EXPECT_TRUE(queue.try_push(job("a"))); });
  EXPECT_TRUE(queue.wait());
  late.join();
  EXPECT_EQ(queue.size(), 1u);
}

TEST(FairQueueTest, UsersWhoAreAwayAreForgottenInTheEnd) {
  FairQueue queue(4);
  for (size_t i = 0; i < 3 * FairQueue::kAwayMax; ++i) {
    ASSERT_TRUE(queue.try_push(job("user" + std::to_string(i))));
    served(queue, 1);
  }
  EXPECT_LE(queue.users(), FairQueue::kAwayMax);
  EXPECT_GT(queue.users(), FairQueue::kAwayMax / 4);
}

}  // namespace
}  // namespace hadal::engine
