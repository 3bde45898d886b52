// Which types a quantized file gets, the importance matrix, and both in a written file.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "format/convert.h"
#include "format/gguf.h"
#include "format/gguf_writer.h"
#include "format/internal/temp_dir.h"
#include "format/mapped_file.h"
#include "format/output_file.h"
#include "format/quantize.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) {
  return fs::path(HADAL_SOURCE_DIR) / "tests/golden" / name;
}

TEST(StorageDtypeTest, FallsBackWhereBlocksDoNotFit) {
  const std::string up = "model.layers.0.mlp.up_proj.weight";
  EXPECT_EQ(storage_dtype(up, Shape{8, 512}, DType::q4_k), DType::q4_k);
  EXPECT_EQ(storage_dtype(up, Shape{8, 1408}, DType::q4_k), DType::iq4_nl);
  EXPECT_EQ(storage_dtype(up, Shape{8, 1408}, DType::q5_k), DType::q8_0);
  EXPECT_EQ(storage_dtype(up, Shape{8, 24}, DType::q4_k), DType::f16);
  EXPECT_EQ(storage_dtype("lm_head.weight", Shape{8, 512}, DType::mxfp4), DType::q6_k);
  EXPECT_EQ(storage_dtype("lm_head.weight", Shape{8, 512}, DType::bf16), DType::bf16);
  EXPECT_EQ(storage_dtype("model.layers.0.mlp.gate.weight", Shape{8, 512}, DType::q4_k),
            DType::f32);
  EXPECT_EQ(storage_dtype("model.norm.weight", Shape{512}, DType::bf16), DType::f32);
}

DType type_of(const TypeMix& mix, const std::string& hf, const std::string& gguf,
              int64_t layers = 16) {
  return mix.dtype_of({.hf_name = hf, .gguf_name = gguf, .shape = Shape{8, 512}, .layers = layers});
}

TEST(TypeMixTest, MediumGivesMoreBitsToValuesAndDownProjectionsOfSomeLayers) {
  const TypeMix plain = *TypeMix::create("q4_k"), medium = *TypeMix::create("q4_k_m");
  const auto down = [](int layer) {
    return "model.layers." + std::to_string(layer) + ".mlp.experts.7.down_proj.weight";
  };
  std::string more;
  for (int layer = 0; layer < 16; ++layer) {
    EXPECT_EQ(type_of(plain, down(layer), ""), DType::q4_k);
    if (type_of(medium, down(layer), "") == DType::q6_k) more += std::to_string(layer) + " ";
  }
  // The first and the last eighth, and every third between.
  EXPECT_EQ(more, "0 1 4 7 10 13 14 15 ");
  EXPECT_EQ(type_of(medium, "model.layers.0.self_attn.v_proj.weight", ""), DType::q6_k);
  EXPECT_EQ(type_of(medium, "model.layers.0.self_attn.kv_b_proj.weight", ""), DType::q6_k);
  EXPECT_EQ(type_of(medium, "model.layers.0.self_attn.q_proj.weight", ""), DType::q4_k);
  EXPECT_EQ(type_of(medium, "lm_head.weight", ""), DType::q6_k);
  EXPECT_EQ(type_of(medium, "model.layers.0.mlp.gate.weight", ""), DType::f32);
}

TEST(TypeMixTest, TheFirstOverrideThatMatchesEitherNameCounts) {
  const std::string texts[] = {"^blk\\.(0|1)\\.ffn_down=q8_0", "down_proj=mxfp4", "nothing=f16"};
  const TypeMix mix = *TypeMix::create("q4_k_m", texts);
  EXPECT_EQ(type_of(mix, "model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"),
            DType::q8_0);
  EXPECT_EQ(type_of(mix, "model.layers.2.mlp.down_proj.weight", "blk.2.ffn_down.weight"),
            DType::mxfp4);
  EXPECT_EQ(type_of(mix, "model.layers.2.mlp.up_proj.weight", "blk.2.ffn_up.weight"), DType::q4_k);
  EXPECT_EQ(mix.unmatched(), std::vector<std::string>{"nothing=f16"});
}

TEST(TypeMixTest, RefusesWhatItDoesNotKnow) {
  for (const char* name : {"q4", "q8_0_m", "f16", "", "_m", "i8"}) {
    EXPECT_FALSE(TypeMix::create(name)) << name;
  }
  for (const std::string text : {"a=q9", "a", "=q8_0", "(a=q8_0", "a=i32", "a="}) {
    const auto mix = TypeMix::create("q8_0", std::span(&text, 1));
    ASSERT_FALSE(mix) << text;
    EXPECT_EQ(mix.error().param, "tensor-type");
  }
}

std::map<DType, int> types_in(const fs::path& file) {
  std::map<DType, int> out;
  for (const CheckpointTensor& t : (*Checkpoint::open(file))->tensors()) ++out[t.view.dtype];
  return out;
}

