// What each quantized type costs on the demo model: the divergence of its predictions from the
// source's, within the bounds that docs/formats/checkpoints.md states. That page's table is what
// HADAL_WHOLE_TEXT=1 build/release/quantized_test prints.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>

#include "format/checkpoint.h"
#include "format/convert.h"
#include "format/internal/half.h"
#include "format/internal/temp_dir.h"
#include "format/mapped_file.h"
#include "format/output_file.h"
#include "format/quantize.h"
#include "format/safetensors_writer.h"
#include "kernels/device.h"
#include "model/importance.h"
#include "model/model.h"
#include "model/score.h"
#include "tokenizer/tokenizer.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Pieces = std::vector<std::vector<int32_t>>;
using kernels::CpuIsa;

const fs::path kDemo = fs::path(HADAL_SOURCE_DIR) / "models/demo";

// ---- the text ----

const Pieces& text() {
  static const Pieces pieces = [] {
    const auto demo = *format::Checkpoint::open(kDemo / "demo.gguf");
    const auto tok = *tokenizer::Tokenizer::open(*demo->tokenizer_source());
    const std::string all = *format::read_text_file(kDemo / "dialogues.text", 1 << 20);
    const std::vector<int32_t> ids = tok->encode_with_specials(all);
    Pieces out;
    for (size_t at = 0; at + 255 <= ids.size(); at += 255) {
      out.push_back({*tok->bos_id()});
      out.back().insert(out.back().end(), ids.begin() + static_cast<ptrdiff_t>(at),
                        ids.begin() + static_cast<ptrdiff_t>(at + 255));
    }
    return out;
  }();
  return pieces;
}

// ---- checkpoints with what no command writes ----

std::vector<float> numbers(const ConstTensorView& v) {
  std::vector<float> out(static_cast<size_t>(v.shape.elements()));
  EXPECT_TRUE(format::dequantize(v.dtype, {v.data, static_cast<size_t>(v.bytes())}, out));
  return out;
}

// A matrix and its scales: one per block of `rows` x `cols`, which puts the largest on `top`.
struct Scaled {
  std::vector<std::byte> data;
  std::vector<float> scale;
  Shape scale_shape;
};
Scaled scale_blocks(const std::vector<float>& w, const Shape& shape, int64_t rows, int64_t cols,
                    float top, const std::function<std::byte(float)>& store) {
  const int64_t n = shape[0], k = shape[1], across = (k + cols - 1) / cols;
  Scaled out{.data = std::vector<std::byte>(w.size()),
             .scale = std::vector<float>(static_cast<size_t>((n + rows - 1) / rows * across)),
             .scale_shape = Shape{(n + rows - 1) / rows, across}};
  const auto at = [&](int64_t i, int64_t j) {
    return static_cast<size_t>(i / rows * across + j / cols);
  };
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      float& s = out.scale[at(i, j)];
      s = std::max(s, std::fabs(w[static_cast<size_t>(i * k + j)]) / top);
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      const float s = out.scale[at(i, j)];
      const auto e = static_cast<size_t>(i * k + j);
      out.data[e] = store(s > 0 ? w[e] / s : 0);
    }
  }
  return out;
}

std::byte to_int8(float v) { return static_cast<std::byte>(static_cast<int8_t>(std::lround(v))); }
std::byte to_e4m3(float v) {
  // Magnitudes grow with their codes; 127 is no number.
  int above = 0;
  while (above < 126 && format::f32_of_e4m3(static_cast<uint8_t>(above)) < std::fabs(v)) ++above;
  const auto miss = [&](int code) {
    return std::fabs(format::f32_of_e4m3(static_cast<uint8_t>(code)) - std::fabs(v));
  };
  const int code = above > 0 && miss(above - 1) < miss(above) ? above - 1 : above;
  return static_cast<std::byte>(v < 0 ? code | 128 : code);
}

// Whether FP8 and INT8 checkpoints quantize it: projections, as the published ones do.
bool is_projection(const std::string& name) { return name.find("_proj") != std::string::npos; }

