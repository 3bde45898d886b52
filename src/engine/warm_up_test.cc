#include "engine/warm_up.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "engine/test_engine.h"

namespace hadal::engine {
namespace {

namespace fs = std::filesystem;

TEST(WarmUpTest, AWarmedPromptIsAnsweredAsIfItHadBeenAskedBefore) {
  std::string name = (fs::temp_directory_path() / "hadal-warmup-XXXXXX").string();
  const fs::path dir = mkdtemp(name.data());
  const fs::path image = dir / "hot";
  const auto prompt = some_ids(300);
  {
    const auto model = load();
    ASSERT_TRUE(warm_prompt(*model, prompt));
    ASSERT_TRUE(save_warm_image(*model, image));
  }
  auto question = prompt;
  for (int32_t id = 700; id < 720; ++id) question.push_back(id);
  auto request = exactly(after_ids(question), 20);

  TestEngine cold;
  const auto want = cold.ask(request);
  EXPECT_EQ(want.usage().cached_tokens, 0);

  auto model = load();
  EXPECT_EQ(load_warm_image(*model, image), 4) << "whole pages of 64 tokens";
  TestEngine warm(std::move(model));
  request.cache_salt = "anybody";
  const auto got = warm.ask(request);
  EXPECT_EQ(got.usage().cached_tokens, 256);
  EXPECT_EQ(got.content, want.content);
  EXPECT_EQ(warm.pages_free_at_end(), warm.pages - 4 - 1) << "the fifth page: this question's own";
  fs::remove_all(dir);
}

TEST(WarmUpTest, FillsAtMostHalfTheCacheAndStops) {
  const auto model = load({.context_tokens_max = 256});
  EXPECT_EQ(warm_prompt(*model, some_ids(257)).error().code, ErrorCode::context_length_exceeded);
  const auto stopped = warm_prompt(*model, some_ids(100), [](int64_t) { return false; });
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  EXPECT_EQ(model->kv->pages_free(), model->kv->pages());
  const auto none = load({.prefix_cache = false});
  EXPECT_EQ(warm_prompt(*none, some_ids(100)).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace hadal::engine
