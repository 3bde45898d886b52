#include "format/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "format/internal/random_weights.h"
#include "format/internal/temp_dir.h"
#include "format/mapped_file.h"
#include "format/model_size.h"
#include "format/quantize.h"
#include "format/rearranged_checkpoint.h"
#include "format/tensor_list.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

TEST(RandomWeightsTest, DeviationsAreAsAsked) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0,
                            DType::q4_k, DType::q5_k, DType::q6_k}) {
    const DTypeInfo& info = dtype_info(dtype);
    std::vector<float> values(256 * 256);
    std::vector<std::byte> bytes(values.size() / static_cast<size_t>(info.block_elems) *
                                 static_cast<size_t>(info.block_bytes));
    fill_random(dtype, 0.02f, 5, bytes);
    ASSERT_TRUE(dequantize(dtype, bytes, values));
    double sum = 0, square = 0;
    for (const float v : values) {
      ASSERT_TRUE(std::isfinite(v));
      sum += v;
      square += static_cast<double>(v) * v;
    }
    const auto n = static_cast<double>(values.size());
    const double deviation = std::sqrt(square / n);
    EXPECT_GT(deviation, 0.02 / 1.5) << dtype_name(dtype);
    EXPECT_LT(deviation, 0.02 * 1.5) << dtype_name(dtype);
    EXPECT_LT(std::fabs(sum / n), 0.15 * deviation) << dtype_name(dtype);
  }
}

TEST(SynthTest, EveryShapeOpensAndIsWhole) {
  for (const std::string_view shape : synth_shapes()) {
    const TempDir dir;
    SynthOptions options{
        .shape = std::string(shape), .dtype = DType::q8_0, .layers = 1, .vocab = 512, .experts = 8};
    // The dense layers at the start would hide the experts.
    const auto full = synth_config({.shape = std::string(shape)});
    ASSERT_TRUE(full);
    const bool large = *full->int_at("hidden_size") > 4096;
    if (large) continue;
    const fs::path file = dir / "m.gguf";
    const auto report = synthesize(options, file);
    ASSERT_TRUE(report) << shape << report.error().message;
    const auto c = Checkpoint::open(file);
    ASSERT_TRUE(c) << shape << ": " << c.error().message;
    const auto problems = tensor_problems(**c);
    ASSERT_TRUE(problems) << problems.error().message;
    EXPECT_TRUE(problems->empty()) << shape << ": " << problems->front();
    EXPECT_TRUE((*c)->tokenizer_source()) << shape;
  }
}

TEST(SynthTest, DraftLayersAreMadeAndMayBeMissing) {
  for (const char* shape : {"deepseek-v4-flash", "deepseek-v3"}) {
    SynthOptions options{.shape = shape, .layers = 1, .vocab = 300, .experts = 8};
    options.draft_layers = 1;
    const auto specs = expected_tensors(*synth_config(options));
    ASSERT_TRUE(specs) << specs.error().message;
    EXPECT_TRUE(std::ranges::any_of(
        *specs, [](const auto& s) { return s.name.ends_with(".enorm.weight"); }));
    options.draft_layers = 0;
    const auto without = expected_tensors(*synth_config(options));
    EXPECT_EQ(std::ranges::count_if(*specs, [](const auto& s) { return s.only_with.empty(); }),
              static_cast<ptrdiff_t>(without->size()));
  }
  EXPECT_FALSE(synth_config({.shape = "deepseek-v2-lite", .draft_layers = 1}));
  const TempDir dir;
  for (const char* out : {"m.gguf", "m"}) {
    const bool gguf = std::string_view(out) == "m.gguf";
    SynthOptions options{.shape = "deepseek-v4-flash", .vocab = 300, .experts = 2};
    options.to = gguf ? CheckpointKind::gguf : CheckpointKind::safetensors;
    options.dtype = gguf ? DType::q8_0 : DType::bf16;
    options.layers = options.draft_layers = 1;
    ASSERT_TRUE(synthesize(options, dir / out));
    auto c = Checkpoint::open(dir / out);
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_TRUE(tensor_problems(**c)->empty()) << tensor_problems(**c)->front();
    RearrangedCheckpoint changed(*std::move(c));
    changed.drop("mtp.0.hc_attn_fn");
    EXPECT_EQ(tensor_problems(changed)->size(), 1u) << "a draft layer that is there is whole";
    changed.drop("mtp.0.");
    EXPECT_TRUE(tensor_problems(changed)->empty()) << "or it is not there at all";
  }
}

