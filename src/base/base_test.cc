#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/check.h"
#include "base/error.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "base/units.h"
#include "base/utf8.h"

namespace hadal {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return invalid_argument("odd");
  return n / 2;
}

Result<int> quarter(int n) {
  TRY(const int h, half(n));
  TRY(const int q, half(h));
  return q;
}

Status both(int a, int b) {
  TRY_VOID(half(a));
  TRY_VOID(half(b));
  return {};
}

TEST(ResultTest, TryReturnsTheFirstError) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_TRUE(both(2, 4));
  EXPECT_FALSE(both(2, 3));
}

TEST(ErrorTest, EveryCodeHasOneRow) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    const ErrorClass& row = error_class(static_cast<ErrorCode>(i));
    EXPECT_EQ(static_cast<int>(row.code), i);
    EXPECT_GE(row.http_status, 400);
    EXPECT_NE(row.exit_code, 0);
  }
  EXPECT_EQ(errno_error(2, "open x").code, ErrorCode::not_found);
  EXPECT_EQ(invalid_argument("b").in("a").message, "a: b");
}

TEST(CheckDeathTest, AbortsWithTheConditionAndTheReason) {
  EXPECT_DEATH(CHECK(1 + 1 == 3, "arithmetic"), "1 \\+ 1 == 3.*arithmetic");
}

TEST(ThreadPoolTest, CoversEveryIndexOnceWhateverTheGrain) {
  ThreadPool pool(3);
  for (const int64_t n : {0, 1, 2, 7, 1000}) {
    for (const int64_t grain : {1, 3, 2000}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
      pool.run(n, grain, [&](int64_t begin, int64_t end, int thread) {
        EXPECT_LT(thread, 3);
        EXPECT_LE(end - begin, grain);
        for (int64_t i = begin; i < end; ++i) hits[static_cast<size_t>(i)]++;
      });
      for (auto& h : hits) EXPECT_EQ(h.load(), 1);
    }
  }
}

TEST(ThreadPoolTest, ManyShortJobsInARow) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  for (int job = 0; job < 5000; ++job) {
    pool.run(4, 1, [&](int64_t begin, int64_t, int) { sum += begin; });
  }
  EXPECT_EQ(sum.load(), 5000 * 6);
}

TEST(BoundedQueueTest, RefusesWhenFullAndDrainsAfterClose) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.try_push(1));
  EXPECT_TRUE(queue.try_push(2));
  EXPECT_FALSE(queue.try_push(3));
  queue.close();
  EXPECT_FALSE(queue.try_push(4));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.try_pop(), 2);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(UnitsTest, CheckedArithmeticRefusesOverflow) {
  EXPECT_EQ(checked_mul(1ull << 33, 1ull << 31), std::nullopt);
  EXPECT_EQ(checked_mul(3, 4), 12u);
  EXPECT_EQ(checked_add(~0ull, 1), std::nullopt);
  EXPECT_EQ(round_up(65, 64), 128);
  EXPECT_EQ(ceil_div(64, 64), 1);
  EXPECT_EQ(format_bytes(1610612736), "1.50 GiB");
  EXPECT_EQ(format_count(1780000000), "1.78 B");
}

TEST(Utf8Test, DecodesAndReplacesMaximalSubparts) {
  EXPECT_EQ(decode_utf8("é").code_point, 0xE9u);
  EXPECT_EQ(decode_utf8("深").bytes, 3u);
  EXPECT_EQ(decode_utf8("\xF0\x9F\x90\xB3").code_point, 0x1F433u);
  EXPECT_FALSE(is_utf8("\xC0\xAF"));
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));
  EXPECT_EQ(to_valid_utf8("a\xF0\x9F\x90z"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  std::string round;
  append_utf8(round, 0x1F433);
  append_utf8(round, 0xD800);
  EXPECT_EQ(round, "\xF0\x9F\x90\xB3\xEF\xBF\xBD");
}

TEST(Utf8Test, IncompleteTailCountsOnlyWhatCanStillComplete) {
  EXPECT_EQ(incomplete_utf8_tail("abc"), 0u);
  EXPECT_EQ(incomplete_utf8_tail("a\xE6"), 1u);
  EXPECT_EQ(incomplete_utf8_tail("a\xE6\xB7"), 2u);
  EXPECT_EQ(incomplete_utf8_tail("a\xE6\xB7\xB1"), 0u);
  EXPECT_EQ(incomplete_utf8_tail("\xF0\x9F\x90"), 3u);
  EXPECT_EQ(incomplete_utf8_tail("\xF0\x80"), 0u);
  EXPECT_EQ(incomplete_utf8_tail("\x80\x80"), 0u);
}

TEST(RngTest, SameSeedSameNumbersOnEveryMachine) {
  Rng a(42);
  Rng b(42);
  Rng c(43);
  EXPECT_EQ(a.next_u64(), b.next_u64());
  EXPECT_NE(a.next_u64(), c.next_u64());
  double mean = 0;
  for (int i = 0; i < 10000; ++i) mean += a.next_double() / 10000;
  EXPECT_NEAR(mean, 0.5, 0.02);
}

TEST(MetricsTest, PrintsPrometheusText) {
  MetricsRegistry registry;
  registry.counter("hadal_requests_total", "Requests.", {{"code", "2\"00"}}).add(3);
  registry.gauge("hadal_queue_depth", "Depth.").set(1.5);
  Histogram& h = registry.histogram("hadal_ttft_seconds", "TTFT.", {0.1, 1});
  h.observe(0.1);
  h.observe(5);
  EXPECT_EQ(
      registry.prometheus_text(),
      "# HELP hadal_requests_total Requests.\n# TYPE hadal_requests_total counter\n"
      "hadal_requests_total{code=\"2\\\"00\"} 3\n"
      "# HELP hadal_queue_depth Depth.\n# TYPE hadal_queue_depth gauge\nhadal_queue_depth 1.5\n"
      "# HELP hadal_ttft_seconds TTFT.\n# TYPE hadal_ttft_seconds histogram\n"
      "hadal_ttft_seconds_bucket{le=\"0.1\"} 1\nhadal_ttft_seconds_bucket{le=\"1\"} 1\n"
      "hadal_ttft_seconds_bucket{le=\"+Inf\"} 2\nhadal_ttft_seconds_sum 5.1\n"
      "hadal_ttft_seconds_count 2\n");
}

}  // namespace
}  // namespace hadal