/// Writes `from` as a Hugging Face directory in f32, with projections of `dtype` (f8_e4m3 or i8)
/// where that is given, after `change` has had each tensor's numbers.
using Change = std::function<void(const std::string&, const Shape&, std::vector<float>&)>;
void write_directory(const format::Checkpoint& from, const fs::path& out, DType dtype,
                     const Change& change) {
  format::SafetensorsWriter writer;
  std::vector<std::vector<std::byte>> data;
  const auto add = [&](const std::string& name, DType d, const Shape& shape, const auto& values) {
    ASSERT_TRUE(writer.add_tensor(name, d, shape));
    const auto bytes = std::as_bytes(std::span(values));
    data.emplace_back(bytes.begin(), bytes.end());
  };
  for (const format::CheckpointTensor& t : from.tensors()) {
    std::vector<float> w = numbers(t.view);
    change(t.name, t.view.shape, w);
    if (dtype == DType::f32 || !is_projection(t.name)) {
      add(t.name, DType::f32, t.view.shape, w);
      continue;
    }
    const bool int8 = dtype == DType::i8;
    const Scaled s = int8 ? scale_blocks(w, t.view.shape, 1, t.view.shape[1], 127, to_int8)
                          : scale_blocks(w, t.view.shape, 128, 128, 448, to_e4m3);
    add(t.name, dtype, t.view.shape, s.data);
    add(t.name + (int8 ? "_scale" : "_scale_inv"), DType::f32, s.scale_shape, s.scale);
  }
  fs::create_directories(out);
  auto file = format::OutputFile::create(out / "model.safetensors");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write(writer.header()));
  for (const auto& bytes : data) ASSERT_TRUE(file->write(bytes));
  ASSERT_TRUE(file->commit());
  auto config = format::OutputFile::create(out / "config.json");
  ASSERT_TRUE(config->write(json::dump(from.config())));
  ASSERT_TRUE(config->commit());
}
void as_it_is(const std::string&, const Shape&, std::vector<float>&) {}

// ---- the comparison ----

model::Divergence compare(const format::Checkpoint& source, const format::Checkpoint& other,
                          CpuIsa isa, std::span<const std::vector<int32_t>> pieces) {
  const auto exact = *kernels::open_cpu({.exact = true});
  const auto fast = *kernels::open_cpu({.isa = isa});
  const auto a = model::Model::load(source, *exact), b = model::Model::load(other, *fast);
  EXPECT_TRUE(a) << a.error().message;
  EXPECT_TRUE(b) << b.error().message;
  if (!a || !b) return {};
  const auto d =
      model::compare_models({**a, *exact}, {**b, *fast}, pieces, [](int64_t) { return true; });
  EXPECT_TRUE(d);
  return d ? *d : model::Divergence{};
}

/// A type, what it may cost at most, and the instruction sets that compute it.
struct Case {
  const char* name;
  double kl_at_most;
  double same_top_at_least;
};
// About one and a half times what was measured.
constexpr Case kCases[] = {
    {"q8_0", 0.0012, 0.985},   {"q6_k", 0.0045, 0.965}, {"q5_k_m", 0.0085, 0.955},
    {"q5_k", 0.009, 0.95},     {"q4_k_m", 0.030, 0.92}, {"q4_k", 0.033, 0.915},
    {"iq4_nl", 0.035, 0.915},  {"q4_0", 0.040, 0.91},   {"mxfp4", 0.075, 0.87},
    {"f8_e4m3", 0.0060, 0.96}, {"i8", 0.0030, 0.975},
};

class QuantizedTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<const format::Checkpoint> made(const format::Checkpoint& source) {
    const std::string name = GetParam().name;
    const auto dtype = dtype_from_name(name);
    if (dtype == DType::i8 || dtype == DType::f8_e4m3) {
      write_directory(source, dir_ / "m", *dtype, as_it_is);
      return *format::Checkpoint::open(dir_ / "m");
    }
    const format::TypeMix mix = *format::TypeMix::create(name);
    const auto report = format::convert(source, dir_ / "m.gguf", {.mix = &mix});
    EXPECT_TRUE(report);
    return *format::Checkpoint::open(dir_ / "m.gguf");
  }
  format::TempDir dir_;
};

TEST_P(QuantizedTest, StaysWithinItsBoundsOnEveryInstructionSet) {
  const auto source = *format::Checkpoint::open(kDemo / "demo.gguf");
  const auto quantized = made(*source);
  const auto check = [&](CpuIsa isa, std::span<const std::vector<int32_t>> pieces, double slack) {
    const model::Divergence d = compare(*source, *quantized, isa, pieces);
    EXPECT_LE(d.kl_mean, slack * GetParam().kl_at_most) << static_cast<int>(isa);
    EXPECT_GE(d.same_top, 1 - slack * (1 - GetParam().same_top_at_least)) << static_cast<int>(isa);
    EXPECT_GT(d.kl_mean, 0) << "nothing was compared";
    return d;
  };
  const bool whole = std::getenv("HADAL_WHOLE_TEXT") != nullptr;
  const auto most = std::span(text()).first(whole ? text().size() : 12);
  const model::Divergence d = check(CpuIsa::automatic, most, whole ? 1 : 1.2);
  std::printf("| %s | %.4f (+- %.4f) | %.1f %% | %.2f (%.2f) | %.4f | %.1f %% |\n", GetParam().name,
              d.kl_mean, d.kl_error, 100 * d.same_top, d.perplexity, d.perplexity_of_source,
              GetParam().kl_at_most, 100 * GetParam().same_top_at_least);
  // Fewer tokens spread more.
  if (kernels::open_cpu({.isa = CpuIsa::avx2})) check(CpuIsa::avx2, most.first(3), 2);
  std::vector<int32_t> few = text()[0];
  few.resize(100);
  check(CpuIsa::ref, std::span(&few, 1), 3);
}

