// The draft layer (multi-token prediction) against its definition. A golden checkpoint's last layer
// serves as the draft layer's block. What goes into that block is computed here, in plain loops,
// from embeddings and hidden states; what comes out of it is what a model of that one layer gives
// whose "embeddings" are these inputs. Blocks themselves are held to references by golden_test.cc.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/rng.h"
#include "base/units.h"
#include "format/rearranged_checkpoint.h"
#include "kernels/device.h"
#include "kvcache/kv_cache.h"
#include "model/model.h"
#include "model/score.h"
#include "model/step_batch.h"
#include "tensor/float_types.h"

namespace hadal {
namespace {

using format::RearrangedCheckpoint;

constexpr int64_t kTokens = 90;

std::unique_ptr<RearrangedCheckpoint> golden(const std::string& name) {
  auto opened = format::Checkpoint::open(HADAL_SOURCE_DIR "/tests/golden/" + name);
  EXPECT_TRUE(opened) << opened.error().message;
  return std::make_unique<RearrangedCheckpoint>(*std::move(opened));
}

std::vector<float> random_floats(int64_t n, float scale, float around, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = around + scale * static_cast<float>(2 * rng.next_double() - 1);
  return out;
}

std::vector<float> floats_of(const format::Checkpoint& c, const std::string& name) {
  const auto* t = c.find(name);
  if (t == nullptr) {
    ADD_FAILURE() << name;
    return {};
  }
  std::vector<float> out(static_cast<size_t>(t->view.shape.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (t->view.dtype == DType::f32) {
      std::memcpy(&out[i], t->view.data + 4 * i, 4);
    } else {
      EXPECT_EQ(t->view.dtype, DType::bf16) << name;
      uint16_t half = 0;
      std::memcpy(&half, t->view.data + 2 * i, 2);
      out[i] = bf16_to_f32(half);
    }
  }
  return out;
}

// The definition: RMSNorm, y = W x, in double.
std::vector<double> normed(const float* x, const std::vector<float>& weight, double eps) {
  double sum = 0;
  for (size_t i = 0; i < weight.size(); ++i) sum += static_cast<double>(x[i]) * x[i];
  const double scale = 1 / std::sqrt(sum / static_cast<double>(weight.size()) + eps);
  std::vector<double> out;
  for (size_t i = 0; i < weight.size(); ++i) out.push_back(x[i] * scale * weight[i]);
  return out;
}
std::vector<double> times(const std::vector<float>& matrix, const std::vector<double>& x) {
  std::vector<double> out(matrix.size() / x.size());
  for (size_t r = 0; r < out.size(); ++r) {
    for (size_t c = 0; c < x.size(); ++c) out[r] += matrix[r * x.size() + c] * x[c];
  }
  return out;
}

// A model with its caches, and the tokens 0..kTokens of one sequence.
struct Computed {
  explicit Computed(const format::Checkpoint& checkpoint)
      : device(*kernels::open_cpu({.threads = 1, .exact = true})) {
    auto loaded = model::Model::load(checkpoint, *device, {.draft_layer = true});
    if (!loaded) {
      ADD_FAILURE() << loaded.error().message;
      std::abort();
    }
    model = *std::move(loaded);
    const int64_t count = ceil_div(kTokens, model->kv_layout().page_tokens());
    pages.resize(static_cast<size_t>(count));
    std::iota(pages.begin(), pages.end(), 0);
    kv.emplace(*kvcache::KvCache::create(model->kv_layout(), *device, DType::f32, count, 1));
  }
  int64_t vocab() const { return model->config().vocab; }
  int64_t width() const { return model->hidden_width(); }

  // Logits, hidden states unless `without`, and last states of all tokens, in steps of `chunk`.
  void forward(const std::vector<int32_t>& tokens, int64_t chunk, bool without = false) {
    const int64_t d = model->config().hidden;
    logits.assign(tokens.size() * static_cast<size_t>(vocab()), 0);
    hidden.assign(tokens.size() * static_cast<size_t>(width()), 0);
    last.assign(tokens.size() * static_cast<size_t>(d), 0);
    in_steps(tokens, chunk, [&](int64_t at, int64_t n) {
      model->forward(batch.view(), kv->views(), batch.logit_rows(), rows(logits, vocab(), at, n),
                     {.hidden = without ? kernels::Mat{} : rows(hidden, width(), at, n),
                      .rows = batch.logit_rows(),
                      .last = rows(last, d, at, n)});
    });
  }
  // The guesses after each pair of a hidden state and the next token.
  void draft(const std::vector<int32_t>& next_tokens, int64_t chunk) {
    guesses.assign(next_tokens.size() * static_cast<size_t>(vocab()), 0);
    next.assign(next_tokens.size() * static_cast<size_t>(width()), 0);
    in_steps(next_tokens, chunk, [&](int64_t at, int64_t n) {
      model->draft(batch.view(), kv->views(),
                   {.hidden = rows(hidden, width(), 0, static_cast<int64_t>(next_tokens.size())),
                    .sources = batch.sources(),
                    .rows = batch.logit_rows(),
                    .logits = rows(guesses, vocab(), at, n),
                    .next = rows(next, width(), at, n)});
    });
  }

  template <class Body>
  void in_steps(const std::vector<int32_t>& tokens, int64_t chunk, Body body) {
    const auto total = static_cast<int64_t>(tokens.size());
    for (int64_t at = 0; at < total; at += chunk) {
      const int64_t n = std::min(chunk, total - at);
      const model::StepSequence s{
          .tokens = std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(n)),
          .past = at,
          .block_table = pages,
          .logits = n,
          .source = at};
      ASSERT_TRUE(batch.set(*device, {&s, 1}));
      body(at, n);
    }
  }
  static kernels::Mat rows(std::vector<float>& of, int64_t cols, int64_t first, int64_t n) {
    return {reinterpret_cast<std::byte*>(of.data() + first * cols), DType::f32, n, cols, cols};
  }

  std::unique_ptr<kernels::Device> device;
  std::unique_ptr<model::Model> model;
  std::optional<kvcache::KvCache> kv;
  std::vector<int32_t> pages;
  model::StepBatch batch;
  std::vector<float> logits, hidden, last, guesses, next;
};

void expect_near(std::span<const float> got, std::span<const float> want, float bound) {
  ASSERT_EQ(got.size(), want.size());
  float most = 0;
  for (size_t i = 0; i < got.size(); ++i) most = std::max(most, std::fabs(got[i] - want[i]));
  EXPECT_LE(most, bound);
  EXPECT_GT(*std::ranges::max_element(want) - *std::ranges::min_element(want), 0.5f);
}

std::vector<int32_t> some_tokens(int64_t vocab) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < kTokens; ++i)
    out.push_back(static_cast<int32_t>((i * i * 7 + 3 * i) % vocab));
  return out;
}

