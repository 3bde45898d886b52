// A step may compute tokens that turn out wrong: the sequence then goes on before them, and
// everything that its caches held must be as if they had never been. Every golden checkpoint, since
// their caches differ: growing rows, rings, pooled rows with running state.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/units.h"
#include "format/checkpoint.h"
#include "goldens.h"
#include "kernels/device.h"
#include "kvcache/kv_cache.h"
#include "model/model.h"
#include "model/step_batch.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTokens = 150;  // over two pages, and over every window of the goldens
constexpr int64_t kStep = 16;

// One sequence of a golden checkpoint, computed step by step.
class Walk {
 public:
  explicit Walk(const std::string& path)
      : checkpoint_(*format::Checkpoint::open(path)),
        device_(*kernels::open_cpu({.threads = 1, .exact = true})),
        model_(*model::Model::load(*checkpoint_, *device_, {.step_tokens_max = kStep})),
        pages_(static_cast<size_t>(ceil_div(kTokens + kStep, model_->kv_layout().page_tokens()))),
        kv_(*kvcache::KvCache::create(model_->kv_layout(), *device_, DType::f32,
                                      static_cast<int64_t>(pages_.size()), 1)) {
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  int64_t vocab() const { return model_->config().vocab; }
  // FP4 experts are not packed: a few tokens and many take different paths, which round differently
  // (ADR 6). Everything else is equal bit by bit.
  float bound() const {
    const bool packed = std::ranges::none_of(
        checkpoint_->tensors(), [](const auto& t) { return t.view.dtype == DType::f4_e2m1; });
    return packed ? 0 : 1e-4f;
  }

  // The logits of all of `tokens`, which come after `past`.
  std::vector<float> step(std::span<const int32_t> tokens, int64_t past) {
    const auto n = static_cast<int64_t>(tokens.size());
    const model::StepSequence s{.tokens = tokens, .past = past, .block_table = pages_, .logits = n};
    EXPECT_TRUE(batch_.set(*device_, {&s, 1}));
    std::vector<float> out(static_cast<size_t>(n * vocab()));
    model_->forward(batch_.view(), kv_.views(), batch_.logit_rows(),
                    {reinterpret_cast<std::byte*>(out.data()), DType::f32, n, vocab(), vocab()});
    return out;
  }

 private:
  std::unique_ptr<const format::Checkpoint> checkpoint_;
  std::unique_ptr<kernels::Device> device_;
  std::unique_ptr<model::Model> model_;
  std::vector<int32_t> pages_;
  kvcache::KvCache kv_;
  model::StepBatch batch_;
};

class RollbackTest : public testing::TestWithParam<std::string> {};

TEST_P(RollbackTest, WrongTokensLeaveNoTrace) {
  Walk plain(GetParam());
  Walk drafting(GetParam());
  const int64_t vocab = plain.vocab();
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < kTokens; ++i) {
    tokens.push_back(static_cast<int32_t>((i * 37 + i * i * 11) % vocab));
  }
  std::vector<float> want;
  for (int64_t i = 0; i < kTokens; ++i) {
    const auto row = plain.step({&tokens[static_cast<size_t>(i)], 1}, i);
    want.insert(want.end(), row.begin(), row.end());
  }
  // Steps of one token and 0 to 11 drafted ones, of which the first 0 to 3 are right.
  std::vector<float> got;
  for (int64_t i = 0, turn = 0; i < kTokens; ++turn) {
    const int64_t right = std::min(turn % 4, kTokens - i - 1);
    std::vector<int32_t> step(tokens.begin() + i, tokens.begin() + i + 1 + right);
    for (int64_t k = 0; k < turn * 5 % 9; ++k) {
      step.push_back(static_cast<int32_t>((turn * 13 + k * 29 + 5) % vocab));
    }
    const auto rows = drafting.step(step, i);
    got.insert(got.end(), rows.begin(), rows.begin() + (1 + right) * vocab);
    i += 1 + right;
  }
  ASSERT_EQ(got.size(), want.size());
  float differs = 0;
  for (size_t i = 0; i < got.size(); ++i) differs = std::max(differs, std::fabs(got[i] - want[i]));
  EXPECT_LE(differs, plain.bound());
}

INSTANTIATE_TEST_SUITE_P(All, RollbackTest, testing::ValuesIn(golden_paths()),
                         [](const auto& test) { return golden_test_name(test.param); });

}  // namespace
}  // namespace hadal
