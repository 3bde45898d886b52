#include "format/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "format/gguf_metadata.h"
#include "format/gguf_writer.h"
#include "format/internal/temp_dir.h"
#include "format/mapped_file.h"
#include "format/output_file.h"
#include "format/quantize.h"
#include "format/tensor_list.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) {
  return fs::path(HADAL_SOURCE_DIR) / "tests/golden" / name;
}

std::vector<float> numbers(const ConstTensorView& v) {
  std::vector<float> out(static_cast<size_t>(v.shape.elements()));
  EXPECT_TRUE(dequantize(v.dtype, {v.data, static_cast<size_t>(v.bytes())}, out));
  return out;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Every tensor of `b` has the numbers that `a` has under the same name.
void expect_same_numbers(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const CheckpointTensor& t : a.tensors()) {
    const CheckpointTensor* u = b.find(t.name);
    ASSERT_NE(u, nullptr) << t.name;
    EXPECT_EQ(t.view.shape, u->view.shape) << t.name;
    if (t.view.dtype == DType::i64 || t.view.dtype == DType::i32) continue;
    ASSERT_EQ(numbers(t.view), numbers(u->view)) << t.name;
  }
}

class ConvertTest : public testing::TestWithParam<const char*> {};

TEST_P(ConvertTest, GgufAndBackIsBitTrueInBf16AndF32) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden(GetParam()));
  ASSERT_TRUE(original) << original.error().message;
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const fs::path file = dir / "model.gguf", back = dir / "back";
    const auto report = convert(**original, file, {.dtype = dtype, .threads = 1});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->bytes, fs::file_size(file));
    const auto gguf = Checkpoint::open(file);
    ASSERT_TRUE(gguf) << gguf.error().message;
    EXPECT_EQ((*gguf)->kind(), CheckpointKind::gguf);
    const auto second =
        convert(**gguf, back, {.to = CheckpointKind::safetensors, .dtype = dtype, .threads = 2});
    ASSERT_TRUE(second) << second.error().message;
    const auto again = Checkpoint::open(back);
    ASSERT_TRUE(again) << again.error().message;
    json::Value expected = (*original)->config(), got = (*again)->config();
    expected.set("torch_dtype", nullptr);
    got.set("torch_dtype", nullptr);
    EXPECT_EQ(json::dump(expected), json::dump(got));
    if (std::string(GetParam()) != "deepseek_v4") expect_same_numbers(**original, **again);
    EXPECT_EQ((*original)->tensors().size(), (*again)->tensors().size());
  }
}

TEST_P(ConvertTest, MetadataAloneGivesTheSameModel) {
  // Without the kept config.json, as in a file that llama.cpp's converter wrote.
  const TempDir dir;
  const auto original = Checkpoint::open(golden(GetParam()));
  ASSERT_TRUE(original);
  const fs::path file = dir / "model.gguf";
  ASSERT_TRUE(convert(**original, file, {.dtype = DType::f32, .threads = 1}));
  std::string text = text_of(file);
  const std::string key = "hadal.config_json";
  ASSERT_NE(text.find(key), std::string::npos);
  text.replace(text.find(key), key.size(), "other.config_json");
  const auto image =
      Checkpoint::open_image(std::as_bytes(std::span(text.data(), text.size())), "i");
  ASSERT_TRUE(image) << image.error().message;
  const json::Value& a = (*original)->config();
  const json::Value& b = (*image)->config();
  for (const auto& [name, value] : a.as_object()) {
    const json::Value* got = b.find(name);
    // Keys that do not change what the model computes, or that GGUF has no place for.
    for (const char* aside :
         {"attention_bias", "attention_dropout", "torch_dtype", "use_cache", "initializer_range",
          "aux_loss_alpha", "seq_aux", "ep_size", "num_nextn_predict_layers", "mlp_bias",
          "use_sliding_window", "max_window_layers", "compress_rate_hca", "bos_token_id",
          "eos_token_id", "rope_scaling"}) {
      if (name == aside) got = &value;
    }
    if (name == "sliding_window" && b.find("sliding_window") == nullptr) continue;
    if (value.is_null()) {
      EXPECT_EQ(got, nullptr) << name;
      continue;
    }
    ASSERT_NE(got, nullptr) << name;
    if (value.is_number()) {
      EXPECT_DOUBLE_EQ(got->as_double(), value.as_double()) << name;
    } else {
      EXPECT_EQ(json::dump(*got), json::dump(value)) << name;
    }
  }
  const json::Value* scaling = a.find("rope_scaling");
  if (scaling == nullptr) return;
  if (scaling->find("low_freq_factor") != nullptr) {
    EXPECT_EQ(b.find("rope_scaling"), nullptr);
    EXPECT_NE((*image)->find("rope_freqs.weight"), nullptr);
    return;
  }
  for (const auto& [name, value] : scaling->as_object()) {
    const json::Value* got = b.find("rope_scaling")->find(name);
    ASSERT_NE(got, nullptr) << name;
    if (value.is_number()) {
      EXPECT_DOUBLE_EQ(got->as_double(), value.as_double()) << name;
    }
  }
}

