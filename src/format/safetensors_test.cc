#include "format/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "format/checkpoint.h"
#include "format/digest.h"
#include "format/internal/temp_dir.h"
#include "format/mapped_file.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

/// A file with this header and `data_bytes` bytes 0, 1, 2, ...
std::string file_of(const std::string& header, size_t data_bytes) {
  std::string out(8, '\0');
  const uint64_t n = header.size();
  std::memcpy(out.data(), &n, 8);
  out += header;
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
  return out;
}

std::span<const std::byte> bytes_of(const std::string& s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}

TEST(SafetensorsTest, ReadsTensorsSortedByName) {
  const std::string file = file_of(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("z":{"dtype":"F4","shape":[1,4],"data_offsets":[16,18]},)"
      R"("e":{"dtype":"I64","shape":[0],"data_offsets":[18,18]}})",
      18);
  const auto parsed = parse_safetensors(bytes_of(file));
  ASSERT_TRUE(parsed) << parsed.error().message;
  ASSERT_EQ(parsed->tensors.size(), 4u);
  EXPECT_EQ(parsed->tensors[0].name, "a");
  EXPECT_EQ(parsed->tensors[0].view.shape.rank(), 0);
  EXPECT_EQ(parsed->tensors[1].view.shape, (Shape{2, 3}));
  EXPECT_EQ(parsed->tensors[1].view.data[0], std::byte{4});
  EXPECT_EQ(parsed->tensors[3].view.dtype, DType::f4_e2m1);
  EXPECT_EQ(parsed->metadata[0].second, "pt");
}

struct BadFile {
  const char* what;
  std::string file;
  ErrorCode code;
  const char* message;
};

std::vector<BadFile> bad_files() {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
           offsets + "}}";
  };
  std::string lying_length = file_of(entry("F32", "[1]", "[0,4]"), 4);
  lying_length[0] = '\x7f';
  std::string huge_length = lying_length;
  huge_length[7] = '\x7f';
  const std::string deep = "{\"w\":" + std::string(1000, '[') + std::string(1000, ']') + "}";
  return {
      {"empty", "", ErrorCode::corrupt, "shorter than"},
      {"cut length", "abc", ErrorCode::corrupt, "shorter than"},
      {"header beyond the file", lying_length, ErrorCode::corrupt, "download the file again"},
      {"header over 100 MB", huge_length, ErrorCode::corrupt, "is this a safetensors file"},
      {"not JSON", file_of("{\"w\":", 0), ErrorCode::corrupt, "line 1"},
      {"not an object", file_of("[]", 0), ErrorCode::corrupt, "not a JSON object"},
      {"too deep", file_of(deep, 0), ErrorCode::corrupt, "deeper"},
      {"too many values", file_of("{\"w\":[" + std::string(2000, '[') + "]}", 0),
       ErrorCode::corrupt, "header"},
      {"metadata not strings", file_of(R"({"__metadata__":{"a":1}})", 0), ErrorCode::corrupt,
       "__metadata__"},
      {"entry no object", file_of(R"({"w":3})", 0), ErrorCode::corrupt, "not an object"},
      {"no dtype", file_of(R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4), ErrorCode::corrupt,
       "'dtype'"},
      {"F64", file_of(entry("F64", "[1]", "[0,8]"), 8), ErrorCode::unsupported, "F64"},
      {"unknown dtype", file_of(entry("X9", "[1]", "[0,8]"), 8), ErrorCode::unsupported, "X9"},
      {"rank 6", file_of(entry("U8", "[1,1,1,1,1,1]", "[0,1]"), 1), ErrorCode::unsupported,
       "rank 6"},
      {"negative extent", file_of(entry("U8", "[-1]", "[0,1]"), 1), ErrorCode::corrupt,
       "non-negative"},
      {"fractional extent", file_of(entry("U8", "[1.5]", "[0,1]"), 1), ErrorCode::corrupt,
       "non-negative"},
      {"product overflows", file_of(entry("U8", "[4294967296,4294967296]", "[0,0]"), 0),
       ErrorCode::corrupt, "overflows"},
      {"product overflows past a zero",
       file_of(entry("U8", "[0,4294967296,4294967296]", "[0,0]"), 0), ErrorCode::corrupt,
       "overflows"},
      {"bytes overflow", file_of(entry("I64", "[4611686018427387903]", "[0,8]"), 8),
       ErrorCode::too_large, "64 bits"},
      {"shape against bytes", file_of(entry("F32", "[2]", "[0,4]"), 4), ErrorCode::corrupt,
       "needs 8 bytes"},
      {"half a byte", file_of(entry("F4", "[3]", "[0,2]"), 2), ErrorCode::corrupt, "whole blocks"},
      {"range backwards", file_of(entry("F32", "[1]", "[4,0]"), 4), ErrorCode::corrupt,
       "do not lie"},
      {"range beyond", file_of(entry("F32", "[1]", "[4,8]"), 4), ErrorCode::corrupt, "cut short"},
      {"range huge", file_of(entry("F32", "[1]", "[9223372036854775804,9223372036854775807]"), 4),
       ErrorCode::corrupt, "do not lie"},
      {"offsets no pair", file_of(entry("F32", "[1]", "[0]"), 4), ErrorCode::corrupt, "pair"},
      {"hole", file_of(entry("F32", "[1]", "[4,8]"), 8), ErrorCode::corrupt, "hole"},
      {"tail", file_of(entry("F32", "[1]", "[0,4]"), 8), ErrorCode::corrupt, "end at byte 4"},
      {"overlap",
       file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
               R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
               6),
       ErrorCode::corrupt, "overlap"},
      {"one name twice",
       file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
               R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
               8),
       ErrorCode::corrupt, "hole"},
      {"empty name", file_of(R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       ErrorCode::corrupt, "name"},
      {"name with a newline",
       file_of(R"({"a\nb":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       ErrorCode::corrupt, "name"},
  };
}

/// Writes fuzz/corpus/safetensors: one seed per kind of bad file, and a good one.
TEST(SafetensorsCorpus, DISABLED_Write) {
  const fs::path dir = fs::path(HADAL_SOURCE_DIR) / "fuzz/corpus/safetensors";
  for (const BadFile& c : bad_files()) {
    std::string name = c.what;
    for (char& ch : name) {
      if (ch == ' ') ch = '_';
    }
    std::ofstream(dir / name, std::ios::binary) << c.file;
  }
  std::ofstream(dir / "good", std::ios::binary)
      << file_of(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],)"
                 R"("data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
                 16);
}