// A model of one layer, the draft layer's, whose embedding of token t is row t of `inputs`.
std::vector<float> alone(std::unique_ptr<RearrangedCheckpoint> c, const std::string& block,
                         const std::vector<double>& inputs, std::vector<float> final_norm) {
  const int64_t d = *c->config().int_at("hidden_size"), vocab = *c->config().int_at("vocab_size");
  c->alias(block, "block.");
  c->drop("model.layers.");
  c->alias("block.", "model.layers.0.");
  c->config_to_change().set("num_hidden_layers", 1);
  c->config_to_change().set("num_nextn_predict_layers", 0);
  c->config_to_change().set("first_k_dense_replace", 0);
  std::vector<float> embedding(inputs.begin(), inputs.end());
  embedding.resize(static_cast<size_t>(vocab * d));
  c->add("model.embed_tokens.weight", Shape{vocab, d}, std::move(embedding));
  c->add("model.norm.weight", Shape{d}, std::move(final_norm));
  Computed run(*c);
  std::vector<int32_t> tokens(kTokens);
  std::iota(tokens.begin(), tokens.end(), 0);
  run.forward(tokens, kTokens);
  return run.logits;
}

class DraftLayerTest : public testing::TestWithParam<const char*> {};

TEST_P(DraftLayerTest, V3GuessesAsDefined) {
  // The last layer becomes the draft layer.
  const auto build = [] {
    auto c = golden(GetParam());
    const int64_t layers = *c->config().int_at("num_hidden_layers");
    const int64_t d = *c->config().int_at("hidden_size");
    c->config_to_change().set("num_hidden_layers", layers - 1);
    c->config_to_change().set("num_nextn_predict_layers", 1);
    const std::string at = "model.layers." + std::to_string(layers - 1) + ".";
    c->add(at + "enorm.weight", Shape{d}, random_floats(d, 0.5f, 1, 1));
    c->add(at + "hnorm.weight", Shape{d}, random_floats(d, 0.5f, 1, 2));
    c->add(at + "eh_proj.weight", Shape{d, 2 * d},
           random_floats(2 * d * d, 1.5f / std::sqrt(static_cast<float>(d)), 0, 3));
    c->add(at + "shared_head.norm.weight", Shape{d}, random_floats(d, 0.5f, 1, 4));
    return std::pair(std::move(c), at);
  };
  const auto [checkpoint, at] = build();
  Computed run(*checkpoint);
  ASSERT_TRUE(run.model->can_draft());
  const auto d = static_cast<size_t>(run.width());
  std::vector<int32_t> tokens = some_tokens(run.vocab());
  run.forward(tokens, 31);
  const double eps = *checkpoint->config().double_or("rms_norm_eps", 0);

  // A hidden state is what the head reads, and the last state, whichever of them are wanted.
  EXPECT_EQ(run.last, run.hidden);
  Computed other(*checkpoint);
  other.forward(tokens, 31, true);
  expect_near(other.last, run.last, 1e-6f);
  expect_near(other.logits, run.logits, 1e-5f);
  const std::vector<float> head = floats_of(*checkpoint, "lm_head.weight");
  const std::vector<double> state(run.hidden.begin(), run.hidden.begin() + d);
  const std::vector<double> first = times(head, state);
  expect_near(std::span(run.logits).first(first.size()),
              std::vector<float>(first.begin(), first.end()), 1e-4f);

  std::vector<int32_t> next(tokens.begin() + 1, tokens.end());
  next.push_back(5);
  const auto embedding = floats_of(*checkpoint, "model.embed_tokens.weight");
  std::vector<double> inputs;
  for (size_t t = 0; t < next.size(); ++t) {
    std::vector<double> both = normed(&embedding[static_cast<size_t>(next[t]) * d],
                                      floats_of(*checkpoint, at + "enorm.weight"), eps);
    const auto h = normed(&run.hidden[t * d], floats_of(*checkpoint, at + "hnorm.weight"), eps);
    both.insert(both.end(), h.begin(), h.end());
    const auto x = times(floats_of(*checkpoint, at + "eh_proj.weight"), both);
    inputs.insert(inputs.end(), x.begin(), x.end());
  }
  auto [same, block] = build();
  const auto want =
      alone(std::move(same), block, inputs, floats_of(*checkpoint, at + "shared_head.norm.weight"));
  for (const int64_t chunk : {kTokens, int64_t{7}, int64_t{1}}) {
    run.draft(next, chunk);
    expect_near(run.guesses, want, 2e-3f);
  }
  // A guess's hidden state is what the head read.
  const std::vector<double> last(run.next.end() - static_cast<ptrdiff_t>(d), run.next.end());
  const auto again = times(head, last);
  expect_near(std::span(run.guesses).last(again.size()),
              std::vector<float>(again.begin(), again.end()), 1e-4f);
}

