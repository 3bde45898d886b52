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
#include "format/convert.h"
#include "format/internal/temp_dir.h"
#include "format/mapped_file.h"
#include "format/safetensors.h"
#include "goldens.h"
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

std::vector<float> logits_of(const format::Checkpoint& checkpoint, kernels::Device& device,
                             std::span<const int32_t> ids, int64_t chunk = 0,
                             DType kv_dtype = DType::f32) {
  std::vector<float> out;
  auto model = model::Model::load(checkpoint, device);
  if (!model) {
    ADD_FAILURE() << model.error().message;
    return out;
  }
  const Status done =
      model::score_tokens(**model, device, ids, {.chunk = chunk, .kv_dtype = kv_dtype},
                          [&](int64_t, std::span<const float> rows) -> Status {
                            out.insert(out.end(), rows.begin(), rows.end());
                            return {};
                          });
  EXPECT_TRUE(done) << done.error().message;
  return out;
}

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = read_golden(GetParam());
    ASSERT_FALSE(golden_.ids.empty());
    auto opened = format::Checkpoint::open(GetParam());
    ASSERT_TRUE(opened) << opened.error().message;
    checkpoint_ = *std::move(opened);
  }

  size_t vocab() const { return golden_.logits.size() / golden_.ids.size(); }

  void expect_close(std::span<const float> got, std::span<const float> want, float bound,
                    const std::string& what) const {
    ASSERT_EQ(got.size(), want.size()) << what;
    const Difference d = compare(got, want, vocab());
    std::cout << what << ": max |difference| " << d.max << ", argmax differs at " << d.wrong_argmax
              << " of " << golden_.ids.size() << "\n";
    EXPECT_LE(d.max, bound) << what;
    EXPECT_EQ(d.wrong_argmax, 0) << what;
  }

  // The logits of the checkpoint written as `kind` with `dtype`, read back.
  std::vector<float> converted(const format::TempDir& dir, format::CheckpointKind kind,
                               DType dtype) const {
    const bool gguf = kind == format::CheckpointKind::gguf;
    const fs::path out = dir / (gguf ? "model.gguf" : "model");
    const auto report = format::convert(*checkpoint_, out, {.to = kind, .dtype = dtype});
    if (!report) {
      ADD_FAILURE() << report.error().message;
      return {};
    }
    const auto opened = format::Checkpoint::open(out);
    if (!opened) {
      ADD_FAILURE() << opened.error().message;
      return {};
    }
    const auto device = kernels::open_cpu({.exact = true});
    return logits_of(**opened, **device, golden_.ids);
  }

  Golden golden_;
  std::unique_ptr<const format::Checkpoint> checkpoint_;
};

TEST_P(GoldenTest, LogitsAgree) {
  for (const auto isa : {kernels::CpuIsa::ref, kernels::CpuIsa::avx2, kernels::CpuIsa::avx512}) {
    auto device = kernels::open_cpu({.isa = isa, .exact = true});
    if (!device) continue;  // an instruction set that this machine lacks
    for (const int64_t chunk : {0, 7, 1}) {
      expect_close(logits_of(*checkpoint_, **device, golden_.ids, chunk), golden_.logits, kBound,
                   (*device)->description() + " chunk " + std::to_string(chunk));
    }
  }
}

TEST_P(GoldenTest, GgufOfFullPrecisionAgrees) {
  const format::TempDir dir;
  const auto got = converted(dir, format::CheckpointKind::gguf, DType::f32);
  expect_close(got, golden_.logits, kBound, "gguf f32");
}

TEST_P(GoldenTest, GgufAndSafetensorsAgreeInBf16) {
  const format::TempDir dir;
  const auto gguf = converted(dir, format::CheckpointKind::gguf, DType::bf16);
  const auto safetensors = converted(dir, format::CheckpointKind::safetensors, DType::bf16);
  expect_close(gguf, safetensors, 1e-4f, "bf16");
}

// A cache of 8 bits in every family of attention. Random weights spread more than trained ones: a
// small error sends a token to other experts or picks other rows of the sparse index, which is why
// only the dense models have tight bounds.
TEST_P(GoldenTest, EightBitCachesStayClose) {
  const auto device = kernels::open_cpu({.exact = true});
  const std::string name = fs::path(GetParam()).filename().string();
  const bool dense = !name.starts_with("deepseek");
  for (const DType dtype : {DType::q8_0, DType::f8_e4m3}) {
    const auto got = logits_of(*checkpoint_, **device, golden_.ids, 0, dtype);
    ASSERT_EQ(got.size(), golden_.logits.size());
    double squares = 0, error = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double want = golden_.logits[i];
      squares += want * want;
      error += (got[i] - want) * (got[i] - want);
    }
    const double relative = std::sqrt(error / squares);
    std::cout << dtype_name(dtype) << ": relative error " << relative << "\n";
    if (dtype == DType::q8_0) {
      EXPECT_LE(relative, dense ? 0.001 : 0.2);
    } else {
      EXPECT_LE(relative, dense ? 0.1 : 1.0);
      EXPECT_GT(relative, 0.01) << "the cache is not of 8 bits";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, testing::ValuesIn(golden_paths()),
                         [](const auto& test) { return golden_test_name(test.param); });

}  // namespace
}  // namespace hadal
