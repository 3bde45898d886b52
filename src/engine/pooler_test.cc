#include "engine/pooler.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hadal::engine {
namespace {

using engine_api::Pooling;

TEST(PoolerTest, TheMeanTakesEveryToken) {
  Pooler pooler(Pooling::mean, 2);
  EXPECT_TRUE(pooler.needs_all());
  EXPECT_EQ(pooler.wanted(5, false), 5);
  pooler.add(std::vector<float>{9, 9});
  pooler.restart();
  pooler.add(std::vector<float>{1, 0, 2, 4});
  pooler.add(std::vector<float>{0, 0});
  EXPECT_EQ(*pooler.result(), (std::vector<float>{0.6f, 0.8f}));
}

TEST(PoolerTest, TheLastTakesOneToken) {
  Pooler pooler(Pooling::last, 2);
  EXPECT_FALSE(pooler.needs_all());
  EXPECT_EQ(pooler.wanted(5, false), 0);
  EXPECT_EQ(pooler.wanted(5, true), 1);
  pooler.add(std::vector<float>{});
  pooler.add(std::vector<float>{-3, 4});
  EXPECT_EQ(*pooler.result(), (std::vector<float>{-0.6f, 0.8f}));
}

TEST(PoolerTest, WhatIsNoDirectionOrNoNumber) {
  Pooler pooler(Pooling::last, 2);
  EXPECT_EQ(*pooler.result(), (std::vector<float>{0, 0}));
  pooler.add(std::vector<float>{1, NAN});
  EXPECT_FALSE(pooler.result());
}

}  // namespace
}  // namespace hadal::engine