TEST(SafetensorsTest, RefusesEveryKindOfCorruption) {
  for (const BadFile& c : bad_files()) {
    const auto parsed = parse_safetensors(bytes_of(c.file));
    ASSERT_FALSE(parsed) << c.what;
    EXPECT_EQ(parsed.error().code, c.code) << c.what << ": " << parsed.error().message;
    EXPECT_NE(parsed.error().message.find(c.message), std::string::npos)
        << c.what << ": " << parsed.error().message;
  }
}

TEST(SafetensorsTest, EveryTruncationOfARealFileIsRefused) {
  const auto map =
      MappedFile::open(fs::path(HADAL_SOURCE_DIR) / "tests/golden/qwen2/model.safetensors");
  ASSERT_TRUE(map);
  for (size_t n = 0; n < map->bytes().size(); n += 1 + n / 7) {
    EXPECT_FALSE(parse_safetensors(map->bytes().first(n))) << n;
  }
  EXPECT_TRUE(parse_safetensors(map->bytes()));
}

TEST(HfCheckpointTest, OpensADirectoryAndAFileOfIt) {
  const fs::path dir = fs::path(HADAL_SOURCE_DIR) / "tests/golden/deepseek_v3_fp8";
  for (const fs::path& path : {dir, dir / "model.safetensors"}) {
    const auto c = Checkpoint::open(path);
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_EQ((*c)->kind(), CheckpointKind::safetensors);
    EXPECT_EQ(*(*c)->config().string_at("model_type"), "deepseek_v3");
    const CheckpointTensor* t = (*c)->find("model.layers.0.mlp.down_proj.weight");
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(t->view.dtype, DType::f8_e4m3);
    EXPECT_EQ(t->view.shape, (Shape{256, 384}));
    EXPECT_EQ((*c)->find("model.layers.0.mlp.down_proj"), nullptr);
    EXPECT_EQ((*c)->tokenizer_source().error().code, ErrorCode::not_found);
    EXPECT_EQ((*c)->bytes(), fs::file_size(dir / "model.safetensors"));
  }
}

