#include "engine/step_cost.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace hadal::engine {
namespace {

// A step of 36 ms plus 3 ms for each row after the first, give or take.
int64_t step_ns(int64_t rows, double row_ms, Rng& rng) {
  return static_cast<int64_t>(
      1e6 * (36 + row_ms * static_cast<double>(rows - 1) + 2 * rng.next_double() - 1));
}

TEST(StepCostTest, LearnsThePriceOfARowFromStepsOfDifferentRows) {
  Rng rng(1);
  for (const double row_ms : {0.5, 3.0, 30.0}) {
    StepCost cost;
    for (int i = 0; i < 100; ++i) {
      const int64_t rows = 1 + i % 5;
      cost.learn(rows, step_ns(rows, row_ms, rng));
    }
    const double want = row_ms / (36 + 3 * row_ms);
    EXPECT_NEAR(cost.share_of_row(4), want, 0.15 * want + 0.005) << row_ms;
  }
}

TEST(StepCostTest, StepsOfTheSameRowsForgetNothing) {
  Rng rng(1);
  StepCost cost;
  for (int i = 0; i < 100; ++i) cost.learn(1 + i % 5, step_ns(1 + i % 5, 30, rng));
  for (int i = 0; i < 1000; ++i) cost.learn(1, step_ns(1, 30, rng));
  EXPECT_GT(cost.share_of_row(1), 0.6) << "a row is dear, and nothing told otherwise";
}

TEST(StepCostTest, AStepThatWaitedTellsLittle) {
  Rng rng(1);
  StepCost cost;
  for (int i = 0; i < 100; ++i) cost.learn(1 + i % 5, step_ns(1 + i % 5, 3, rng));
  cost.learn(5, 5'000'000'000);
  EXPECT_LT(cost.share_of_row(1), 0.5);
  cost.learn(1, 0);  // a clock that stands still
  EXPECT_LT(cost.share_of_row(1), 0.5);
}

TEST(DraftBudgetTest, TakesWhatMakesAStepQuickerPerToken) {
  const StepCost unknown;  // a row costs a tenth of a step of one row
  DraftBudget budget(unknown, 1, 3, false);
  EXPECT_FALSE(budget.take(0.05));
  EXPECT_TRUE(budget.take(0.9));
  EXPECT_TRUE(budget.take(0.9));
  EXPECT_FALSE(budget.take(0.2)) << "with 2.8 tokens in 1.2 steps a row must bring more";
  EXPECT_TRUE(budget.take(0.9));
  EXPECT_FALSE(budget.take(1)) << "no room is left";
}

TEST(DraftBudgetTest, InALargeBatchNothingPays) {
  const StepCost unknown;
  DraftBudget budget(unknown, 64, 8, false);
  EXPECT_FALSE(budget.take(0.9)) << "64 tokens in 7.3 steps: a row costs as much as a token";
  DraftBudget always(unknown, 64, 1, true);
  EXPECT_TRUE(always.take(0.01));
  EXPECT_FALSE(always.take(1));
}

}  // namespace
}  // namespace hadal::engine
