// With CpuOptions::batch_invariant a token's logits are the same bits however its sequence is cut
// into steps and whoever shares them. Every golden checkpoint, since their attention differs.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
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

constexpr int64_t kTokens = 200;

// The logits of one sequence's tokens, computed in steps of the given sizes, beside as many tokens
// of another one when `neighbour`.
class Steps {
 public:
  explicit Steps(const std::string& path)
      : checkpoint_(*format::Checkpoint::open(path)),
        device_(*kernels::open_cpu({.threads = 2, .batch_invariant = true})),
        model_(*model::Model::load(*checkpoint_, *device_, {.step_tokens_max = 2 * kTokens})) {}

  std::vector<float> run(const std::vector<int64_t>& sizes, bool neighbour) {
    const auto page = model_->kv_layout().page_tokens();
    const int64_t pages = ceil_div(kTokens, page);
    auto kv = *kvcache::KvCache::create(model_->kv_layout(), *device_, DType::f16, 2 * pages, 2);
    std::vector<int32_t> table(static_cast<size_t>(2 * pages));
    std::iota(table.begin(), table.end(), 0);
    const auto vocab = model_->config().vocab;
    std::vector<float> out;
    int64_t past = 0;
    for (const int64_t n : sizes) {
      std::vector<model::StepSequence> step;
      const auto ids = tokens(past, n, 7);
      const auto others = tokens(past, n, 13);
      const auto half = static_cast<size_t>(pages);
      if (neighbour) {
        step.push_back({.tokens = others,
                        .past = past,
                        .block_table = std::span(table).subspan(half),
                        .slot = 1,
                        .logits = 0});
      }
      step.push_back({.tokens = ids,
                      .past = past,
                      .block_table = std::span(table).first(half),
                      .slot = 0,
                      .logits = n});
      EXPECT_TRUE(batch_.set(*device_, step));
      std::vector<float> logits(static_cast<size_t>(n * vocab));
      model_->forward(batch_.view(), kv.views(), batch_.logit_rows(),
                      {reinterpret_cast<std::byte*>(logits.data()), DType::f32, n, vocab, vocab});
      out.insert(out.end(), logits.begin(), logits.end());
      past += n;
    }
    EXPECT_EQ(past, kTokens);
    return out;
  }

 private:
  std::vector<int32_t> tokens(int64_t first, int64_t count, int64_t factor) const {
    std::vector<int32_t> out;
    for (int64_t i = first; i < first + count; ++i)
      out.push_back(static_cast<int32_t>((i * factor + 3) % model_->config().vocab));
    return out;
  }

  std::unique_ptr<const format::Checkpoint> checkpoint_;
  std::unique_ptr<kernels::Device> device_;
  std::unique_ptr<model::Model> model_;
  model::StepBatch batch_;
};

class InvarianceTest : public testing::TestWithParam<std::string> {};

TEST_P(InvarianceTest, BitsDoNotDependOnSteps) {
  Steps steps(GetParam());
  const auto whole = steps.run({kTokens}, false);
  std::vector<int64_t> singly(40, 1);
  singly.insert(singly.begin(), {90, 7, 63});
  for (const auto& sizes : {std::vector<int64_t>{kTokens}, {150, 1, 49}, {8, 9, 183}, singly}) {
    for (const bool neighbour : {false, true}) {
      const auto got = steps.run(sizes, neighbour);
      ASSERT_EQ(got.size(), whole.size());
      EXPECT_EQ(std::memcmp(got.data(), whole.data(), whole.size() * sizeof(float)), 0)
          << "first step " << sizes[0] << (neighbour ? ", with a neighbour" : ", alone");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, InvarianceTest, testing::ValuesIn(golden_paths()),
                         [](const auto& test) { return golden_test_name(test.param); });

}  // namespace
}  // namespace hadal