TEST_P(ConvertTest, QuantisedFilesStayClose) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden(GetParam()));
  ASSERT_TRUE(original);
  fs::create_directory(dir / "two");
  const fs::path a = dir / "m.gguf", b = dir / "two/m.gguf";
  ASSERT_TRUE(convert(**original, a, {.dtype = DType::q4_k, .threads = 1}));
  ASSERT_TRUE(convert(**original, b, {.dtype = DType::q4_k, .threads = 2}));
  EXPECT_TRUE(text_of(a) == text_of(b)) << "the result depends on threads";
  const auto gguf = Checkpoint::open(a);
  ASSERT_TRUE(gguf) << gguf.error().message;
  for (const CheckpointTensor& t : (*original)->tensors()) {
    // Rows of llama change places, and V4 gets its official names: other tests look at those.
    if (!t.name.ends_with("mlp.down_proj.weight")) continue;
    ASSERT_NE((*gguf)->find(t.name), nullptr);
    const std::vector<float> x = numbers(t.view), y = numbers((*gguf)->find(t.name)->view);
    double error = 0, norm = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::pow(static_cast<double>(x[i]) - y[i], 2);
      norm += std::pow(static_cast<double>(x[i]), 2);
    }
    EXPECT_LT(error, 0.01 * norm) << t.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, ConvertTest,
                         testing::Values("llama", "qwen2", "deepseek_v2", "deepseek_v2_lite",
                                         "deepseek_v3", "deepseek_v32", "deepseek_v4"));

TEST(ConvertFp8Test, ScalesAreMultipliedIn) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("deepseek_v3_fp8"));
  ASSERT_TRUE(original);
  const fs::path file = dir / "model.gguf";
  const auto report = convert(**original, file, {.dtype = DType::f32});
  ASSERT_TRUE(report) << report.error().message;
  const auto gguf = Checkpoint::open(file);
  ASSERT_TRUE(gguf) << gguf.error().message;
  EXPECT_EQ((*gguf)->config().find("quantization_config"), nullptr);
  const std::string stem = "model.layers.0.mlp.down_proj.weight";
  const std::vector<float> fp8 = numbers((*original)->find(stem)->view);
  const std::vector<float> scale = numbers((*original)->find(stem + "_scale_inv")->view);
  const std::vector<float> out = numbers((*gguf)->find(stem)->view);
  for (size_t n = 0; n < 256; n += 37) {
    for (size_t k = 0; k < 384; k += 41) {
      EXPECT_EQ(out[n * 384 + k], fp8[n * 384 + k] * scale[n / 128 * 3 + k / 128]);
    }
  }
  EXPECT_EQ((*gguf)->find(stem + "_scale_inv"), nullptr);
}

TEST(ConvertTest, LlamaRowsBecomeNeighboursAndTheFlagSaysSo) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("llama"));
  const fs::path file = dir / "model.gguf";
  ASSERT_TRUE(convert(**original, file, {.dtype = DType::f32}));
  const auto gguf = Checkpoint::open(file);
  ASSERT_TRUE(gguf);
  EXPECT_TRUE(*(*gguf)->config().bool_at("hadal_rope_interleaved"));
  const std::string name = "model.layers.0.self_attn.k_proj.weight";
  const std::vector<float> halves = numbers((*original)->find(name)->view);
  const std::vector<float> neighbours = numbers((*gguf)->find(name)->view);
  const size_t width = 64, half = 8;  // head_dim 16
  for (size_t head = 0; head < 2; ++head) {
    for (size_t i = 0; i < half; ++i) {
      EXPECT_EQ(neighbours[(head * 16 + 2 * i) * width], halves[(head * 16 + i) * width]);
      EXPECT_EQ(neighbours[(head * 16 + 2 * i + 1) * width],
                halves[(head * 16 + half + i) * width]);
    }
  }
  // Our own reader has the formula; the table for other readers must not be applied twice.
  EXPECT_EQ((*gguf)->find("rope_freqs.weight"), nullptr);
}