TEST(SynthTest, ParameterCountsAreTheModels) {
  const std::pair<const char*, double> billions[] = {{"deepseek-r1-distill-qwen-1.5b", 1.777},
                                                     {"deepseek-r1-distill-llama-8b", 8.03},
                                                     {"deepseek-llm-7b", 6.91},
                                                     {"deepseek-moe-16b", 16.4},
                                                     {"deepseek-v2-lite", 15.7},
                                                     {"deepseek-v2", 235.7},
                                                     {"deepseek-v3", 671.0},
                                                     {"deepseek-v4-flash", 284.0},
                                                     {"deepseek-r1-distill-qwen-32b", 32.8},
                                                     {"deepseek-r1-distill-llama-70b", 70.6}};
  for (const auto& [shape, expected] : billions) {
    const auto specs = expected_tensors(*synth_config({.shape = shape}));
    ASSERT_TRUE(specs) << specs.error().message;
    double sum = 0;
    for (const TensorSpec& s : *specs) sum += static_cast<double>(s.shape.elements());
    EXPECT_NEAR(sum / 1e9, expected, 0.01 * expected) << shape;
  }
}

TEST(SynthTest, SameBytesWhateverTheThreads) {
  const TempDir dir;
  const auto bytes = [&](int threads) {
    SynthOptions options{.shape = "deepseek-coder-1.3b",
                         .dtype = DType::q4_k,
                         .layers = 1,
                         .vocab = 300,
                         .threads = threads};
    EXPECT_TRUE(synthesize(options, dir / "m.gguf"));
    std::ifstream in(dir / "m.gguf", std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  };
  EXPECT_TRUE(bytes(1) == bytes(3));
}

TEST(SynthTest, NativeSafetensorsHaveScales) {
  const TempDir dir;
  SynthOptions options{.shape = "deepseek-v4-flash",
                       .to = CheckpointKind::safetensors,
                       .dtype = DType::f8_e4m3,
                       .layers = 1,
                       .vocab = 300,
                       .experts = 2};
  const auto report = synthesize(options, dir / "m");
  ASSERT_TRUE(report) << report.error().message;
  const auto c = Checkpoint::open(dir / "m");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ((*c)->find("layers.0.ffn.experts.1.w1.weight")->view.dtype, DType::f4_e2m1);
  EXPECT_EQ((*c)->find("layers.0.attn.wq_b.weight")->view.dtype, DType::f8_e4m3);
  EXPECT_EQ((*c)->find("layers.0.attn.wq_b.scale")->view.dtype, DType::f8_e8m0);
  EXPECT_TRUE(tensor_problems(**c)->empty());
  EXPECT_FALSE((*c)->tokenizer_source()->tokenizer_json.empty());
}

TEST(SynthTest, Int8HasAScalePerRow) {
  const TempDir dir;
  SynthOptions options{.shape = "deepseek-v2-lite",
                       .to = CheckpointKind::safetensors,
                       .dtype = DType::i8,
                       .layers = 2,
                       .vocab = 300,
                       .experts = 8};
  const auto report = synthesize(options, dir / "m");
  ASSERT_TRUE(report) << report.error().message;
  const auto c = Checkpoint::open(dir / "m");
  ASSERT_TRUE(c) << c.error().message;
  const std::string stem = "model.layers.1.mlp.experts.1.up_proj.weight";
  EXPECT_EQ((*c)->find(stem)->view.dtype, DType::i8);
  EXPECT_EQ((*c)->find(stem + "_scale")->view.shape, (Shape{1408, 1}));
  EXPECT_EQ((*c)->find("lm_head.weight")->view.dtype, DType::bf16);
  EXPECT_TRUE(tensor_problems(**c)->empty());
  // INT8 counts as weights, and converts to other types.
  const auto size = model_size(**c);
  ASSERT_TRUE(size);
  EXPECT_GT(size->parameters, 60'000'000u);
  ASSERT_TRUE(convert(**c, dir / "m.gguf", {.dtype = DType::q8_0}));
  const auto q8 = Checkpoint::open(dir / "m.gguf");
  std::vector<float> a(2048), b(2048);
  const auto row = [](const Checkpoint& from, const std::string& name, std::vector<float>& out) {
    const ConstTensorView v = from.find(name)->view.rows(3, 1);
    ASSERT_TRUE(dequantize(v.dtype, {v.data, static_cast<size_t>(v.bytes())}, out));
  };
  row(**c, stem, a);
  row(**q8, stem, b);
  float scale = 0;
  std::memcpy(&scale, (*c)->find(stem + "_scale")->view.data + 3 * 4, 4);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i] * scale, b[i], 0.005f * 127 * scale);
  options.to = CheckpointKind::gguf;
  EXPECT_EQ(synthesize(options, dir / "i8.gguf").error().code, ErrorCode::unsupported);
}