TEST(QuantizeFileTest, AMixIsWrittenAndCounted) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("deepseek_v3"));
  ASSERT_TRUE(original);
  const std::string texts[] = {"ffn_up_exps=mxfp4"};
  const TypeMix mix = *TypeMix::create("iq4_nl", texts);
  const auto report = convert(**original, dir / "m.gguf", {.mix = &mix});
  ASSERT_TRUE(report) << report.error().message;
  uint64_t tensors = 0;
  for (const auto& [dtype, share] : report->types) tensors += share.tensors;
  EXPECT_EQ(tensors, report->tensors);
  EXPECT_GT(report->types.at(DType::mxfp4).numbers, 0u);
  EXPECT_EQ(report->types.at(DType::mxfp4).bytes, report->types.at(DType::mxfp4).numbers / 32 * 17);
  EXPECT_GT(types_in(dir / "m.gguf")[DType::iq4_nl], 0);
  const std::string typo[] = {"ffn_upp=q8_0"};
  const TypeMix wrong = *TypeMix::create("iq4_nl", typo);
  EXPECT_EQ(convert(**original, dir / "w.gguf", {.mix = &wrong}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_FALSE(fs::exists(dir / "w.gguf"));
}

TEST(QuantizeFileTest, WhatIsQuantizedIsNotQuantizedAgainUnasked) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("llama"));
  ASSERT_TRUE(convert(**original, dir / "q8.gguf", {.dtype = DType::q8_0}));
  const auto quantized = Checkpoint::open(dir / "q8.gguf");
  const auto to = [&](const char* name, bool requantize) {
    const TypeMix mix = *TypeMix::create(name);
    return convert(**quantized, dir / "again.gguf", {.mix = &mix, .requantize = requantize});
  };
  const auto refused = to("q4_0", false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(refused.error().hint.find("--allow-requantize"), std::string::npos);
  EXPECT_TRUE(to("q4_0", true));
  EXPECT_TRUE(to("q8_0", false)) << "a copy loses nothing";
}

// V4's experts are FP4 with a power of two per 32: MXFP4 is the same numbers.
TEST(QuantizeFileTest, Fp4ExpertsBecomeMxfp4WithoutLoss) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("deepseek_v4_official"));
  ASSERT_TRUE(original);
  const TypeMix mix = *TypeMix::create("mxfp4");
  ASSERT_TRUE(convert(**original, dir / "m.gguf", {.mix = &mix, .requantize = false}));
  ASSERT_TRUE(convert(**original, dir / "f.gguf", {.dtype = DType::f32}));
  const auto a = Checkpoint::open(dir / "m.gguf"), b = Checkpoint::open(dir / "f.gguf");
  int experts = 0;
  for (const CheckpointTensor& t : (*a)->tensors()) {
    if (t.name.find(".experts.") == std::string::npos) continue;
    ++experts;
    EXPECT_EQ(t.view.dtype, DType::mxfp4);
    const CheckpointTensor* u = (*b)->find(t.name);
    std::vector<float> x(static_cast<size_t>(t.view.shape.elements())), y(x.size());
    ASSERT_TRUE(dequantize(t.view.dtype, {t.view.data, static_cast<size_t>(t.view.bytes())}, x));
    ASSERT_TRUE(dequantize(u->view.dtype, {u->view.data, static_cast<size_t>(u->view.bytes())}, y));
    ASSERT_EQ(x, y) << t.name;
  }
  EXPECT_GT(experts, 0);
}

// ---- importance ----

TEST(ImportanceTest, MeansAreRatiosWithinABlockAndNeverZero) {
  ImportanceEntry e{.blocks = 2, .channels = 2, .sums = std::vector<float>(4), .counts = {0, 0}};
  e.add(0, std::vector<float>{3, 0});
  e.add(0, std::vector<float>{1, 0});
  const std::vector<float> means = e.means();
  EXPECT_EQ(e.counts, (std::vector<float>{2, 0}));
  EXPECT_FLOAT_EQ(means[0], 2.0f + 1e-5f);
  EXPECT_FLOAT_EQ(means[1], 1e-5f);
  EXPECT_EQ(means[2], 1);  // a block that met no token
  EXPECT_EQ(means[3], 1);
}

TEST(ImportanceTest, WrittenFilesReadBack) {
  const TempDir dir;
  ImportanceMatrix m;
  m.datasets = {"text.txt"};
  m.chunks = 3;
  m.chunk_tokens = 512;
  m.entry("blk.0.attn_q.weight", 1, 3).add(0, std::vector<float>{1, 2, 3});
  m.entry("blk.0.ffn_up_exps.weight", 4, 2).add(2, std::vector<float>{5, 6});
  ASSERT_TRUE(m.write(dir / "i.gguf"));
  const auto back = ImportanceMatrix::open(dir / "i.gguf");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->datasets, m.datasets);
  EXPECT_EQ(back->chunks, 3u);
  EXPECT_EQ(back->chunk_tokens, 512u);
  ASSERT_EQ(back->entries().size(), 2u);
  const ImportanceEntry& e = *back->find("blk.0.ffn_up_exps.weight");
  EXPECT_EQ(e.blocks, 4);
  EXPECT_EQ(e.sums, (std::vector<float>{0, 0, 0, 0, 25, 36, 0, 0}));
  EXPECT_EQ(e.counts, (std::vector<float>{0, 0, 1, 0}));
}