/// A GGUF file with k_b and v_b instead of kv_b, as llama.cpp's newer converter writes.
void write_split_latent(const Checkpoint& from, const fs::path& out) {
  const json::Value& c = from.config();
  const int64_t heads = *c.int_at("num_attention_heads"), latent = *c.int_at("kv_lora_rank");
  const int64_t nope = *c.int_at("qk_nope_head_dim"), value = *c.int_at("v_head_dim");
  const fs::path joined = out.string() + ".joined";
  ASSERT_TRUE(convert(from, joined, {.dtype = DType::f32}));
  const auto map = MappedFile::open(joined);
  const auto gguf = Gguf::parse(map->bytes());
  GgufWriter w;
  ASSERT_TRUE(put_model_metadata(w, c, {.name = "split", .latent_split = true}));
  std::vector<std::vector<float>> data;
  for (const GgufTensor& t : gguf->tensors()) {
    std::vector<float> all(t.bytes.size() / 4);
    std::memcpy(all.data(), t.bytes.data(), t.bytes.size());
    std::string name(t.name);
    const size_t at = name.find("attn_kv_b");
    if (at == std::string::npos) {
      ASSERT_TRUE(w.add_tensor(name, DType::f32, t.shape));
      data.push_back(std::move(all));
      continue;
    }
    std::vector<float> k, v;
    for (int64_t h = 0; h < heads; ++h) {
      const float* head = all.data() + h * (nope + value) * latent;
      for (int64_t i = 0; i < latent; ++i) {
        for (int64_t n = 0; n < nope; ++n) k.push_back(head[n * latent + i]);
      }
      v.insert(v.end(), head + nope * latent, head + (nope + value) * latent);
    }
    ASSERT_TRUE(
        w.add_tensor(name.replace(at, 9, "attn_k_b"), DType::f32, Shape{heads, latent, nope}));
    ASSERT_TRUE(
        w.add_tensor(name.replace(at, 8, "attn_v_b"), DType::f32, Shape{heads, value, latent}));
    data.push_back(std::move(k));
    data.push_back(std::move(v));
  }
  auto file = OutputFile::create(out);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write(w.header()));
  for (const auto& d : data) {
    ASSERT_TRUE(file->write(std::as_bytes(std::span(d))));
    ASSERT_TRUE(file->pad(GgufWriter::kAlignment));
  }
  ASSERT_TRUE(file->commit());
}

TEST(ConvertTest, SplitLatentProjectionsAreJoined) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("deepseek_v3"));
  const fs::path file = dir / "split.gguf";
  write_split_latent(**original, file);
  const auto split = Checkpoint::open(file);
  ASSERT_TRUE(split) << split.error().message;
  EXPECT_EQ((*split)->find("model.layers.0.self_attn.kv_b_proj.weight"), nullptr);
  EXPECT_EQ((*split)->find("model.layers.0.self_attn.k_b_proj.weight")->view.shape,
            (Shape{4, 32, 16}));
  EXPECT_TRUE(tensor_problems(**split)->empty());
  ASSERT_TRUE(
      convert(**split, dir / "back", {.to = CheckpointKind::safetensors, .dtype = DType::f32}));
  expect_same_numbers(**original, **Checkpoint::open(dir / "back"));
  // GGUF to GGUF leaves them as they are.
  ASSERT_TRUE(convert(**split, dir / "again.gguf", {.dtype = DType::f32}));
  expect_same_numbers(**split, **Checkpoint::open(dir / "again.gguf"));
}

TEST(ConvertTest, NothingIsLeftBehindWhenStopped) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("deepseek_v3"));
  ConvertOptions options{.dtype = DType::q8_0};
  options.progress = [](uint64_t done, uint64_t) { return done < 100000; };
  EXPECT_EQ(convert(**original, dir / "m.gguf", options).error().code, ErrorCode::cancelled);
  options.to = CheckpointKind::safetensors;
  options.dtype = DType::f32;
  EXPECT_EQ(convert(**original, dir / "m", options).error().code, ErrorCode::cancelled);
  EXPECT_TRUE(fs::is_empty(dir.path()));
  options.dtype = DType::q4_k;
  EXPECT_EQ(convert(**original, dir / "m", options).error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace hadal::format