TEST(SynthTest, TokenizersSurviveBothDirections) {
  for (const char* shape :
       {"deepseek-r1-distill-qwen-1.5b", "deepseek-coder-1.3b", "deepseek-v2-lite"}) {
    const TempDir dir;
    ASSERT_TRUE(synthesize({.shape = shape,
                            .to = CheckpointKind::safetensors,
                            .dtype = DType::bf16,
                            .layers = 1,
                            .vocab = 300,
                            .experts = 8},
                           dir / "hf"));
    const auto hf = Checkpoint::open(dir / "hf");
    if (std::string_view(shape) == "deepseek-v2-lite") {
      // The published V3 file has the line ends themselves in its pattern.
      std::string text = (*hf)->tokenizer_source()->tokenizer_json;
      const std::string escaped = R"([^\\r\\n\\p{L})", plain = R"([^\r\n\\p{L})";
      ASSERT_NE(text.find(escaped), std::string::npos);
      text.replace(text.find(escaped), escaped.size(), plain);
      dir.write("hf/tokenizer.json", text);
    }
    ASSERT_TRUE(convert(**hf, dir / "m.gguf", {.dtype = DType::q8_0}));
    const auto gguf = Checkpoint::open(dir / "m.gguf");
    const auto lists = (*gguf)->tokenizer_source();
    ASSERT_TRUE(lists) << lists.error().message;
    EXPECT_TRUE(lists->tokenizer_json.empty()) << "its pre-tokenizer has a name";
    EXPECT_EQ(lists->tokens.size(), 300u);
    EXPECT_EQ(lists->tokens[256], "<｜begin▁of▁sentence｜>");
    EXPECT_EQ(lists->token_types[256], 3);
    EXPECT_EQ(lists->bos_id, 256);
    EXPECT_EQ(lists->eos_id, 257);
    EXPECT_EQ(lists->add_bos, true);
    ASSERT_TRUE(
        convert(**gguf, dir / "back", {.to = CheckpointKind::safetensors, .dtype = DType::bf16}));
    const auto back = (*Checkpoint::open(dir / "back"))->tokenizer_source();
    ASSERT_TRUE(back);
    if (std::string_view(shape) != "deepseek-v2-lite") {
      EXPECT_EQ(back->tokenizer_json, (*hf)->tokenizer_source()->tokenizer_json);
    }
    EXPECT_EQ(back->tokenizer_config_json, (*hf)->tokenizer_source()->tokenizer_config_json);
  }
}

TEST(SynthTest, RefusesWhatItCannotMake) {
  const TempDir dir;
  EXPECT_EQ(synthesize({.shape = "gpt"}, dir / "m").error().code, ErrorCode::not_found);
  EXPECT_EQ(synthesize({.shape = "deepseek-v3", .vocab = 100}, dir / "m").error().code,
            ErrorCode::invalid_argument);
}

