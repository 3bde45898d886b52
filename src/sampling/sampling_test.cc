#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "sampling/sampler.h"
#include "sampling/stop_matcher.h"

namespace hadal::sampling {
namespace {

using engine_api::SamplingParams;

int32_t sample(Sampler& s, std::vector<float> logits) {
  const auto token = s.sample(logits);
  EXPECT_TRUE(token) << token.error().message;
  return token.value_or(-1);
}

// How often each of `n` draws chose each token.
std::vector<int> counts(const SamplingParams& params, const std::vector<float>& logits, int n) {
  auto s = *Sampler::create(params, static_cast<int64_t>(logits.size()));
  std::vector<int> out(logits.size());
  for (int i = 0; i < n; ++i) ++out[static_cast<size_t>(sample(s, logits))];
  return out;
}

TEST(SamplerTest, GreedyTakesTheLargestAndTheLowestIdAmongEquals) {
  auto s = *Sampler::create({.temperature = 0}, 4);
  EXPECT_EQ(sample(s, {1, 3, 3, 2}), 1);
  EXPECT_EQ(sample(s, {NAN, -1, -2, NAN}), 1);
}

TEST(SamplerTest, NoUsableLogitsIsAnError) {
  auto s = *Sampler::create({}, 2);
  std::vector<float> logits = {NAN, -std::numeric_limits<float>::infinity()};
  EXPECT_EQ(s.sample(logits).error().code, ErrorCode::internal);
}

// Pearson's chi-square against softmax(logits / T); 4 degrees of freedom, p = 0.001 at 18.47.
TEST(SamplerTest, DrawsFollowTheSoftmaxAtAnyTemperature) {
  const std::vector<float> logits = {0, 1, 2, -1, 0.5f};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    constexpr int kDraws = 20000;
    const auto got = counts({.temperature = temperature, .seed = 7}, logits, kDraws);
    double total = 0;
    for (const float v : logits) total += std::exp(v / temperature);
    double chi = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      const double want = kDraws * std::exp(logits[i] / temperature) / total;
      chi += (got[i] - want) * (got[i] - want) / want;
    }
    EXPECT_LT(chi, 18.47) << "temperature " << temperature;
  }
}

TEST(SamplerTest, TopKTopPAndMinPCutTheTail) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f),
                                     std::log(0.05f)};
  const auto support = [&](const SamplingParams& p) {
    int n = 0;
    for (const int c : counts(p, logits, 4000)) n += c > 0 ? 1 : 0;
    return n;
  };
  EXPECT_EQ(support({}), 4);
  EXPECT_EQ(support({.top_k = 2}), 2);
  EXPECT_EQ(support({.top_k = 1}), 1);
  EXPECT_EQ(support({.top_p = 0.79}), 2);
  EXPECT_EQ(support({.top_p = 0.81}), 3);
  EXPECT_EQ(support({.top_p = 0.01}), 1);
  EXPECT_EQ(support({.min_p = 0.2}), 3);
  EXPECT_EQ(support({.min_p = 0.55}), 2);
}

TEST(SamplerTest, TopPNeedsMoreThanItsFirstSortedFront) {
  std::vector<float> flat(1000, 0.0f);
  int used = 0;
  for (const int c : counts({.top_p = 0.5, .seed = 3}, flat, 30000)) used += c > 0 ? 1 : 0;
  EXPECT_EQ(used, 500);
}

TEST(SamplerTest, SameSeedSameTokens) {
  const std::vector<float> logits(50, 1.0f);
  auto a = *Sampler::create({.seed = 11}, 50);
  auto b = *Sampler::create({.seed = 11}, 50);
  auto c = *Sampler::create({.seed = 12}, 50);
  int same = 0;
  for (int i = 0; i < 100; ++i) {
    const int32_t t = sample(a, logits);
    EXPECT_EQ(t, sample(b, logits));
    same += t == sample(c, logits) ? 1 : 0;
  }
  EXPECT_LT(same, 20);
}

TEST(SamplerTest, PenaltiesAndBias) {
  auto repetition = *Sampler::create({.temperature = 0, .repetition_penalty = 2}, 3);
  const std::vector<int32_t> prompt = {0};
  repetition.add_prompt(prompt);
  EXPECT_EQ(sample(repetition, {3, 2, -1}), 1) << "3 / 2 < 2";
  repetition.accept(1);
  EXPECT_EQ(sample(repetition, {3, 2, -1}), 0) << "both halved";
  EXPECT_EQ(sample(repetition, {-3, -2, -5}), 1) << "negative logits are multiplied: -6, -4, -5";

  auto presence = *Sampler::create({.temperature = 0, .presence_penalty = 1.5}, 2);
  EXPECT_EQ(sample(presence, {3, 2}), 0);
  presence.accept(0);
  presence.accept(0);
  EXPECT_EQ(sample(presence, {3, 2}), 1) << "3 - 1.5 < 2, once however often";
  EXPECT_EQ(sample(presence, {4, 2}), 0);

  auto frequency = *Sampler::create({.temperature = 0, .frequency_penalty = 1}, 2);
  frequency.accept(0);
  EXPECT_EQ(sample(frequency, {3.5, 2}), 0);
  frequency.accept(0);
  EXPECT_EQ(sample(frequency, {3.5, 2}), 1);

  auto bias = *Sampler::create({.temperature = 0, .logit_bias = {{1, 5.0f}, {0, -100.0f}}}, 3);
  EXPECT_EQ(sample(bias, {50, 0, 4}), 1);
}