INSTANTIATE_TEST_SUITE_P(All, DraftLayerTest, testing::Values("deepseek_v3", "deepseek_v32"),
                         [](const auto& test) { return std::string(test.param); });

// V4's block is its first layer, which sees the window alone. The one-layer model copies an
// embedding into all streams, so hidden states with equal streams are given to the draft layer.
TEST(DraftLayerTest, V4GuessesAsDefined) {
  const auto build = [] {
    auto c = golden("deepseek_v4");
    const int64_t d = *c->config().int_at("hidden_size");
    const int64_t m = *c->config().int_at("hc_mult");
    c->alias("model.layers.0.", "model.mtp.0.");
    c->drop("model.mtp.0.ffn.gate.tid2eid");
    c->config_to_change().set("num_nextn_predict_layers", 1);
    c->add("mtp.0.enorm.weight", Shape{d}, random_floats(d, 0.5f, 1, 1));
    c->add("mtp.0.hnorm.weight", Shape{d}, random_floats(d, 0.5f, 1, 2));
    const float scale = 1.5f / std::sqrt(static_cast<float>(d));
    c->add("mtp.0.e_proj.weight", Shape{d, d}, random_floats(d * d, scale, 0, 3));
    c->add("mtp.0.h_proj.weight", Shape{d, d}, random_floats(d * d, scale, 0, 4));
    c->add("mtp.0.norm.weight", Shape{d}, random_floats(d, 0.5f, 1, 5));
    c->add("mtp.0.hc_head_fn", Shape{m, m * d}, random_floats(m * m * d, 0.1f, 0, 6));
    c->add("mtp.0.hc_head_base", Shape{m}, random_floats(m, 1, 0, 7));
    c->add("mtp.0.hc_head_scale", Shape{1}, {0.7f});
    return c;
  };
  const auto checkpoint = build();
  Computed run(*checkpoint);
  ASSERT_TRUE(run.model->can_draft());
  const auto d = static_cast<size_t>(*checkpoint->config().int_at("hidden_size"));
  const auto m = static_cast<size_t>(run.width()) / d;
  ASSERT_EQ(m, 4u);
  std::vector<int32_t> next = some_tokens(run.vocab());
  run.forward(next, 31);
  EXPECT_NE(run.hidden[0], run.hidden[d]) << "streams of the model differ";
  const std::vector<float> head = floats_of(*checkpoint, "head.weight");
  const auto first = times(head, std::vector<double>(run.last.begin(), run.last.begin() + d));
  expect_near(std::span(run.logits).first(first.size()),
              std::vector<float>(first.begin(), first.end()), 1e-4f);
  run.hidden.clear();
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto one = random_floats(static_cast<int64_t>(d), 2, 0, 100 + static_cast<uint64_t>(t));
    for (size_t i = 0; i < m; ++i) run.hidden.insert(run.hidden.end(), one.begin(), one.end());
  }
  const double eps = *checkpoint->config().double_or("rms_norm_eps", 0);
  const auto embedding = floats_of(*checkpoint, "model.embed_tokens.weight");
  std::vector<double> inputs;
  for (size_t t = 0; t < next.size(); ++t) {
    auto x = times(floats_of(*checkpoint, "mtp.0.e_proj.weight"),
                   normed(&embedding[static_cast<size_t>(next[t]) * d],
                          floats_of(*checkpoint, "mtp.0.enorm.weight"), eps));
    const auto h =
        times(floats_of(*checkpoint, "mtp.0.h_proj.weight"),
              normed(&run.hidden[t * m * d], floats_of(*checkpoint, "mtp.0.hnorm.weight"), eps));
    for (size_t i = 0; i < d; ++i) inputs.push_back(x[i] + h[i]);
  }
  auto same = build();
  same->config_to_change().set("num_hash_layers", 0);
  same->config_to_change().set("compress_ratios", json::Array{json::Value(0)});
  for (const char* part : {"fn", "base", "scale"})
    same->alias(std::string("mtp.0.hc_head_") + part, std::string("model.hc_head.hc_") + part);
  const auto want =
      alone(std::move(same), "model.mtp.0.", inputs, floats_of(*checkpoint, "mtp.0.norm.weight"));
  for (const int64_t chunk : {kTokens, int64_t{7}, int64_t{1}}) {
    run.draft(next, chunk);
    expect_near(run.guesses, want, 2e-3f);
  }
}

}  // namespace
}  // namespace hadal
