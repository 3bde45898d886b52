// Every golden checkpoint against its reference logits, for every instruction set of this machine,
// with the prompt in one piece, in chunks, and token by token.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "format/checkpoint.h"
#include "format/mapped_file.h"
#include "format/safetensors.h"
#include "kernels/device.h"
#include "model/model.h"
#include "model/score.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr float kBound = 2e-3f;

struct Golden {
  std::vector<int32_t> ids;
  std::vector<float> logits;  // [T, V]
};

Golden read_golden(const fs::path& dir) {
  Golden out;
  auto mapped = format::MappedFile::open(dir / "golden.safetensors");
  if (!mapped) {
    ADD_FAILURE() << mapped.error().message;
    return out;
  }
  auto file = format::parse_safetensors(mapped->bytes());
  if (!file) {
    ADD_FAILURE() << file.error().message;
    return out;
  }
  for (const auto& tensor : file->tensors) {
    const auto bytes = static_cast<size_t>(tensor.view.bytes());
    if (tensor.name == "input_ids") {
      out.ids.resize(bytes / 4);
      std::memcpy(out.ids.data(), tensor.view.data, bytes);
    } else if (tensor.name == "logits") {
      out.logits.resize(bytes / 4);
      std::memcpy(out.logits.data(), tensor.view.data, bytes);
    }
  }
  return out;
}

// The folders to test: those of this repository, or those below $HADAL_GOLDEN_DIR.
std::vector<std::string> golden_names() {
  const char* extra = std::getenv("HADAL_GOLDEN_DIR");
  const fs::path root =
      extra != nullptr ? fs::path(extra) : fs::path(HADAL_SOURCE_DIR) / "tests/golden";
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (fs::exists(entry.path() / "golden.safetensors")) names.push_back(entry.path().string());
  }
  std::ranges::sort(names);
  return names;
}

struct Difference {
  float max = 0;
  int64_t wrong_argmax = 0;
};

Difference compare(std::span<const float> got, std::span<const float> want, size_t vocab) {
  Difference d;
  for (size_t row = 0; row < want.size() / vocab; ++row) {
    const auto g = got.subspan(row * vocab, vocab);
    const auto w = want.subspan(row * vocab, vocab);
    for (size_t i = 0; i < vocab; ++i) {
      const float diff = std::fabs(g[i] - w[i]);
      if (!(diff <= d.max)) d.max = std::isnan(diff) ? INFINITY : diff;
    }
    if (std::ranges::max_element(g) - g.begin() != std::ranges::max_element(w) - w.begin())
      ++d.wrong_argmax;
  }
  return d;
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, LogitsAgree) {
  const Golden golden = read_golden(GetParam());
  ASSERT_FALSE(golden.ids.empty());
  const auto checkpoint = format::Checkpoint::open(GetParam());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  for (const auto isa : {kernels::CpuIsa::ref, kernels::CpuIsa::avx2, kernels::CpuIsa::avx512}) {
    auto device = kernels::open_cpu({.isa = isa, .exact = true});
    if (!device) continue;  // an instruction set that this machine lacks
    auto model = model::Model::load(**checkpoint, **device);
    ASSERT_TRUE(model) << model.error().message;
    for (const int64_t chunk : {0, 7, 1}) {
      std::vector<float> got;
      const Status done = model::score_tokens(**model, **device, golden.ids, {.chunk = chunk},
                                              [&](int64_t, std::span<const float> rows) -> Status {
                                                got.insert(got.end(), rows.begin(), rows.end());
                                                return {};
                                              });
      ASSERT_TRUE(done) << done.error().message;
      ASSERT_EQ(got.size(), golden.logits.size());
      const Difference d = compare(got, golden.logits, golden.logits.size() / golden.ids.size());
      std::cout << (*device)->description() << " chunk " << chunk << ": max |difference| " << d.max
                << ", argmax differs at " << d.wrong_argmax << " of " << golden.ids.size() << "\n";
      EXPECT_LE(d.max, kBound) << (*device)->description() << " chunk " << chunk;
      EXPECT_EQ(d.wrong_argmax, 0) << (*device)->description() << " chunk " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, testing::ValuesIn(golden_names()), [](const auto& test) {
  std::string name = fs::path(test.param).filename().string();
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace hadal
