// Guessing ahead changes how many steps an answer takes and nothing else: the same tokens for the
// same seed, the same distribution over seeds, the same ends, usage, log probabilities and pages.
// Long because each claim is held with every source of guesses.

#include "engine/speculation.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

#include "engine/sequence.h"
#include "engine/test_engine.h"
#include "format/rearranged_checkpoint.h"
#include "model/step_batch.h"

namespace hadal::engine {
namespace {

// Steps of at most 64 tokens all take the same form of attention: logits are then equal bit by bit
// whatever shares a step (ADR 6).
constexpr int64_t kStep = 64;

/// Which sources a test guesses from.
struct Guesses {
  bool ngram = false;
  bool mtp = false;
};
constexpr Guesses kNone{};
constexpr Guesses kNgram{.ngram = true};
constexpr Guesses kMtp{.mtp = true};
constexpr Guesses kBoth{.ngram = true, .mtp = true};

LoadOptions options(Guesses from, int64_t sequences = 1) {
  return {.step_tokens_max = kStep,
          .sequences_max = sequences,
          .speculation = {.ngram = from.ngram, .mtp = from.mtp, .always = true}};
}

// The demo model with a draft layer made of its own last layer: of the next token's embedding and a
// little of the hidden state. It was never trained for that, and is right now and then.
std::unique_ptr<const format::Checkpoint> demo_with_draft_layer() {
  auto c = std::make_unique<format::RearrangedCheckpoint>(open_checkpoint(kDemoPath));
  const int64_t layers = *c->config().int_at("num_hidden_layers");
  const int64_t d = *c->config().int_at("hidden_size");
  const auto name = [](int64_t i) { return "model.layers." + std::to_string(i) + "."; };
  c->alias(name(layers - 1), name(layers));
  c->alias("model.norm.weight", name(layers) + "shared_head.norm.weight");
  const auto size = static_cast<size_t>(d);
  c->add(name(layers) + "enorm.weight", Shape{d}, std::vector<float>(size, 1.0f));
  c->add(name(layers) + "hnorm.weight", Shape{d}, std::vector<float>(size, 1.0f));
  std::vector<float> joint(2 * size * size);
  for (size_t i = 0; i < size; ++i) {
    joint[i * 2 * size + i] = 1;
    joint[i * 2 * size + size + i] = 0.3f;
  }
  c->add(name(layers) + "eh_proj.weight", Shape{d, 2 * d}, std::move(joint));
  c->config_to_change().set("num_nextn_predict_layers", 1);
  return c;
}

std::unique_ptr<LoadedModel> load_with_draft_layer(const LoadOptions& options,
                                                   bool batch_invariant = false) {
  auto model =
      load(options, demo_with_draft_layer(), {.threads = 1, .batch_invariant = batch_invariant});
  EXPECT_EQ(model->speculation.mtp, options.speculation.mtp);
  return model;
}

double metric(TestEngine& engine, const std::string& name) {
  const std::string text = engine.metrics.prometheus_text();
  const size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}
double guesses(TestEngine& e, const std::string& what, const std::string& source) {
  return metric(e, "hadal_engine_" + what + "_tokens_total{source=\"" + source + "\"}");
}
double drafted(TestEngine& e) {
  return guesses(e, "drafted", "ngram") + guesses(e, "drafted", "mtp");
}
double accepted(TestEngine& e) {
  return guesses(e, "accepted", "ngram") + guesses(e, "accepted", "mtp");
}
double steps(TestEngine& e) { return metric(e, "hadal_engine_step_sequences_count"); }

void expect_same(const Outcome& got, const Outcome& want) {
  EXPECT_EQ(got.end(), want.end());
  EXPECT_EQ(got.content, want.content);
  EXPECT_EQ(got.reasoning, want.reasoning);
  EXPECT_EQ(got.ids(), want.ids());
  ASSERT_EQ(got.logprobs.size(), want.logprobs.size());
  for (size_t i = 0; i < got.logprobs.size(); ++i) {
    EXPECT_EQ(got.logprobs[i].chosen.logprob, want.logprobs[i].chosen.logprob) << i;
    ASSERT_EQ(got.logprobs[i].top.size(), want.logprobs[i].top.size());
    for (size_t k = 0; k < got.logprobs[i].top.size(); ++k)
      EXPECT_EQ(got.logprobs[i].top[k].id, want.logprobs[i].top[k].id);
  }
  EXPECT_EQ(got.usage().completion_tokens, want.usage().completion_tokens);
  EXPECT_EQ(got.usage().reasoning_tokens, want.usage().reasoning_tokens);
  EXPECT_EQ(got.finished->stop_string, want.finished->stop_string);
}

// A guess that a grammar forbids never comes true: each token is chosen under the mask of those
// accepted before it. So what is written is the same, and whole.
TEST(SpeculationTest, AnswersHeldToAFormAreTheSame) {
  TestEngine plain(options(kNone));
  TestEngine guessing(load_with_draft_layer(options(kBoth)));
  const char* const grammars[] = {R"x(root ::= "The sea is deep. "{6} [a-z]{3})x",
                                  R"x(root ::= ([a-z]{4} " ")+ "end")x",
                                  R"x(root ::= "[" item (", " item)* "]"
          item ::= "{\"kind\": \"" ("fish" | "crab") "\", \"depth\": " [0-9]{1,4} "}")x"};
  int whole = 0;
  for (const char* text : grammars) {
    for (const double temperature : {0.0, 1.0}) {
      auto request = chat("The sea is deep. The sea is cold. The sea is deep. The sea");
      request.format = engine_api::GrammarFormat{text};
      request.sampling.temperature = temperature;
      request.sampling.seed = 3;
      request.sampling.logprobs = 2;
      request.stop.max_tokens = 120;
      const Outcome want = plain.ask(request);
      const Outcome got = guessing.ask(request);
      ASSERT_TRUE(want.finished && got.finished);
      expect_same(got, want);
      whole += got.end() == "stop" ? 1 : 0;
    }
  }
  EXPECT_GE(whole, 2);
  EXPECT_GT(accepted(guessing), 0);
  EXPECT_GT(drafted(guessing), accepted(guessing)) << "no guess was wrong";
  EXPECT_LT(steps(guessing), steps(plain));
}

// A prompt in which pairs of tokens come again and go on differently each time: many guesses, of
// which many are wrong.
std::vector<int32_t> teasing_ids(int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(300 + static_cast<int32_t>(i % 3 == 2 ? i * 31 % 97 : i % 5));
  return ids;
}

// All the ways to choose and to end.
std::vector<engine_api::Request> requests() {
  std::vector<engine_api::Request> all;
  const auto add = [&](engine_api::Request r, auto change) {
    r.sampling.logprobs = 3;
    r.sampling.seed = 40 + all.size();
    change(r);
    all.push_back(std::move(r));
  };
  const auto same = [](auto&) {};
  add(exactly(after_ids(teasing_ids(40)), 150), same);
  add(exactly(after_ids(some_ids(90)), 200), same);
  add(chat("I want a taxi. I want a taxi. Say again: I want a taxi."), same);
  add(exactly(after_ids(teasing_ids(70)), 120), [](auto& r) { r.sampling.temperature = 1; });
  add(exactly(after_ids(teasing_ids(70)), 120), [](auto& r) {
    r.sampling.temperature = 0.7;
    r.sampling.top_p = 0.9;
    r.sampling.top_k = 40;
    r.sampling.min_p = 0.02;
  });
  add(exactly(after_ids(teasing_ids(60)), 150), [](auto& r) {
    r.sampling.repetition_penalty = 1.3;
    r.sampling.frequency_penalty = 0.4;
    r.sampling.presence_penalty = 0.2;
    r.sampling.logit_bias = {{301, 3.0f}, {302, -100.0f}};
  });
  add(exactly(after_ids(teasing_ids(60)), 150), [](auto& r) {
    r.sampling.temperature = 1.2;
    r.sampling.repetition_penalty = 1.1;
    r.sampling.frequency_penalty = 1.0;
  });
  for (const int64_t length : {1, 2, 3, 9}) add(exactly(after_ids(some_ids(50)), length), same);
  return all;
}

TEST(SpeculationTest, AnswersAreTheSameForTheSameSeed) {
  TestEngine plain(options(kNone));
  TestEngine speculating(options(kNgram));
  for (const auto& r : requests()) expect_same(speculating.ask(r), plain.ask(r));
  EXPECT_EQ(drafted(plain), 0);
  EXPECT_GT(drafted(speculating), 300);
  EXPECT_GT(accepted(speculating), 100);
  EXPECT_LT(accepted(speculating), 0.9 * drafted(speculating)) << "wrong guesses were tried too";
  EXPECT_EQ(steps(plain) - steps(speculating), accepted(speculating))
      << "each accepted guess spares a step";
  EXPECT_EQ(speculating.pages_free_at_end(), plain.pages_free_at_end())
      << "the same prefixes were published";
}

TEST(SpeculationTest, TheDraftLayerGuessesAndAnswersAreTheSame) {
  for (const Guesses from : {kMtp, kBoth}) {
    TestEngine plain(options(kNone));
    TestEngine speculating(load_with_draft_layer(options(from)));
    for (const auto& r : requests()) expect_same(speculating.ask(r), plain.ask(r));
    std::cout << "draft layer: " << guesses(speculating, "drafted", "mtp") << " guesses, "
              << guesses(speculating, "accepted", "mtp") << " accepted\n";
    EXPECT_GT(guesses(speculating, "drafted", "mtp"), 500);
    EXPECT_GT(guesses(speculating, "accepted", "mtp"), 50);
    EXPECT_EQ(guesses(speculating, "drafted", "ngram") > 0, from.ngram);
    EXPECT_EQ(steps(plain) - steps(speculating), accepted(speculating));
  }
}

// The draft layer's guess after each token of `ids`, computed over the whole text at once.
std::vector<int32_t> guesses_of(LoadedModel& m, const std::vector<int32_t>& ids) {
  auto s = Sequence::start(*m.kv, nullptr, ids);
  EXPECT_TRUE(s && s->reserve(static_cast<int64_t>(ids.size())));
  const int64_t vocab = m.model->config().vocab, width = m.model->hidden_width();
  std::vector<float> hidden(static_cast<size_t>(kStep * width)), next = hidden;
  std::vector<float> logits(static_cast<size_t>(kStep * vocab));
  const auto rows = [&](std::vector<float>& of, int64_t n, int64_t cols) {
    return kernels::Mat{reinterpret_cast<std::byte*>(of.data()), DType::f32, n, cols, cols};
  };
  model::StepBatch batch;
  std::vector<int32_t> out{-1};
  for (int64_t at = 0; at + 1 < static_cast<int64_t>(ids.size()); at += kStep) {
    const int64_t n = std::min(kStep, static_cast<int64_t>(ids.size()) - 1 - at);
    model::StepSequence step{.past = at, .block_table = s->pages(), .slot = s->slot()};
    step.tokens = std::span(ids).subspan(static_cast<size_t>(at), static_cast<size_t>(n));
    EXPECT_TRUE(batch.set(*m.device, {&step, 1}));
    m.model->forward(batch.view(), m.kv->views(), batch.logit_rows(), rows(logits, 1, vocab),
                     {.hidden = rows(hidden, n, width)});
    step.tokens = std::span(ids).subspan(static_cast<size_t>(at) + 1, static_cast<size_t>(n));
    step.logits = n;
    EXPECT_TRUE(batch.set(*m.device, {&step, 1}));
    m.model->draft(batch.view(), m.kv->views(),
                   {rows(hidden, n, width), batch.sources(), batch.logit_rows(),
                    rows(logits, n, vocab), rows(next, n, width)});
    for (int64_t i = 0; i < n; ++i) {
      const auto row =
          std::span(logits).subspan(static_cast<size_t>(i * vocab), static_cast<size_t>(vocab));
      out.push_back(static_cast<int32_t>(std::ranges::max_element(row) - row.begin()));
    }
  }
  return out;
}

// Whatever was accepted, refused, chunked or shared: the layer guesses what it would guess if it
// saw the text at once. One guess in a step, several sequences.
TEST(SpeculationTest, TheDraftLayerIsAlwaysLevelWithTheText) {
  auto o = options(kMtp, 3);
  o.speculation.tokens_max = 1;
  // Guesses that are nearly as likely as others may not depend on who else is in the step.
  TestEngine engine(load_with_draft_layer(o, true));
  const auto reference = load_with_draft_layer(o, true);
  std::vector<std::shared_ptr<Recorder>> sinks;
  std::vector<std::vector<int32_t>> prompts;
  for (int i = 0; i < 5; ++i) {
    prompts.push_back(some_ids(30 + 45 * i, 300 + 50 * i));
    auto r = exactly(after_ids(prompts.back()), 120);
    r.sampling.logprobs = 0;
    sinks.push_back(std::make_shared<Recorder>());
    engine.submit(r, sinks.back());
  }
  int64_t drafts = 0, right = 0;
  for (size_t i = 0; i < sinks.size(); ++i) {
    auto ids = prompts[i];
    for (const int32_t id : sinks[i]->wait().ids()) ids.push_back(id);
    const auto guess = guesses_of(*reference, ids);
    // The last token of an answer is not guessed: the one before it is the last of a step.
    for (size_t last = prompts[i].size(); last + 2 < ids.size(); ++last, ++drafts) {
      if (guess[last] != ids[last + 1]) continue;
      ++right;
      ++last;
    }
  }
  EXPECT_EQ(guesses(engine, "drafted", "mtp"), drafts);
  EXPECT_EQ(guesses(engine, "accepted", "mtp"), right);
  EXPECT_GT(right, 10);
}

TEST(SpeculationTest, StopStringsAndTokensEndAnAnswerInTheMiddleOfAStep) {
  TestEngine plain(options(kNone));
  TestEngine speculating(load_with_draft_layer(options(kBoth)));
  auto base = exactly(after_ids(some_ids(90)), 120);
  base.sampling.logprobs = 0;
  const Outcome whole = plain.ask(base);
  ASSERT_GT(whole.content.size(), 60u);
  for (size_t at = 10; at + 8 < whole.content.size(); at += 29) {
    auto r = base;
    r.stop.stop = {whole.content.substr(at, 4)};
    r.stop.min_tokens = static_cast<int64_t>(at % 3) * 10;
    expect_same(speculating.ask(r), plain.ask(r));
  }
  for (size_t at = 5; at < whole.ids().size(); at += 23) {
    auto r = base;
    r.stop.stop_token_ids = {whole.ids()[at]};
    r.stop.min_tokens = static_cast<int64_t>(at % 2) * 8;
    expect_same(speculating.ask(r), plain.ask(r));
  }
  EXPECT_GT(accepted(speculating), 50);
}

TEST(SpeculationTest, TheContextEndsWhereItEndsWithout) {
  auto plain = options(kNone);
  auto guessing = options(kBoth);
  plain.context_tokens_max = guessing.context_tokens_max = 128;
  TestEngine a(plain);
  TestEngine b(load_with_draft_layer(guessing));
  auto r = exactly(after_ids(some_ids(20)), 100000);
  r.sampling.logprobs = 0;
  const Outcome want = a.ask(r);
  EXPECT_EQ(want.usage().completion_tokens, 108);
  expect_same(b.ask(r), want);
  EXPECT_GT(accepted(b), 0);
}

// Sequences that guess beside some that only read their prompts, with too few pages for all.
TEST(SpeculationTest, MixedBatchesGiveEachItsOwnAnswer) {
  std::vector<engine_api::Request> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(exactly(after_ids(i % 2 == 0 ? teasing_ids(30 + 20 * i) : some_ids(40 * i + 9)),
                          60 + 30 * i));
    all.back().sampling.logprobs = 0;
    all.back().sampling.temperature = i % 3 * 0.5;
    all.back().sampling.seed = i;
  }
  std::vector<Outcome> want;
  {
    TestEngine plain(options(kNone));
    for (const auto& r : all) want.push_back(plain.ask(r));
  }
  for (const int64_t pages : {1000, 10}) {
    auto model = load_with_draft_layer(options(kBoth, 4));
    while (model->kv->pages_free() > pages) model->kv->take_page();
    const int64_t free = model->kv->pages_free();
    model->prefixes.reset();
    TestEngine engine(std::move(model));
    std::vector<std::shared_ptr<Recorder>> sinks;
    for (const auto& r : all) {
      sinks.push_back(std::make_shared<Recorder>());
      engine.submit(r, sinks.back());
    }
    for (size_t i = 0; i < all.size(); ++i) expect_same(sinks[i]->wait(), want[i]);
    EXPECT_GT(accepted(engine), 50);
    if (pages == 10) {
      EXPECT_GT(metric(engine, "hadal_engine_preemptions_total"), 0);
    }
    EXPECT_EQ(engine.pages_free_at_end(), free);
  }
}

// Two samples of the same distribution: the statistic of a chi-square test of homogeneity and its
// degrees of freedom. Cells that are expected to hold few are put together.
struct ChiSquare {
  double statistic = 0;
  double freedom = -1;
};
using Histogram = std::map<std::vector<int32_t>, std::array<double, 2>>;

ChiSquare chi_square(const Histogram& cells) {
  ChiSquare out;
  std::array<double, 2> rest{};
  const auto add = [&](const std::array<double, 2>& n) {
    const double expected = (n[0] + n[1]) / 2;
    for (const double observed : n)
      out.statistic += (observed - expected) * (observed - expected) / expected;
    ++out.freedom;
  };
  for (const auto& [key, n] : cells) {
    if (n[0] + n[1] >= 16) {
      add(n);
    } else {
      rest[0] += n[0];
      rest[1] += n[1];
    }
  }
  if (rest[0] + rest[1] > 0) add(rest);
  return out;
}

// Source: Wilson and Hilferty, 1931: the cube root of chi-square over its freedom is nearly normal.
double standard_deviations(const ChiSquare& c) {
  const double v = 2 / (9 * c.freedom);
  return (std::cbrt(c.statistic / c.freedom) - (1 - v)) / std::sqrt(v);
}

// Answers to `count` requests, some at a time.
std::vector<Outcome> ask_all(TestEngine& engine, int count, const engine_api::Request& request,
                             uint64_t first_seed) {
  std::vector<Outcome> out;
  for (int i = 0; i < count;) {
    std::vector<std::shared_ptr<Recorder>> sinks;
    for (; i < count && sinks.size() < 50; ++i) {
      auto r = request;
      r.sampling.seed = first_seed + static_cast<uint64_t>(i);
      sinks.push_back(std::make_shared<Recorder>());
      engine.submit(std::move(r), sinks.back());
    }
    for (const auto& s : sinks) out.push_back(s->wait());
  }
  return out;
}

// Short answers with seeds of their own, with and without guesses: each position's token and the
// one before it must be distributed alike.
TEST(SpeculationTest, TheDistributionIsUnchanged) {
  constexpr int kSamples = 1500;
  constexpr size_t kTokens = 5;
  TestEngine plain(options(kNone, 8));
  TestEngine speculating(load_with_draft_layer(options(kBoth, 8)));
  auto request = exactly(chat("I want a taxi"), kTokens);
  request.sampling = {.temperature = 0.9,
                      .top_p = 0.95,
                      .presence_penalty = 0.3,
                      .frequency_penalty = 0.5,
                      .logprobs = 0};
  // The conversation holds answers of the same kind, so that there is much to guess from.
  engine_api::Chat history;
  for (const Outcome& o : ask_all(plain, 10, request, 1)) {
    history.messages.push_back({.role = engine_api::Role::user, .content = "I want a taxi"});
    history.messages.push_back({.role = engine_api::Role::assistant, .content = o.content});
  }
  history.messages.push_back({.role = engine_api::Role::user, .content = "I want a taxi"});
  request.prompt = history;
  std::array<Histogram, kTokens> cells;
  for (const size_t arm : {0, 1}) {
    for (const Outcome& o : ask_all(arm == 0 ? plain : speculating, kSamples, request, arm << 32)) {
      const auto got = o.ids();
      ASSERT_EQ(got.size(), kTokens);
      ++cells[0][{got[0]}][arm];
      for (size_t t = 1; t < kTokens; ++t) ++cells[t][{got[t - 1], got[t]}][arm];
    }
  }
  for (size_t t = 0; t < kTokens; ++t) {
    const ChiSquare c = chi_square(cells[t]);
    std::cout << "token " << t << ": chi-square " << c.statistic << " with " << c.freedom
              << " degrees of freedom\n";
    EXPECT_GT(c.freedom, 3);
    EXPECT_LT(standard_deviations(c), 3.3) << "token " << t << ": one chance in 2000";
  }
  std::cout << "guesses " << drafted(speculating) << ", accepted " << accepted(speculating) << "\n";
  EXPECT_GT(accepted(speculating), 0.1 * kSamples);
  EXPECT_GT(drafted(speculating) - accepted(speculating), 0.1 * kSamples);
}

TEST(AcceptanceTest, LearnsByWhatSpokeForAGuess) {
  const Acceptance usual;
  Acceptance a;
  const auto ngram = [](const Acceptance& of, int64_t match) {
    return of.rate(DraftSource::ngram, match, 0);
  };
  EXPECT_LT(ngram(a, 2), ngram(a, 40)) << "longer matches are surer to begin with";
  for (int i = 0; i < 40; ++i) a.learn(DraftSource::ngram, 30, 2, false, 0.1);
  EXPECT_LT(ngram(a, 32), 0.02) << "the third guess after a match of 30 has a match of 32";
  EXPECT_EQ(ngram(a, 2), ngram(usual, 2)) << "of short matches nothing was learnt";
  EXPECT_EQ(a.rate(DraftSource::mtp, 0, 0), usual.rate(DraftSource::mtp, 0, 0));
  for (int i = 0; i < 40; ++i) a.learn(DraftSource::mtp, 0, 1, true, 0.1);
  EXPECT_GT(a.rate(DraftSource::mtp, 0, 1), 0.98);
  EXPECT_NEAR(a.expected(DraftSource::mtp, 0, 2),
              usual.rate(DraftSource::mtp, 0, 0) * (1 + a.rate(DraftSource::mtp, 0, 1)), 1e-12);
}

// A sequence that repeats itself for a while and then never again.
TEST(SpeculationTest, StopsGuessingWhereItNeverComesTrueAndTriesAgainNowAndThen) {
  const StepCost cost;
  Acceptance usual;
  Speculation s({.ngram = true}, 100'000, usual);
  std::vector<int32_t> tokens{1, 2};
  int64_t drafted = 0;
  const auto go_on = [&](int32_t next) {
    DraftBudget budget(cost, 1, 7, false);
    s.draft(tokens, 7, budget);
    drafted += s.drafted();
    EXPECT_EQ(s.step_tokens()[0], tokens.back());
    s.confirm(next);
    tokens.push_back(next);
  };
  for (int i = 0; i < 100; ++i) go_on(1 + i % 2);
  EXPECT_GT(drafted, 400) << "it is right, and guesses as far as it may";
  // Pairs that were seen before, and never go on as they did.
  for (int32_t i = 0; i < 300; ++i) go_on(i % 3 == 2 ? 1000 + i : i % 3 + 1);
  drafted = 0;
  for (int32_t i = 300; i < 3300; ++i) go_on(i % 3 == 2 ? 1000 + i : i % 3 + 1);
  EXPECT_GT(drafted, 0);
  EXPECT_LT(drafted, 60) << "of 3000 tokens";
}

TEST(SpeculationTest, TheDraftLayerStopsWhereItNeverIsRight) {
  Acceptance usual;
  const StepCost cost;
  Speculation s({.mtp = true}, 1000, usual);
  std::vector<int32_t> tokens{1, 2, 3};
  int steps = 0;
  for (; s.layer_follows() && steps < 100; ++steps) {
    s.clear_ahead();
    while (s.wants_ahead(cost.price_of_ahead(1))) s.add_ahead(7);
    DraftBudget budget(cost, 1, 7, false);
    s.draft(tokens, 7, budget);
    EXPECT_EQ(s.source(), DraftSource::mtp);
    EXPECT_FALSE(s.confirm(8));
    tokens.push_back(8);
    s.judge_layer(cost.price_of_ahead(1));
  }
  EXPECT_GT(steps, 5);
  EXPECT_LT(steps, 40);
  EXPECT_TRUE(s.ahead().empty());
  EXPECT_LT(usual.rate(DraftSource::mtp, 0, 0), Acceptance().rate(DraftSource::mtp, 0, 0));
}

}  // namespace
}  // namespace hadal::engine
