// What observing a model finds, and comparing two models, on the golden checkpoints.

#include "model/importance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "format/gguf_names.h"
#include "format/quantize.h"
#include "kernels/observed_device.h"
#include "model/score.h"

namespace hadal::model {
namespace {

std::unique_ptr<const format::Checkpoint> golden(const std::string& name) {
  auto opened =
      format::Checkpoint::open(std::filesystem::path(HADAL_SOURCE_DIR) / "tests/golden" / name);
  EXPECT_TRUE(opened) << opened.error().message;
  return *std::move(opened);
}

std::unique_ptr<kernels::Device> exact_device() {
  return *kernels::open_cpu({.threads = 1, .exact = true});
}

std::vector<int32_t> some_ids(int64_t vocab, size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i)
    ids[i] = static_cast<int32_t>((i * i * 7 + 3 * i + 1) % static_cast<size_t>(vocab));
  return ids;
}

std::vector<float> numbers(const format::Checkpoint& c, const std::string& name) {
  const ConstTensorView& v = c.find(name)->view;
  std::vector<float> out(static_cast<size_t>(v.shape.elements()));
  EXPECT_TRUE(format::dequantize(v.dtype, {v.data, static_cast<size_t>(v.bytes())}, out));
  return out;
}

Importance measured(const format::Checkpoint& c, std::span<const std::vector<int32_t>> pieces) {
  const auto device = exact_device();
  auto out = measure_importance(c, *device, pieces, [](int64_t) { return true; });
  EXPECT_TRUE(out) << out.error().message;
  return *std::move(out);
}

class ObservedModelTest : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Golden, ObservedModelTest,
                         testing::Values("llama", "qwen2", "qwen3", "deepseek_moe",
                                         "deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8",
                                         "deepseek_v32", "deepseek_v4", "deepseek_v4_official"));

class NoObserver final : public kernels::LinearObserver {
  void observe(const WeightView&, int64_t, int64_t, std::span<const float>) override {}
};

TEST_P(ObservedModelTest, ComputesTheSameLogits) {
  const auto checkpoint = golden(GetParam());
  const auto device = exact_device();
  NoObserver nobody;
  const auto observed = kernels::observe_linears(*device, nobody);
  std::vector<std::vector<float>> logits;
  for (kernels::Device* d : {device.get(), observed.get()}) {
    const auto model = *Model::load(*checkpoint, *d);
    std::vector<float>& all = logits.emplace_back();
    ASSERT_TRUE(score_tokens(*model, *d, some_ids(model->config().vocab, 40), {},
                             [&](int64_t, std::span<const float> rows) -> Status {
                               all.insert(all.end(), rows.begin(), rows.end());
                               return {};
                             }));
  }
  EXPECT_EQ(logits[0], logits[1]);
}

// Every matrix that a product reads has an entry, of its own shape and with every token counted.
TEST_P(ObservedModelTest, EveryLinearIsFound) {
  const auto checkpoint = golden(GetParam());
  const std::string type = *checkpoint->config().string_at("model_type");
  const std::string_view arch = format::gguf_arch_of_model_type(type);
  const int64_t vocab = *checkpoint->config().int_at("vocab_size");
  const int64_t chosen = *checkpoint->config().int_or("num_experts_per_tok", 0);
  const std::vector<std::vector<int32_t>> pieces = {some_ids(vocab, 30), some_ids(vocab, 17)};
  const Importance found = measured(*checkpoint, pieces);
  int checked = 0;
  for (const format::CheckpointTensor& t : checkpoint->tensors()) {
    const auto has = [&](const char* part) { return t.name.find(part) != std::string::npos; };
    const bool table = has("embed") || has("hc_") || has("compressor.ape") ||
                       has("position_bias") || has("tid2eid") || has("scale") || has("attn_sink") ||
                       has("mtp.") || has("hash");
    if (t.view.shape.rank() != 2 || table) continue;
    const format::GgufName name = format::gguf_name_of_hf(arch, t.name);
    const format::ImportanceEntry* e = found.matrix.find(name.name);
    ASSERT_NE(e, nullptr) << t.name << " as " << name.name;
    EXPECT_EQ(e->channels, t.view.shape.cols()) << t.name;
    const double tokens = std::accumulate(e->counts.begin(), e->counts.end(), 0.0);
    const auto per_block = static_cast<double>(name.expert ? chosen : e->blocks);
    EXPECT_EQ(tokens, 47 * per_block) << t.name;
    ++checked;
  }
  EXPECT_GT(checked, 10);
}