TEST(HfCheckpointTest, ReadsShardsAndTokenizerFiles) {
  const TempDir dir;
  dir.write("config.json", R"({"model_type":"llama"})");
  dir.write("generation_config.json", R"({"temperature":0.6})");
  dir.write("tokenizer.json", "{}");
  dir.write(
      "tokenizer_config.json",
      R"({"chat_template":[{"name":"tool","template":"T"},{"name":"default","template":"D"}]})");
  dir.write("one.safetensors",
            file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2));
  dir.write("two.safetensors",
            file_of(R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3));
  dir.write("model.safetensors.index.json",
            R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const auto c = Checkpoint::open(dir.path());
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ((*c)->tensors().size(), 2u);
  EXPECT_EQ((*c)->files().size(), 2u);
  EXPECT_EQ(*(*c)->generation_config().double_at("temperature"), 0.6);
  EXPECT_EQ((*c)->tokenizer_source()->chat_template, "D");
  dir.write("model-1-of-1.safetensors", "not looked at: the index names the shards");
  EXPECT_EQ((*Checkpoint::open(dir / "model-1-of-1.safetensors"))->tensors().size(), 2u);
  dir.write("chat_template.jinja", "J");
  EXPECT_EQ((*c)->tokenizer_source()->chat_template, "J");

  struct BadIndex {
    const char* text;
    ErrorCode code;
    const char* message;
  };
  const BadIndex cases[] = {
      {R"({"weight_map":{"a":"one.safetensors","b":"gone.safetensors"}})", ErrorCode::not_found,
       "shard is missing"},
      {R"({"weight_map":{"a":"one.safetensors","c":"one.safetensors"}})", ErrorCode::corrupt,
       "'c' of the index"},
      {R"({"weight_map":{"a":"../one.safetensors"}})", ErrorCode::corrupt, "plain file name"},
      {R"({"weight_map":{}})", ErrorCode::corrupt, "0 shards"},
      {R"({"map":{}})", ErrorCode::corrupt, "weight_map"},
      {R"({"weight_map":)", ErrorCode::corrupt, "line 1"},
  };
  for (const BadIndex& b : cases) {
    dir.write("model.safetensors.index.json", b.text);
    const auto bad = Checkpoint::open(dir.path());
    ASSERT_FALSE(bad) << b.text;
    EXPECT_EQ(bad.error().code, b.code) << bad.error().message;
    EXPECT_NE(bad.error().message.find(b.message), std::string::npos) << bad.error().message;
  }
  dir.write("two.safetensors",
            file_of(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3));
  dir.write("model.safetensors.index.json",
            R"({"weight_map":{"a":"one.safetensors","x":"two.safetensors"}})");
  EXPECT_NE(Checkpoint::open(dir.path()).error().message.find("twice"), std::string::npos);
}

TEST(HfCheckpointTest, PackedFp4IsPresentedAsFp4) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors",
            file_of(R"({"w1.scale":{"dtype":"U8","shape":[2,1],"data_offsets":[0,2]},)"
                    R"("w1.weight":{"dtype":"I8","shape":[2,16],"data_offsets":[2,34]},)"
                    R"("w2.weight":{"dtype":"I8","shape":[2,16],"data_offsets":[34,66]}})",
                    66));
  const auto c = Checkpoint::open(dir.path());
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ((*c)->find("w1.weight")->view.dtype, DType::f4_e2m1);
  EXPECT_EQ((*c)->find("w1.weight")->view.shape, (Shape{2, 32}));
  EXPECT_EQ((*c)->find("w1.weight")->view.bytes(), 32);
  EXPECT_EQ((*c)->find("w1.scale")->view.dtype, DType::f8_e8m0);
  EXPECT_EQ((*c)->find("w2.weight")->view.dtype, DType::i8);
}

TEST(CheckpointTest, SaysWhatAPathLacks) {
  const TempDir dir;
  EXPECT_EQ(Checkpoint::open(dir / "nothing").error().code, ErrorCode::not_found);
  EXPECT_NE(Checkpoint::open(dir.path()).error().message.find("neither config.json"),
            std::string::npos);
  dir.write("a.bin", "x");
  EXPECT_EQ(Checkpoint::open(dir / "a.bin").error().code, ErrorCode::unsupported);
  dir.write("m.safetensors", "x");
  EXPECT_NE(Checkpoint::open(dir / "m.safetensors").error().message.find("no config.json"),
            std::string::npos);
}

TEST(DigestTest, MatchesTheStandardsExample) {
  Sha256 sha;
  const std::string a = "a", bc = "bc";
  sha.update(bytes_of(a));
  sha.update(bytes_of(bc));
  EXPECT_EQ(to_hex(sha.finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha.finish()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const TempDir dir;
  EXPECT_EQ(*sha256_of_file(dir.write("abc", "abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace hadal::format
