#include "engine/sequence.h"

#include <gtest/gtest.h>

#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

// A cache of rows that nothing computes: P is 64.
struct Cache {
  explicit Cache(int64_t pages, int64_t slots = 1)
      : device(*kernels::open_cpu({.threads = 1})),
        kv(*kvcache::KvCache::create(kvcache::KvLayout{{{.width = 4}}}, *device, DType::f16, pages,
                                     slots)),
        prefixes(std::make_unique<kvcache::PrefixCache>(kv)) {}

  // A prompt that is computed and published, as the engine does.
  int64_t run(std::vector<int32_t> tokens) {
    auto s = Sequence::start(kv, prefixes.get(), std::move(tokens));
    EXPECT_TRUE(s);
    const int64_t left = static_cast<int64_t>(s->tokens().size()) - s->computed();
    EXPECT_TRUE(s->reserve(left));
    s->advance(left);
    s->publish();
    return s->cached();
  }

  std::unique_ptr<kernels::Device> device;
  kvcache::KvCache kv;
  std::unique_ptr<kvcache::PrefixCache> prefixes;
};

TEST(SequenceTest, ReservesWholePagesAndGivesThemBack) {
  Cache c(4);
  {
    auto s = Sequence::start(c.kv, nullptr, some_ids(100));
    ASSERT_TRUE(s);
    EXPECT_EQ(s->computed(), 0);
    EXPECT_EQ(s->cached(), 0);
    EXPECT_TRUE(s->reserve(64));
    EXPECT_EQ(s->pages().size(), 1u);
    s->advance(64);
    EXPECT_TRUE(s->reserve(36));
    EXPECT_EQ(s->pages().size(), 2u);
    EXPECT_EQ(c.kv.pages_free(), 2);
    s->advance(36);
    s->append(7);
    EXPECT_EQ(s->tokens().size(), 101u);
    EXPECT_EQ(s->computed(), 100) << "a chosen token has no row yet";
    EXPECT_TRUE(s->reserve(1));
    EXPECT_EQ(s->pages().size(), 2u) << "there was room in the page";
  }
  EXPECT_EQ(c.kv.pages_free(), 4);
}

TEST(SequenceTest, RunningOutOfPagesIsAnErrorAndLosesNone) {
  Cache c(2);
  {
    auto s = Sequence::start(c.kv, nullptr, some_ids(200));
    ASSERT_TRUE(s);
    const Status full = s->reserve(200);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, ErrorCode::resource_exhausted);
    EXPECT_FALSE(full.error().hint.empty());
    EXPECT_TRUE(s->reserve(128)) << "what it got can still be used";
  }
  EXPECT_EQ(c.kv.pages_free(), 2);
}

TEST(SequenceTest, HoldsOneSlotAsLongAsItLives) {
  Cache c(2, 1);
  {
    auto first = Sequence::start(c.kv, nullptr, {1});
    ASSERT_TRUE(first);
    EXPECT_GE(first->slot(), 0);
    const auto second = Sequence::start(c.kv, nullptr, {2});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  }
  EXPECT_TRUE(Sequence::start(c.kv, nullptr, {3}));
}

TEST(SequenceTest, MovedFromItHoldsNothing) {
  Cache c(4);
  {
    auto s = Sequence::start(c.kv, nullptr, some_ids(70));
    ASSERT_TRUE(s && s->reserve(70));
    const Sequence moved = std::move(*s);
    EXPECT_EQ(moved.pages().size(), 2u);
    EXPECT_TRUE(s->pages().empty());
    EXPECT_EQ(c.kv.pages_free(), 2);
  }
  EXPECT_EQ(c.kv.pages_free(), 4);
  EXPECT_TRUE(Sequence::start(c.kv, nullptr, {1})) << "the slot came back once";
  auto one = Sequence::start(c.kv, nullptr, {1});
  EXPECT_FALSE(Sequence::start(c.kv, nullptr, {1})) << "and only once";
}

//   first   [0..63][64..127][128..149]     published: two full pages
//   second  [0..63][64..127][other ...]    finds both
TEST(SequenceTest, StartsAfterTheLongestPublishedPrefix) {
  Cache c(8);
  EXPECT_EQ(c.run(some_ids(150)), 0);
  EXPECT_EQ(c.kv.pages_free(), 6) << "the tree keeps two full pages";
  EXPECT_EQ(c.run(some_ids(150)), 128);
  EXPECT_EQ(c.run(some_ids(128)), 64) << "the last token is always computed";
  EXPECT_EQ(c.run(some_ids(100, 500)), 0);
  std::vector<int32_t> other = some_ids(128);
  other.push_back(1);
  auto s = Sequence::start(c.kv, c.prefixes.get(), other);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->cached(), 128);
  EXPECT_EQ(s->computed(), 128);
  EXPECT_TRUE(s->reserve(1));
  EXPECT_EQ(s->pages().size(), 3u);
}

TEST(SequenceTest, PublishesOnlyWhatIsComputed) {
  Cache c(8);
  {
    auto s = Sequence::start(c.kv, c.prefixes.get(), some_ids(200));
    ASSERT_TRUE(s && s->reserve(200));
    s->advance(100);  // and then it was cancelled
    s->publish();
  }
  EXPECT_EQ(c.run(some_ids(200)), 64);
}

TEST(SequenceTest, EvictsUnusedPrefixesBeforeItFails) {
  Cache c(4);
  c.run(some_ids(128));
  c.run(some_ids(128, 500));
  EXPECT_EQ(c.kv.pages_free(), 0);
  auto s = Sequence::start(c.kv, c.prefixes.get(), some_ids(256, 700));
  ASSERT_TRUE(s);
  EXPECT_TRUE(s->reserve(256));
  EXPECT_EQ(c.prefixes->size_pages(), 0);
  EXPECT_FALSE(s->reserve(257)) << "its own pages cannot be evicted";
}

}  // namespace
}  // namespace hadal::engine
