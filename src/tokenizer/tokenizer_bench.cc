// MB/s of encode and decode. The vocabulary comes from the file that HADAL_BENCH_TOKENIZER names.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "format/mapped_file.h"
#include "tokenizer/tokenizer.h"

namespace hadal::tokenizer {
namespace {

constexpr size_t kTextBytes = 1 << 20;

std::string repeated(std::string_view text) {
  std::string out;
  while (out.size() < kTextBytes) out += text;
  return out;
}

// Text in which few words repeat: the word cache is of little use.
std::string unlike_words() {
  std::string out;
  uint32_t state = 1;
  while (out.size() < kTextBytes) {
    for (uint32_t n = 2 + (state >> 28); n > 0; --n) {
      state = state * 1664525 + 1013904223;
      out += static_cast<char>('a' + (state >> 16) % 26);
    }
    out += ' ';
  }
  return out;
}

const Tokenizer* tokenizer() {
  static const auto tok = []() -> std::unique_ptr<const Tokenizer> {
    const char* path = std::getenv("HADAL_BENCH_TOKENIZER");
    if (!path) return nullptr;
    format::TokenizerSource source;
    auto text = format::read_text_file(path, 128u << 20);
    if (!text) return nullptr;
    source.tokenizer_json = *std::move(text);
    auto opened = Tokenizer::open(source);
    return opened ? *std::move(opened) : nullptr;
  }();
  return tok.get();
}

void encode(benchmark::State& state, const std::string& text) {
  const Tokenizer* tok = tokenizer();
  if (!tok) return state.SkipWithError("HADAL_BENCH_TOKENIZER names no tokenizer.json");
  std::vector<int32_t> ids;
  for (auto _ : state) {
    ids.clear();
    tok->encode(text, ids);
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["bytes/token"] =
      static_cast<double>(text.size()) / static_cast<double>(ids.size());
}

void decode(benchmark::State& state) {
  const Tokenizer* tok = tokenizer();
  if (!tok) return state.SkipWithError("HADAL_BENCH_TOKENIZER names no tokenizer.json");
  const auto ids = tok->encode(unlike_words());
  for (auto _ : state) benchmark::DoNotOptimize(tok->decode(ids));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kTextBytes));
}

const std::string kEnglish = repeated(
    "The deepest part of the sea lies below six thousand metres; few things live there, and those "
    "that do don't mind the dark. It's cold (2.5 degrees), quiet, and 1,086 bar heavy.\n\n");
const std::string kCode = repeated(
    "def attention(q, k, v):\n    scores = q @ k.T / math.sqrt(q.shape[-1])\n    return "
    "softmax(scores) @ v  # [T, D]\n");
const std::string kChinese =
    repeated("海洋最深的地方在六千米以下；那里很少有生物，黑暗、寒冷而安静。");

BENCHMARK_CAPTURE(encode, english, kEnglish)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, code, kCode)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, chinese, kChinese)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, unlike_words, unlike_words())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, blanks, std::string(kTextBytes, ' '))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, one_letter, std::string(kTextBytes, 'a'))->Unit(benchmark::kMillisecond);
BENCHMARK(decode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace hadal::tokenizer