TEST(SamplerTest, LogprobsAreTheModelsOwn) {
  auto s = *Sampler::create({.temperature = 0, .logit_bias = {{2, 100.0f}}, .logprobs = 2}, 3);
  std::vector<float> logits = {std::log(0.6f), std::log(0.3f), std::log(0.1f)};
  engine_api::PositionLogprobs out;
  EXPECT_EQ(*s.sample(logits, &out), 2);
  EXPECT_NEAR(out.chosen.logprob, std::log(0.1), 1e-5);
  ASSERT_EQ(out.top.size(), 2u);
  EXPECT_EQ(out.top[0].id, 0);
  EXPECT_NEAR(out.top[1].logprob, std::log(0.3), 1e-5);
}

TEST(SamplerTest, RefusesValuesOutsideTheirRangeByName) {
  const std::pair<const char*, SamplingParams> kBad[] = {
      {"temperature", {.temperature = -1}},
      {"temperature", {.temperature = NAN}},
      {"top_p", {.top_p = 0}},
      {"top_p", {.top_p = 1.1}},
      {"top_k", {.top_k = -1}},
      {"min_p", {.min_p = -0.1}},
      {"repetition_penalty", {.repetition_penalty = 0}},
      {"presence_penalty", {.presence_penalty = 2.1}},
      {"frequency_penalty", {.frequency_penalty = -2.1}},
      {"logit_bias", {.logit_bias = {{10, 1.0f}}}},
      {"logit_bias", {.logit_bias = {{0, 101.0f}}}},
      {"top_logprobs", {.logprobs = 21}},
  };
  for (const auto& [name, params] : kBad) {
    const auto s = Sampler::create(params, 10);
    ASSERT_FALSE(s) << name;
    EXPECT_EQ(s.error().param, name);
  }
}

std::string stream(StopMatcher& m, const std::vector<std::string>& pieces,
                   std::string* stop = nullptr) {
  std::string out;
  for (const std::string& p : pieces) {
    const auto match = m.feed(p);
    out += match.text;
    if (match.stopped) {
      if (stop != nullptr) *stop = match.stop_string;
      return out;
    }
  }
  return out + m.flush();
}

TEST(StopMatcherTest, FindsAStopStringAcrossPieces) {
  StopMatcher m({"STOP", "END."});
  std::string stop;
  EXPECT_EQ(stream(m, {"go S", "T", "O", "Pnever"}, &stop), "go ");
  EXPECT_EQ(stop, "STOP");
}

TEST(StopMatcherTest, TheEarliestStopWins) {
  StopMatcher m({"bcd", "b"});
  std::string stop;
  EXPECT_EQ(stream(m, {"abcd"}, &stop), "a");
}

TEST(StopMatcherTest, HoldsBackOnlyWhatCouldStillMatch) {
  StopMatcher m({"aab"});
  EXPECT_EQ(m.feed("xa").text, "x");
  EXPECT_EQ(m.feed("a").text, "");
  EXPECT_EQ(m.feed("a").text, "a") << "aaa: the last two may begin aab";
  EXPECT_EQ(m.feed("c").text, "aac");
  EXPECT_EQ(m.feed("a").text, "");
  EXPECT_EQ(m.flush(), "a");
}

TEST(StopMatcherTest, UnarmedTextPasses) {
  StopMatcher m({"STOP"});
  EXPECT_FALSE(m.feed("a STOP b", false).stopped);
  EXPECT_TRUE(m.feed("STOP").stopped);
}

// Whatever the pieces, the text before the stop is the same.
TEST(StopMatcherTest, PiecesDoNotMatter) {
  const std::string text = "ab abc abca abcab abcabc done";
  for (size_t a = 0; a <= text.size(); ++a) {
    for (size_t b = a; b <= text.size(); ++b) {
      StopMatcher m({"abcabc", "zzz"});
      EXPECT_EQ(stream(m, {text.substr(0, a), text.substr(a, b - a), text.substr(b)}),
                "ab abc abca abcab ");
    }
  }
}

}  // namespace
}  // namespace hadal::sampling