TEST(ModelSizeTest, KvBytesAreTheModels) {
  // With 2-byte elements. Source: the published KV sizes per token.
  const std::pair<const char*, uint64_t> cases[] = {{"deepseek-r1-distill-qwen-1.5b", 28672},
                                                    {"deepseek-r1-distill-llama-8b", 131072},
                                                    {"deepseek-v2-lite", 31104},
                                                    {"deepseek-v3", 70272}};
  for (const auto& [shape, bytes] : cases) {
    ModelSize size;
    ASSERT_TRUE(kv_size(*synth_config({.shape = shape}), size));
    EXPECT_EQ(size.kv_bytes_per_token, bytes) << shape;
  }
  ModelSize v4;
  ASSERT_TRUE(kv_size(*synth_config({.shape = "deepseek-v4-flash"}), v4));
  EXPECT_EQ(v4.kv_bytes_per_token, 21u * (512 + 128) * 2 / 4 + 20u * 512 * 2 / 128);
  EXPECT_EQ(v4.kv_bytes_per_sequence, 43u * 128 * 512 * 2);
}

TEST(ModelSizeTest, CountsActiveParametersAndFindsBadNumbers) {
  const TempDir dir;
  ASSERT_TRUE(synthesize(
      {.shape = "deepseek-v2-lite", .dtype = DType::bf16, .layers = 2, .vocab = 300, .experts = 8},
      dir / "m.gguf"));
  const auto c = Checkpoint::open(dir / "m.gguf");
  ASSERT_TRUE(c);
  const auto size = model_size(**c);
  ASSERT_TRUE(size);
  // One layer has 8 experts of 3 * 2048 * 1408, of which 6 are used.
  EXPECT_EQ(size->parameters - size->parameters_active, 2u * 3 * 2048 * 1408);
  EXPECT_LT(size->weight_bytes, (*c)->bytes());
  EXPECT_TRUE(tensors_not_finite(**c, 2).empty());
  const CheckpointTensor* norm = (*c)->find("model.norm.weight");
  std::fstream file(dir / "m.gguf", std::ios::in | std::ios::out | std::ios::binary);
  const auto map = MappedFile::open(dir / "m.gguf");
  // The offset of the norm: the mapping of the checkpoint begins somewhere below it.
  const std::byte* begin = (*c)->tensors().front().view.data;
  for (const CheckpointTensor& t : (*c)->tensors()) begin = std::min(begin, t.view.data);
  const auto tail = static_cast<uint64_t>(norm->view.data - begin);
  const uint64_t data = fs::file_size(dir / "m.gguf") - [&] {
    uint64_t bytes = 0;
    for (const CheckpointTensor& t : (*c)->tensors()) {
      bytes = std::max(bytes, static_cast<uint64_t>(t.view.data - begin + t.view.bytes()));
    }
    return (bytes + 31) / 32 * 32;
  }();
  file.seekp(static_cast<std::streamoff>(data + tail));
  file.write("\0\0\xC0\x7F", 4);
  file.close();
  EXPECT_EQ(tensors_not_finite(**c, 1), std::vector<std::string>{"model.norm.weight"});
}

TEST(TensorListTest, FindsWhatIsMissingOrMisshapen) {
  for (const char* name : {"llama", "qwen2", "deepseek_v2", "deepseek_v2_lite", "deepseek_v3",
                           "deepseek_v32", "deepseek_v3_fp8", "deepseek_v4"}) {
    const auto c = Checkpoint::open(fs::path(HADAL_SOURCE_DIR) / "tests/golden" / name);
    ASSERT_TRUE(c);
    const auto problems = tensor_problems(**c);
    ASSERT_TRUE(problems) << problems.error().message;
    EXPECT_TRUE(problems->empty()) << name << ": " << problems->front();
  }
  const TempDir dir;
  dir.write("config.json", R"({"model_type":"llama","hidden_size":4,"vocab_size":8,
      "num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":4})");
  std::string file(8, '\0');
  const std::string head =
      R"({"model.norm.weight":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  file[0] = static_cast<char>(head.size());
  dir.write("model.safetensors", file + head + "abc");
  const auto problems = tensor_problems(**Checkpoint::open(dir.path()));
  ASSERT_TRUE(problems);
  EXPECT_EQ(problems->size(), 12u);
  EXPECT_EQ(problems->back(), "'lm_head.weight' [8, 4] is missing");
  EXPECT_EQ(problems->at(10), "'model.norm.weight' is [3], the configuration says [4]");
}

}  // namespace
}  // namespace hadal::format
