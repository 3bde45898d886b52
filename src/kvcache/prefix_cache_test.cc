#include "kvcache/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kvcache/test_device.h"

namespace hadal::kvcache {
namespace {

struct Fixture {
  MemoryDevice device;
  KvLayout layout{{{.width = 4}}};
  KvCache kv;
  explicit Fixture(int64_t pages) : kv(*KvCache::create(layout, device, DType::f16, pages, 1)) {}

  // Computes a prompt as the engine would: matched pages first, fresh pages for the rest.
  std::vector<int32_t> run(PrefixCache& cache, const std::vector<int32_t>& tokens,
                           size_t* cached = nullptr) {
    std::vector<int32_t> pages = cache.match(tokens);
    if (cached != nullptr) *cached = pages.size();
    while (pages.size() * 64 < tokens.size()) {
      auto page = kv.take_page();
      if (!page && cache.evict(1) > 0) page = kv.take_page();
      if (!page) ADD_FAILURE() << "out of pages";
      pages.push_back(page.value_or(0));
    }
    cache.insert(tokens, pages);
    return pages;
  }
  void drop(const std::vector<int32_t>& pages) {
    for (const int32_t p : pages) kv.release_page(p);
  }
};

std::vector<int32_t> tokens_of(std::initializer_list<std::pair<int, int>> runs) {
  std::vector<int32_t> out;
  for (const auto& [first, count] : runs) {
    for (int i = 0; i < count; ++i) out.push_back(first + i);
  }
  return out;
}

// system: 0..127 (two pages)
//                 ┌─ A: 1000.. (one page and a bit)
//   [0..63][64..127]
//                 └─ B: 2000.. (one page and a bit)
TEST(PrefixCacheTest, TwoTurnsShareTheSystemPrompt) {
  Fixture f(16);
  PrefixCache cache(f.kv);
  const auto a = f.run(cache, tokens_of({{0, 128}, {1000, 70}}));
  size_t cached = 0;
  const auto b = f.run(cache, tokens_of({{0, 128}, {2000, 70}}), &cached);
  EXPECT_EQ(cached, 2u);
  EXPECT_EQ(a[0], b[0]);
  EXPECT_EQ(a[1], b[1]);
  EXPECT_NE(a[2], b[2]);
  EXPECT_EQ(cache.size_pages(), 4);
  f.drop(a);
  f.drop(b);
  EXPECT_EQ(f.kv.pages_free(), 16 - 4) << "the tree keeps full pages, the partial ones came back";
}

TEST(PrefixCacheTest, MatchTruncatesAtPageBoundaryAndLeavesOneTokenToCompute) {
  Fixture f(8);
  PrefixCache cache(f.kv);
  f.drop(f.run(cache, tokens_of({{0, 128}})));
  const auto whole = cache.match(tokens_of({{0, 128}}));
  EXPECT_EQ(whole.size(), 1u) << "128 known tokens: the last page must still be computed";
  const auto longer = cache.match(tokens_of({{0, 129}}));
  EXPECT_EQ(longer.size(), 2u);
  const auto half = cache.match(tokens_of({{0, 100}, {7, 100}}));
  EXPECT_EQ(half.size(), 1u);
  EXPECT_TRUE(cache.match(tokens_of({{1, 200}})).empty());
  f.drop(whole);
  f.drop(longer);
  f.drop(half);
}

TEST(PrefixCacheTest, EvictsLeastRecentlyUsedLeavesAndNeverPagesInUse) {
  Fixture f(6);
  PrefixCache cache(f.kv);
  f.drop(f.run(cache, tokens_of({{0, 128}})));     // oldest, two pages
  f.drop(f.run(cache, tokens_of({{1000, 128}})));  // newer, two pages
  const auto held =
      cache.match(tokens_of({{0, 65}}));  // touches and holds the first page of the oldest
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(cache.evict(1), 1);
  EXPECT_EQ(f.kv.pages_free(), 3);
  EXPECT_EQ(cache.evict(100), 2) << "all but the held page";
  EXPECT_EQ(f.kv.pages_free(), 5);
  f.drop(held);
}

TEST(PrefixCacheTest, PagesGoBackWhenTheCacheGoes) {
  Fixture f(4);
  {
    PrefixCache cache(f.kv);
    f.drop(f.run(cache, tokens_of({{5, 190}})));
    EXPECT_EQ(f.kv.pages_free(), 2);
  }
  EXPECT_EQ(f.kv.pages_free(), 4);
}

TEST(KvLayoutTest, PageHoldsWholePooledRows) {
  KvLayout layout;
  layout.add({.width = 8});
  layout.add({.width = 8, .tokens_per_row = 128});
  layout.add({.width = 8, .ring_rows = 16});
  EXPECT_EQ(layout.page_tokens(), 128);
  EXPECT_FALSE(layout.shareable());
  EXPECT_EQ(layout.bytes_per_token(DType::f16), 16 + 1);
  EXPECT_EQ(layout.bytes_per_slot(DType::f16), 16 * 16);
}

TEST(KvLayoutTest, BlocksAreUsedWhereRowsAndHeadsAreWhole) {
  KvLayout layout;
  layout.add({.width = 576});
  layout.add({.width = 256, .part = 128});
  layout.add({.width = 96, .part = 24});  // heads of 24 are no blocks of 32
  layout.add({.width = 64, .ring_rows = 10, .exact = true});
  EXPECT_EQ(layout.streams[0].stored_as(DType::q8_0), DType::q8_0);
  EXPECT_EQ(layout.streams[2].stored_as(DType::q8_0), DType::f16);
  EXPECT_EQ(layout.streams[2].stored_as(DType::f8_e4m3), DType::f8_e4m3);
  EXPECT_EQ(layout.bytes_per_token(DType::q8_0), 576 / 32 * 34 + 256 / 32 * 34 + 96 * 2);
  EXPECT_EQ(layout.bytes_per_token(DType::f8_e4m3), 576 + 256 + 96);
  EXPECT_EQ(layout.bytes_per_slot(DType::q8_0), 10 * 64 * 4);
  EXPECT_EQ(kv_dtype_from_name("int8"), DType::q8_0);
  EXPECT_EQ(kv_dtype_from_name("fp8"), DType::f8_e4m3);
  EXPECT_EQ(kv_dtype_from_name("bf16"), DType::bf16);
  EXPECT_EQ(kv_dtype_from_name("q4_0"), std::nullopt);
}

TEST(KvCacheDeathTest, ReleasingTwiceIsADefect) {
  Fixture f(2);
  const int32_t page = *f.kv.take_page();
  f.kv.release_page(page);
  EXPECT_DEATH(f.kv.release_page(page), "released twice");
}

// A sequence that computed a known prefix anew and went on: the unused copies must not stay behind
// its pages, where eviction cannot reach them.
TEST(PrefixCacheTest, UnusedCopiesGiveWay) {
  Fixture f(6);
  PrefixCache cache(f.kv);
  const auto prompt = tokens_of({{0, 200}});
  const auto take = [&](int count) {
    std::vector<int32_t> pages;
    for (int i = 0; i < count; ++i) pages.push_back(*f.kv.take_page());
    return pages;
  };
  const auto old = take(2);
  cache.insert(std::span(prompt).first(128), old);
  const auto user = cache.match(std::span(prompt).first(70));  // of the first page only
  f.drop(old);
  const auto anew = take(3);
  cache.insert(prompt, anew);
  EXPECT_EQ(cache.size_pages(), 3);
  EXPECT_EQ(f.kv.pages_free(), 2) << "the second old page came back, the first is in use";
  f.drop(user);
  f.drop(anew);
  EXPECT_EQ(cache.evict(9), 3);
  EXPECT_EQ(f.kv.pages_free(), 6);
}

TEST(PrefixCacheTest, SaltsShareNothing) {
  Fixture f(8);
  PrefixCache cache(f.kv);
  const auto prompt = tokens_of({{0, 130}});
  std::vector<int32_t> pages;
  for (int i = 0; i < 3; ++i) pages.push_back(*f.kv.take_page());
  cache.insert(prompt, pages, "mine");
  EXPECT_TRUE(cache.match(prompt).empty());
  EXPECT_TRUE(cache.match(prompt, "yours").empty());
  const auto hit = cache.match(prompt, "mine");
  EXPECT_EQ(hit.size(), 2u);
  f.drop(hit);
  // The same prompt under another salt gets pages of its own.
  std::vector<int32_t> others;
  for (int i = 0; i < 3; ++i) others.push_back(*f.kv.take_page());
  cache.insert(prompt, others, "yours");
  EXPECT_EQ(cache.size_pages(), 4);
  const auto theirs = cache.match(prompt, "yours");
  ASSERT_EQ(theirs.size(), 2u);
  EXPECT_EQ(theirs[0], others[0]);
  f.drop(theirs);
  f.drop(pages);
  f.drop(others);
  EXPECT_EQ(cache.evict(8), 4);
  EXPECT_EQ(f.kv.pages_free(), 8);
  EXPECT_TRUE(cache.match(prompt, "mine").empty());
}

}  // namespace
}  // namespace hadal::kvcache