TEST(ImportanceTest, FirstLayerSumsAreThoseOfItsNormalisedInput) {
  const auto checkpoint = golden("llama");
  const int64_t vocab = *checkpoint->config().int_at("vocab_size");
  const double eps = *checkpoint->config().double_at("rms_norm_eps");
  const std::vector<std::vector<int32_t>> pieces = {some_ids(vocab, 20)};
  const Importance found = measured(*checkpoint, pieces);
  const std::vector<float> table = numbers(*checkpoint, "model.embed_tokens.weight");
  const std::vector<float> norm = numbers(*checkpoint, "model.layers.0.input_layernorm.weight");
  const size_t width = norm.size();
  std::vector<double> want(width);
  for (const int32_t id : pieces[0]) {
    const float* x = table.data() + static_cast<size_t>(id) * width;
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double r = 1 / std::sqrt(squares / static_cast<double>(width) + eps);
    for (size_t i = 0; i < width; ++i) want[i] += std::pow(x[i] * r * norm[i], 2);
  }
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_v.weight"}) {
    const format::ImportanceEntry& e = *found.matrix.find(name);
    ASSERT_EQ(e.sums.size(), width);
    for (size_t i = 0; i < width; ++i) EXPECT_NEAR(e.sums[i], want[i], 1e-4 * want[i] + 1e-6);
  }
}

TEST(ImportanceTest, StopsWhenAsked) {
  const auto checkpoint = golden("llama");
  const auto device = exact_device();
  const std::vector<std::vector<int32_t>> pieces = {some_ids(64, 20), some_ids(64, 20)};
  const auto out =
      measure_importance(*checkpoint, *device, pieces, [](int64_t done) { return done < 20; });
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, ErrorCode::cancelled);
}

// ---- divergence ----

std::vector<float> all_logits(Model& model, kernels::Device& device,
                              const std::vector<int32_t>& ids) {
  std::vector<float> all;
  EXPECT_TRUE(
      score_tokens(model, device, ids, {}, [&](int64_t, std::span<const float> rows) -> Status {
        all.insert(all.end(), rows.begin(), rows.end());
        return {};
      }));
  return all;
}

std::vector<double> log_softmax(const float* row, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(row[i]));
  std::vector<double> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = row[i] - std::log(sum);
  return out;
}

TEST(DivergenceTest, OfAModelFromItselfIsNothing) {
  const auto checkpoint = golden("deepseek_v3");
  const auto device = exact_device();
  const auto a = *Model::load(*checkpoint, *device), b = *Model::load(*checkpoint, *device);
  const std::vector<std::vector<int32_t>> pieces = {some_ids(a->config().vocab, 50)};
  const auto d = compare_models({*a, *device}, {*b, *device}, pieces, [](int64_t) { return true; });
  ASSERT_TRUE(d);
  EXPECT_EQ(d->tokens, 49);
  EXPECT_NEAR(d->kl_mean, 0, 1e-9);
  EXPECT_EQ(d->same_top, 1);
  EXPECT_EQ(d->perplexity, d->perplexity_of_source);
}

TEST(DivergenceTest, MatchesItsFormulas) {
  // Two checkpoints with one vocabulary, and far apart.
  const auto one = golden("deepseek_v3"), two = golden("deepseek_v2");
  const auto device = exact_device();
  const auto a = *Model::load(*one, *device), b = *Model::load(*two, *device);
  ASSERT_EQ(a->config().vocab, b->config().vocab);
  const auto v = static_cast<size_t>(a->config().vocab);
  const std::vector<std::vector<int32_t>> pieces = {some_ids(a->config().vocab, 25),
                                                    some_ids(a->config().vocab, 10)};
  const auto d = compare_models({*a, *device}, {*b, *device}, pieces, [](int64_t) { return true; });
  ASSERT_TRUE(d) << d.error().message;
  double kl = 0, loss_a = 0, loss_b = 0, same = 0, n = 0;
  for (const auto& ids : pieces) {
    const std::vector<float> x = all_logits(*a, *device, ids), y = all_logits(*b, *device, ids);
    for (size_t t = 0; t + 1 < ids.size(); ++t, ++n) {
      const auto p = log_softmax(x.data() + t * v, v), q = log_softmax(y.data() + t * v, v);
      for (size_t i = 0; i < v; ++i) kl += std::exp(p[i]) * (p[i] - q[i]);
      loss_a -= p[static_cast<size_t>(ids[t + 1])];
      loss_b -= q[static_cast<size_t>(ids[t + 1])];
      same += std::max_element(p.begin(), p.end()) - p.begin() ==
                      std::max_element(q.begin(), q.end()) - q.begin()
                  ? 1
                  : 0;
    }
  }
  EXPECT_EQ(d->tokens, 33);
  EXPECT_NEAR(d->kl_mean, kl / n, 1e-4 * kl / n);
  EXPECT_NEAR(d->same_top, same / n, 1e-9);
  EXPECT_NEAR(d->perplexity_of_source, std::exp(loss_a / n), 1e-3 * std::exp(loss_a / n));
  EXPECT_NEAR(d->perplexity, std::exp(loss_b / n), 1e-3 * std::exp(loss_b / n));
  EXPECT_GT(d->kl_mean, 0.01);
}

}  // namespace
}  // namespace hadal::model