INSTANTIATE_TEST_SUITE_P(Demo, QuantizedTest, testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

// What a cache of fewer bits costs, against one of f32 and with the same weights.
TEST(KvCacheTypesTest, StayWithinTheirBounds) {
  const auto source = *format::Checkpoint::open(kDemo / "demo.gguf");
  const auto device = *kernels::open_cpu({.exact = true});
  const auto model = *model::Model::load(*source, *device);
  const bool whole = std::getenv("HADAL_WHOLE_TEXT") != nullptr;
  const auto pieces = std::span(text()).first(whole ? text().size() : 12);
  struct KvCase {
    DType dtype;
    double kl_at_most, same_top_at_least;
  };
  double before = -1;
  for (const KvCase& c : {KvCase{DType::f32, 0, 1}, KvCase{DType::f16, 2e-5, 0.998},
                          KvCase{DType::bf16, 0.0005, 0.995}, KvCase{DType::q8_0, 0.002, 0.985},
                          KvCase{DType::f8_e4m3, 0.012, 0.95}}) {
    const auto d = model::compare_models({*model, *device}, {*model, *device, c.dtype}, pieces,
                                         [](int64_t) { return true; });
    ASSERT_TRUE(d) << d.error().message;
    std::printf("| %s | %.7f (+- %.7f) | %.2f %% |\n", std::string(dtype_name(c.dtype)).c_str(),
                d->kl_mean, d->kl_error, 100 * d->same_top);
    EXPECT_LE(d->kl_mean, c.kl_at_most) << dtype_name(c.dtype);
    EXPECT_GE(d->same_top, c.same_top_at_least) << dtype_name(c.dtype);
    EXPECT_GT(d->kl_mean, before) << "as exact as the type before";
    before = d->kl_mean;
  }
}

// The same function with activations as real models have them: a few channels of each norm are
// twenty times larger, and the weights that read them as much smaller. What is rounded without
// knowing that loses those channels; the importance matrix says which they are.
TEST(ImportanceOnTheDemoTest, KeepsSmallWeightsOfLargeChannels) {
  const format::TempDir dir;
  const auto demo = *format::Checkpoint::open(kDemo / "demo.gguf");
  constexpr float kFactor = 20;
  const auto is_large = [](int64_t channel) { return channel % 37 == 5; };
  write_directory(*demo, dir / "m", DType::f32,
                  [&](const std::string& name, const Shape& shape, std::vector<float>& w) {
                    const bool norm = name.find("input_layernorm") != std::string::npos ||
                                      name.find("post_attention_layernorm") != std::string::npos;
                    constexpr const char* kReaders[] = {".q_a_proj.", ".kv_a_proj_with_mqa.",
                                                        ".gate_proj.", ".up_proj.", ".mlp.gate."};
                    bool reader = false;
                    for (const char* part : kReaders)
                      reader |= name.find(part) != std::string::npos && shape.rank() == 2;
                    if (!norm && !reader) return;
                    const int64_t cols = shape.cols();
                    for (size_t i = 0; i < w.size(); ++i) {
                      if (!is_large(static_cast<int64_t>(i) % cols)) continue;
                      w[i] = norm ? w[i] * kFactor : w[i] / kFactor;
                    }
                  });
  const auto source = *format::Checkpoint::open(dir / "m");
  const auto some = std::span(text()).first(5);
  EXPECT_LT(compare(*demo, *source, CpuIsa::automatic, some.first(2)).kl_mean, 1e-4)
      << "not the same function";
  const auto exact = *kernels::open_cpu({.exact = true});
  const auto measured = model::measure_importance(*source, *exact, std::span(text()).last(10),
                                                  [](int64_t) { return true; });
  ASSERT_TRUE(measured);
  // q4_0, one scale and whole numbers, has no small values to give them.
  for (const char* type : {"q4_k", "iq4_nl", "q5_k"}) {
    const format::TypeMix mix = *format::TypeMix::create(type);
    double kl[2];
    for (const bool with : {false, true}) {
      const fs::path out = dir / (std::string(type) + (with ? "_i.gguf" : ".gguf"));
      ASSERT_TRUE(format::convert(*source, out,
                                  {.mix = &mix, .importance = with ? &measured->matrix : nullptr}));
      kl[with ? 1 : 0] =
          compare(*source, **format::Checkpoint::open(out), CpuIsa::automatic, some).kl_mean;
    }
    std::printf("%s: KL %.4f, with an importance matrix %.4f\n", type, kl[0], kl[1]);
    EXPECT_LT(kl[1], 0.7 * kl[0]) << type;
  }
}

}  // namespace
}  // namespace hadal