/// An importance file with one entry; `spoil` changes what is written.
struct OneEntry {
  std::string type = "imatrix";
  Shape sums{2, 3}, counts{2, 1};
  std::vector<float> numbers = std::vector<float>(6, 1.0f);
  bool with_counts = true;
};
std::vector<std::byte> image_of(const OneEntry& o, const TempDir& dir) {
  GgufWriter w;
  w.put_string("general.type", o.type);
  EXPECT_TRUE(w.add_tensor("a.in_sum2", DType::f32, o.sums));
  if (o.with_counts) {
    EXPECT_TRUE(w.add_tensor("a.counts", DType::f32, o.counts));
  }
  auto file = OutputFile::create(dir / "one.gguf");
  EXPECT_TRUE(file->write(w.header()));
  std::vector<float> numbers = o.numbers;
  EXPECT_TRUE(file->write(std::as_bytes(std::span(numbers))));
  EXPECT_TRUE(file->pad(32));
  const std::vector<float> counts(static_cast<size_t>(o.counts.elements()), 1.0f);
  if (o.with_counts) {
    EXPECT_TRUE(file->write(std::as_bytes(std::span(counts))));
  }
  EXPECT_TRUE(file->pad(32));
  EXPECT_TRUE(file->commit());
  const auto map = MappedFile::open(dir / "one.gguf");
  return {map->bytes().begin(), map->bytes().end()};
}

TEST(ImportanceTest, DamagedFilesAreRefused) {
  const TempDir dir;
  EXPECT_TRUE(ImportanceMatrix::parse(image_of({}, dir)));
  // What other writers do with one block: no extent for it.
  EXPECT_TRUE(ImportanceMatrix::parse(
      image_of({.sums = Shape{3}, .counts = Shape{1}, .numbers = {1, 2, 3}}, dir)));
  const OneEntry bad[] = {
      {.type = "model"},
      {.counts = Shape{3, 1}},
      {.with_counts = false},
      {.numbers = {1, 1, 1, 1, 1, -1}},
      {.numbers = {1, 1, 1, 1, 1, INFINITY}},
  };
  for (const OneEntry& one : bad) {
    const auto parsed = ImportanceMatrix::parse(image_of(one, dir));
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, ErrorCode::corrupt);
  }
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(QuantizeFileTest, ImportanceChangesWhatItIsKnownForAndNothingElse) {
  const TempDir dir;
  const auto original = Checkpoint::open(golden("deepseek_v3"));
  const TypeMix mix = *TypeMix::create("q4_0");
  ASSERT_TRUE(convert(**original, dir / "a.gguf", {.mix = &mix}));
  const CheckpointTensor* up = (*original)->find("model.layers.1.mlp.experts.1.up_proj.weight");
  ASSERT_NE(up, nullptr);
  const int64_t channels = up->view.shape.cols();
  const int64_t experts = *(*original)->config().int_at("n_routed_experts");
  ImportanceMatrix m;
  std::vector<float> input(static_cast<size_t>(channels));
  for (size_t i = 0; i < input.size(); ++i) input[i] = i % 2 == 0 ? 1.0f : 0.01f;
  m.entry("blk.1.ffn_up_exps.weight", experts, channels).add(1, input);
  const auto report = convert(**original, dir / "b.gguf", {.mix = &mix, .importance = &m});
  ASSERT_TRUE(report) << report.error().message;
  std::string notes;
  for (const std::string& note : report->notes) notes += note;
  EXPECT_NE(notes.find("nothing for"), std::string::npos);
  const auto a = Checkpoint::open(dir / "a.gguf"), b = Checkpoint::open(dir / "b.gguf");
  for (const CheckpointTensor& t : (*a)->tensors()) {
    const auto* u = (*b)->find(t.name);
    const bool same =
        std::memcmp(t.view.data, u->view.data, static_cast<size_t>(t.view.bytes())) == 0;
    const bool stack =
        t.name.starts_with("model.layers.1.mlp.experts.") && t.name.ends_with(".up_proj.weight");
    EXPECT_TRUE(stack || same) << t.name;
    EXPECT_TRUE(t.name != up->name || !same);
  }
  // Of another model.
  ImportanceMatrix other;
  other.entry("blk.1.ffn_up_exps.weight", experts, channels + 1);
  const auto refused = convert(**original, dir / "c.gguf", {.mix = &mix, .importance = &other});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("another model"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir / "c.gguf"));
  EXPECT_NE(text_of(dir / "b.gguf").find("quantize.imatrix.entries_count"), std::string::npos);
}

}  // namespace
}  // namespace hadal::format
