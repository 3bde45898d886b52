// What a grammar costs an answer: its compilation, and the mask of each token, cold (the first
// answer with a schema) and warm. Documents are replayed token by token.
//
//   HADAL_BENCH_TOKENIZER=tokenizer.json build/bench/engine_bench
//
// The numbers in docs/adr/0009-grammars.md are of Qwen's, with 151,936 logits.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "format/mapped_file.h"
#include "grammar/ebnf.h"
#include "grammar/json_schema.h"
#include "grammar/matcher.h"
#include "json/json.h"
#include "sampling/grammar_processor.h"
#include "tokenizer/tokenizer.h"

namespace hadal::engine {
namespace {

// Time that this thread computed: the machine may have other work.
double now_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

constexpr size_t kLogits = 151936;

struct Vocab {
  std::unique_ptr<const tokenizer::Tokenizer> tokenizer;
  std::shared_ptr<const grammar::Vocabulary> tree;
  double tree_ms = 0;
};

const Vocab& vocab() {
  static const Vocab made = [] {
    Vocab v;
    format::TokenizerSource source;
    const char* path = std::getenv("HADAL_BENCH_TOKENIZER");
    CHECK(path != nullptr, "HADAL_BENCH_TOKENIZER names no file");
    auto text = format::read_text_file(path, 128u << 20);
    CHECK(text.has_value());
    source.tokenizer_json = *std::move(text);
    auto opened = tokenizer::Tokenizer::open(source);
    CHECK(opened.has_value(), "no tokenizer");
    v.tokenizer = *std::move(opened);
    std::vector<grammar::Vocabulary::Token> tokens(v.tokenizer->vocab_size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      tokens[i] = {v.tokenizer->token_bytes(id), v.tokenizer->is_markup(id)};
    }
    const double begin = now_us();
    v.tree = std::make_shared<const grammar::Vocabulary>(tokens, kLogits);
    v.tree_ms = (now_us() - begin) / 1e3;
    return v;
  }();
  return made;
}

struct Sample {
  const char* name;
  const char* schema;  ///< or EBNF
  std::string text;
};

// clang-format off: it would write other JSON
constexpr const char* kOrder = R"x({"type": "object", "properties": {
  "customer": {"type": "object", "properties": {"name": {"type": "string"},
    "email": {"type": "string", "format": "email"}, "since": {"type": "string", "format": "date"}},
    "required": ["name", "email", "since"], "additionalProperties": false},
  "items": {"type": "array", "items": {"type": "object", "properties": {
    "sku": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}, "title": {"type": "string"},
    "quantity": {"type": "integer", "minimum": 1, "maximum": 99}, "price": {"type": "number"},
    "tags": {"type": "array", "items": {"enum": ["new", "sale", "fragile", "heavy"]}}},
    "required": ["sku", "title", "quantity", "price", "tags"], "additionalProperties": false}},
  "note": {"type": "string", "maxLength": 400}, "paid": {"type": "boolean"}},
  "required": ["customer", "items", "note", "paid"], "additionalProperties": false})x";

constexpr const char* kOrderText = R"x({
  "customer": {
    "name": "Marie Curie-Skłodowska",
    "email": "marie.curie@example.org",
    "since": "2021-04-17"
  },
  "items": [
    {"sku": "ABC-1234", "title": "Stainless steel water bottle, 0.75 l", "quantity": 2,
"price": 18.95, "tags": ["new", "sale"]},
    {"sku": "QRS-0042", "title": "Ceramic plant pot (terracotta)", "quantity": 1, "price": 24.5,
"tags": ["fragile", "heavy"]},
    {"sku": "XYZ-9999", "title": "数字の本 — a book about numbers", "quantity": 12, "price": 7,
"tags": []}
  ],
  "note": "Please leave the parcel with the neighbours; knock \"loudly\".\nThank you!",
  "paid": true
})x";

constexpr const char* kArithmetic = R"x(root ::= (expr "=" ws term "\n")+
expr ::= term ([-+*/] ws term)*
term ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num ::= [0-9]+ ws
ws ::= [ \t]*)x";

// clang-format on

std::vector<Sample> samples() {
  std::string prose = R"({"summary": ")";
  for (int i = 0; i < 12; ++i) {
    prose +=
        "The expedition reached the trench at dawn, and the instruments recorded a depth of "
        "ten thousand nine hundred metres before the signal was lost for an hour. ";
  }
  prose += "\"}";
  std::string sums;
  for (int i = 0; i < 12; ++i) sums += "(alpha + 12) * beta_2 - 7 = gamma\n";
  std::string strings = "[\"first\"";
  for (int i = 0; i < 10; ++i) strings += ", \"a text of several words\"";
  return {
      {"order", kOrder, kOrderText},
      {"any_object", "", kOrderText},
      {"prose", R"({"properties": {"summary": {"type": "string"}}})", prose},
      {"prose_max_length", R"({"properties": {"summary": {"type": "string", "maxLength": 2500}}})",
       prose},
      {"short_strings", R"({"items": {"type": "string", "maxLength": 30}})", strings + "]"},
      {"arithmetic", kArithmetic, sums},
  };
}

Result<grammar::Grammar> grammar_of(const Sample& s) {
  const std::string text = s.schema;
  if (text.empty()) return grammar::json_object_grammar();
  if (text[0] != '{') return grammar::read_ebnf(text);
  const json::Value schema = *json::parse(text);
  return grammar::json_schema_grammar(schema);
}

void replay(benchmark::State& state, const Sample& sample, bool warm) {
  const Vocab& v = vocab();
  const auto ids = v.tokenizer->encode(sample.text);
  std::vector<float> logits(v.tree->size());
  double compile_us = 0;
  double total_us = 0;
  double worst_us = 0;
  size_t steps = 0;
  size_t bytes = 0;
  const int rounds = warm ? 2 : 1;
  for (auto _ : state) {
    const double begin = now_us();
    auto compiled = grammar::CompiledGrammar::create(*grammar_of(sample), v.tree);
    CHECK(compiled.has_value());
    compile_us += now_us() - begin;
    for (int round = 0; round < rounds; ++round) {
      sampling::GrammarProcessor processor(grammar::Matcher(*compiled), std::vector<int32_t>{});
      for (const int32_t id : ids) {
        std::ranges::fill(logits, 1.0f);
        const double before = now_us();
        CHECK(processor.apply(logits).has_value());
        const double us = now_us() - before;
        if (logits[static_cast<size_t>(id)] != 1.0f) {
          std::fprintf(stderr, "%s: no %s\n", sample.name, std::string(v.tree->bytes(id)).c_str());
          std::abort();
        }
        processor.accept(id);
        if (round + 1 < rounds) continue;
        total_us += us;
        worst_us = std::max(worst_us, us);
        ++steps;
      }
    }
    bytes = (*compiled)->bytes();
  }
  state.counters["compile_us"] = compile_us / static_cast<double>(state.iterations());
  state.counters["mask_us"] = total_us / static_cast<double>(steps);
  state.counters["worst_us"] = worst_us;
  state.counters["tokens"] = static_cast<double>(ids.size());
  state.counters["MB"] = static_cast<double>(bytes) / 1e6;
  state.counters["tree_ms"] = v.tree_ms;
}

const bool registered = [] {
  for (const Sample& s : samples()) {
    for (const bool warm : {false, true}) {
      benchmark::RegisterBenchmark((std::string(s.name) + (warm ? "/warm" : "/cold")).c_str(),
                                   [=](benchmark::State& state) { replay(state, s, warm); })
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace hadal::engine
