#include "format/gguf.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "format/checkpoint.h"
#include "format/gguf_names.h"
#include "format/gguf_writer.h"
#include "format/internal/temp_dir.h"

namespace hadal::format {
namespace {

/// Bytes of a hand-made file, good or bad.
class Bytes {
 public:
  template <class T>
  Bytes& number(T v) {
    text_.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  Bytes& u32(uint32_t v) { return number(v); }
  Bytes& u64(uint64_t v) { return number(v); }
  Bytes& string(std::string_view s) {
    u64(s.size());
    text_.append(s);
    return *this;
  }
  Bytes& raw(std::string_view s) {
    text_.append(s);
    return *this;
  }
  Bytes& pad(size_t alignment = 32) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  Bytes& zeros(size_t n) {
    text_.append(n, '\0');
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

Bytes header(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
  return Bytes().raw("GGUF").u32(version).u64(tensors).u64(pairs);
}
/// One tensor entry of type `type` with innermost-first extents.
Bytes& entry(Bytes& b, std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
             uint64_t offset) {
  b.string(name).u32(static_cast<uint32_t>(dims.size()));
  for (const uint64_t d : dims) b.u64(d);
  return b.u32(type).u64(offset);
}
std::string one_tensor(const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset,
                       size_t data_bytes) {
  Bytes b = header(1, 0);
  return entry(b, "t", dims, type, offset).pad().zeros(data_bytes).text();
}
std::string two_tensors(std::string_view second, uint64_t second_offset) {
  Bytes b = header(2, 0);
  entry(b, "a", {8}, 0, 0);
  return entry(b, second, {8}, 0, second_offset).pad().zeros(96).text();
}
std::string one_pair(const Bytes& pair) { return header(0, 1).raw(pair.text()).pad().text(); }
std::string with_alignment(const Bytes& value) {
  return one_pair(Bytes().string("general.alignment").raw(value.text()));
}

Result<Gguf> parse(const std::string& file) {
  return Gguf::parse(std::as_bytes(std::span(file.data(), file.size())));
}

struct BadFile {
  const char* what;
  std::string file;
  const char* message;
  ErrorCode code = ErrorCode::corrupt;
};

std::vector<BadFile> bad_headers() {
  return {
      {"empty", "", "ends inside its header"},
      {"wrong magic", "GGUX" + std::string(20, '\0'), "does not begin"},
      {"version 0", header(0, 0, 0).text(), "version 0", ErrorCode::unsupported},
      {"version 1", header(0, 0, 1).text(), "version 1", ErrorCode::unsupported},
      {"version 4", header(0, 0, 4).text(), "version 4", ErrorCode::unsupported},
      {"big-endian", header(0, 0, 0x03000000).text(), "big-endian", ErrorCode::unsupported},
      {"G1 tensor count", header(std::numeric_limits<uint64_t>::max(), 0).text(), "tensors"},
      {"G8 tensor count times overhead", header(uint64_t{1} << 61, 0).zeros(999).text(), "tensors"},
      {"G1 pair count", header(0, uint64_t{1} << 60).text(), "metadata pairs"},
      {"pair count beyond the file", header(0, 3).zeros(30).text(), "metadata pairs"},
  };
}

std::vector<BadFile> bad_pairs() {
  const uint64_t huge = std::numeric_limits<uint64_t>::max();
  const auto array = [](uint32_t element, uint64_t count) {
    return Bytes().string("k").u32(9).u32(element).u64(count);
  };
  return {
      {"G2 key length wraps", one_pair(Bytes().u64(huge).zeros(20)), "a string of"},
      {"key length beyond the file", one_pair(Bytes().u64(60000).zeros(20)), "ends inside"},
      {"G12 empty key", one_pair(Bytes().string("").u32(4).u32(0).zeros(8)), "key is empty"},
      {"key with a newline", one_pair(Bytes().string("a\nb").u32(4).u32(0)), "not ASCII"},
      {"G13 value type", one_pair(Bytes().string("k").u32(13).zeros(8)), "value type 13"},
      {"boolean of 2", one_pair(Bytes().string("k").u32(7).number<uint8_t>(2)), "boolean"},
      {"G2 string length", one_pair(Bytes().string("k").u32(8).u64(huge)), "a string of"},
      {"string beyond the file", one_pair(Bytes().string("k").u32(8).u64(1000)), "ends inside"},
      {"G13 array of arrays", one_pair(array(9, 1).u32(4).u64(0)), "array of arrays"},
      {"G13 array element type", one_pair(array(99, 1).zeros(8)), "value type 99"},
      {"G14 array count", one_pair(array(0, uint64_t{1} << 63)), "remain"},
      {"G14 string array count", one_pair(array(8, uint64_t{1} << 61)), "remain"},
      {"G14 count times size wraps", one_pair(array(10, (uint64_t{1} << 61) + 1)), "remain"},
      {"string array ends early", one_pair(array(8, 2).string("x").u64(99)), "ends inside"},
      {"G12 key twice",
       header(0, 2).string("k").u32(4).u32(1).string("k").u32(4).u32(2).pad().text(), "twice"},
      {"G11 alignment type", with_alignment(Bytes().u32(10).u64(32)), "not a u32"},
      {"G11 alignment 0", with_alignment(Bytes().u32(4).u32(0)), "power of two"},
      {"G11 alignment 48", with_alignment(Bytes().u32(4).u32(48)), "power of two"},
      {"G6 alignment huge", with_alignment(Bytes().u32(4).u32(1u << 31)), "power of two"},
  };
}

std::vector<BadFile> bad_tensors() {
  const uint64_t big = uint64_t{1} << 32;
  Bytes long_name = header(1, 0);
  entry(long_name, std::string(65, 'n'), {8}, 0, 0).pad().zeros(32);
  Bytes no_name = header(1, 0);
  entry(no_name, "", {8}, 0, 0).pad().zeros(32);
  return {
      {"G12 name too long", long_name.text(), "a string of 65"},
      {"G12 name empty", no_name.text(), "name is empty"},
      {"G12 name twice", two_tensors("a", 32), "twice"},
      {"rank 0", one_tensor({}, 0, 0, 64), "rank 0"},
      {"rank 5", one_tensor({1, 1, 1, 1, 1}, 0, 0, 64), "rank 5"},
      {"extent 0", one_tensor({0, 8}, 0, 0, 64), "extents"},
      {"extent negative", one_tensor({~uint64_t{0}}, 0, 0, 64), "extents"},
      {"G5 product wraps", one_tensor({big, big}, 0, 0, 64), "overflows"},
      {"G7 bytes wrap", one_tensor({uint64_t{1} << 61}, 27, 0, 64), "overflows"},
      {"G7 row not whole blocks", one_tensor({33}, 8, 0, 64), "whole blocks"},
      {"type 4 (removed)", one_tensor({32}, 4, 0, 64), "type 4", ErrorCode::unsupported},
      {"type 999", one_tensor({32}, 999, 0, 64), "type 999", ErrorCode::unsupported},
      {"G10 offset not aligned", one_tensor({8}, 0, 4, 64), "not a multiple"},
      {"G9 offset beyond the file", one_tensor({8}, 0, 4096, 64), "do not lie"},
      {"G3 offset plus size wraps", one_tensor({8}, 0, ~uint64_t{31}, 64), "do not lie"},
      {"G9 size beyond the file", one_tensor({1000}, 0, 0, 64), "cut short"},
      {"G10 overlap", two_tensors("b", 0), "overlap"},
      {"no data section", header(1, 0).string("t").u32(1).u64(8).u32(0).u64(0).text(), "data"},
  };
}

TEST(GgufTest, RefusesEveryKindOfCorruption) {
  for (const auto& group : {bad_headers(), bad_pairs(), bad_tensors()}) {
    for (const BadFile& c : group) {
      const auto parsed = parse(c.file);
      ASSERT_FALSE(parsed) << c.what;
      EXPECT_EQ(parsed.error().code, c.code) << c.what << ": " << parsed.error().message;
      EXPECT_NE(parsed.error().message.find(c.message), std::string::npos)
          << c.what << ": " << parsed.error().message;
    }
  }
}

TEST(GgufTest, ReadsValuesOfEveryType) {
  Bytes b = header(0, 8);
  b.string("u8").u32(0).number<uint8_t>(200).string("i64").u32(11).number<int64_t>(-5);
  b.string("f64").u32(12).number(0.5).string("big").u32(10).u64(~uint64_t{0});
  b.string("flag").u32(7).number<uint8_t>(1).string("s").u32(8).string("text");
  b.string("list").u32(9).u32(3).u64(2).number<int16_t>(-1).number<int16_t>(7);
  b.string("words").u32(9).u32(8).u64(2).string("a").string("");
  const std::string file = b.text();
  const auto g = parse(file);
  ASSERT_TRUE(g) << g.error().message;
  EXPECT_EQ(g->find("u8")->as_int(), 200);
  EXPECT_EQ(g->find("i64")->as_int(), -5);
  EXPECT_EQ(g->find("f64")->as_double(), 0.5);
  EXPECT_EQ(g->find("big")->as_int(), std::nullopt);
  EXPECT_EQ(g->find("flag")->as_bool(), true);
  EXPECT_EQ(g->find("flag")->as_int(), std::nullopt);
  EXPECT_EQ(g->find("s")->as_string(), "text");
  EXPECT_EQ(*g->find("list")->as_ints(), (std::vector<int64_t>{-1, 7}));
  EXPECT_EQ(g->find("words")->as_strings()->at(1), "");
  EXPECT_EQ(g->find("words")->as_ints(), std::nullopt);
  EXPECT_FALSE(g->int_at("i64", 0, 10));
  EXPECT_FALSE(g->int_at("s", 0, 10));
  EXPECT_FALSE(g->bool_or("u8", false));
  EXPECT_EQ(*g->int_or("absent", 3, 0, 10), 3);
}

TEST(GgufTest, ShapesAreOutermostFirstAndGapsAreAllowed) {
  const std::string file = one_tensor({4, 2, 3}, 0, 32, 128);
  const auto g = parse(file);
  ASSERT_TRUE(g) << g.error().message;
  EXPECT_EQ(g->tensors()[0].shape, (Shape{3, 2, 4}));
  EXPECT_EQ(g->tensors()[0].bytes.size(), 96u);
}

TEST(GgufNamesTest, TranslationsAreInverse) {
  const std::pair<const char*, const char*> cases[] = {
      {"llama", "model.layers.3.self_attn.q_proj.bias"},
      {"qwen3", "model.layers.0.self_attn.k_norm.weight"},
      {"deepseek2", "model.layers.60.mlp.gate.e_score_correction_bias"},
      {"deepseek2", "model.layers.60.self_attn.kv_a_proj_with_mqa.weight"},
      {"deepseek32", "model.layers.1.self_attn.indexer.k_norm.bias"},
      {"deepseek4", "layers.7.attn.indexer.compressor.ape"},
      {"deepseek4", "layers.7.ffn.gate.tid2eid"},
      {"deepseek4", "hc_head_fn"},
      {"deepseek4", "mtp.0.e_proj.weight"},
      {"llama", "lm_head.weight"},
      {"llama", "something.else"},
  };
  for (const auto& [arch, name] : cases) {
    const GgufName gguf = gguf_name_of_hf(arch, name);
    EXPECT_FALSE(gguf.expert);
    EXPECT_EQ(hf_name_of_gguf(arch, gguf.name), name) << gguf.name;
  }
  const GgufName expert = gguf_name_of_hf("deepseek4", "layers.2.ffn.experts.17.w2.weight");
  EXPECT_EQ(expert.name, "blk.2.ffn_down_exps.weight");
  EXPECT_EQ(expert.expert, 17);
  EXPECT_EQ(hf_name_of_gguf("deepseek2", "blk.2.ffn_up_exps.weight"),
            "model.layers.2.mlp.experts.{e}.up_proj.weight");
  EXPECT_EQ(gguf_name_of_hf("deepseek4", "model.layers.0.attn.norm.weight").name,
            "blk.0.attn_kv_a_norm.weight");
  EXPECT_EQ(gguf_name_of_hf("deepseek4", "model.hc_head.hc_base").name, "output_hc_base.weight");
}

/// The least llama model; `change` may spoil it.
struct Model {
  GgufWriter w;
  std::vector<std::string> tokens = {"a", "b", "c", "d"};

  explicit Model(const std::function<void(Model&)>& change = {}) {
    values = {{"block_count", 1},
              {"context_length", 64},
              {"embedding_length", 32},
              {"feed_forward_length", 64},
              {"attention.head_count", 2}};
    if (change) change(*this);
    w.put_string("general.architecture", arch);
    for (const auto& [key, v] : values) w.put_u32(arch + "." + key, v);
    w.put_f32(arch + ".attention.layer_norm_rms_epsilon", eps);
    w.put_string("tokenizer.ggml.model", "gpt2");
    w.put_strings("tokenizer.ggml.tokens", tokens);
    w.put_strings("tokenizer.ggml.merges", merges);
    w.put_i32s("tokenizer.ggml.token_type", types);
    EXPECT_TRUE(w.add_tensor("token_embd.weight", DType::f32, Shape{4, 32}));
  }
  std::string file() const {
    std::string out = w.header();
    out.resize(w.file_bytes());
    return out;
  }

  std::string arch = "llama";
  std::map<std::string, uint32_t> values;
  std::vector<std::string> merges = {"a b"};
  std::vector<int32_t> types = {1, 1, 1, 3};
  float eps = 1e-6f;
};

TEST(GgufCheckpointTest, TheLeastModelOpens) {
  const std::string file = Model().file();
  const auto c =
      Checkpoint::open_image(std::as_bytes(std::span(file.data(), file.size())), "image");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(*(*c)->config().int_at("head_dim"), 16);
  EXPECT_EQ(*(*c)->config().double_at("rms_norm_eps"), 1e-6);
  EXPECT_TRUE(*(*c)->config().bool_at("tie_word_embeddings"));
  EXPECT_TRUE(*(*c)->config().bool_at("hadal_rope_interleaved"));
  EXPECT_NE((*c)->find("model.embed_tokens.weight"), nullptr);
  const auto tokenizer = (*c)->tokenizer_source();
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->tokens.size(), 4u);
}

/// Hyper-parameters of a mixture of experts with latent attention, for arch deepseek2 and 32.
void make_latent(Model& m) {
  m.arch = "deepseek32";
  m.values = {{"block_count", 2},
              {"context_length", 64},
              {"embedding_length", 32},
              {"feed_forward_length", 64},
              {"attention.head_count", 2},
              {"attention.kv_lora_rank", 16},
              {"attention.key_length", 24},
              {"attention.value_length", 16},
              {"rope.dimension_count", 8},
              {"expert_count", 4},
              {"expert_used_count", 2},
              {"expert_feed_forward_length", 16},
              {"leading_dense_block_count", 1},
              {"attention.indexer.head_count", 2},
              {"attention.indexer.key_length", 8},
              {"attention.indexer.top_k", 4}};
  m.w.put_string("deepseek32.rope.scaling.type", "yarn");
  m.w.put_f32("deepseek32.rope.scaling.factor", 4);
  m.w.put_u32("deepseek32.rope.scaling.original_context_length", 16);
  EXPECT_TRUE(m.w.add_tensor("blk.1.ffn_up_exps.weight", DType::f32, Shape{4, 2, 8}));
  EXPECT_TRUE(m.w.add_tensor("blk.1.attn_k_b.weight", DType::q8_0, Shape{2, 2, 32}));
}

TEST(GgufCheckpointTest, StackedExpertsAreTakenApart) {
  const std::string file = Model(make_latent).file();
  const auto c =
      Checkpoint::open_image(std::as_bytes(std::span(file.data(), file.size())), "image");
  ASSERT_TRUE(c) << c.error().message;
  const CheckpointTensor* first = (*c)->find("model.layers.1.mlp.experts.0.up_proj.weight");
  const CheckpointTensor* last = (*c)->find("model.layers.1.mlp.experts.3.up_proj.weight");
  ASSERT_NE(first, nullptr);
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(last->view.shape, (Shape{2, 8}));
  EXPECT_EQ(last->view.data - first->view.data, 3 * 2 * 8 * 4);
  EXPECT_EQ(*(*c)->config().int_at("qk_nope_head_dim"), 16);
  EXPECT_EQ(*(*c)->config().find("rope_scaling")->double_at("factor"), 4.0);
  const std::string wrong = Model([](Model& m) {
                              make_latent(m);
                              m.values["expert_count"] = 5;
                            }).file();
  EXPECT_NE(Checkpoint::open_image(std::as_bytes(std::span(wrong.data(), wrong.size())), "image")
                .error()
                .message.find("holds 4 experts"),
            std::string::npos);
}

struct BadModel {
  const char* what;
  std::function<void(Model&)> change;
  const char* message;
};

std::vector<BadModel> impossible_models() {
  return {
      {"arch", [](Model& m) { m.arch = "mamba"; }, "architecture 'mamba'"},
      {"G15 layers", [](Model& m) { m.values["block_count"] = 5000; }, "block_count"},
      {"G15 zero heads", [](Model& m) { m.values["attention.head_count"] = 0; }, "head_count"},
      {"G15 heads", [](Model& m) { m.values["attention.head_count"] = 3; },
       "multiple of the heads"},
      {"G15 kv heads", [](Model& m) { m.values["attention.head_count_kv"] = 7; }, "key-value"},
      {"missing width", [](Model& m) { m.values.erase("embedding_length"); }, "missing"},
      {"experts in llama", [](Model& m) { m.values["expert_count"] = 8; }, "with experts"},
      {"not a number", [](Model& m) { m.eps = std::numeric_limits<float>::quiet_NaN(); }, "finite"},
      {"bos id", [](Model& m) { m.w.put_u32("tokenizer.ggml.bos_token_id", 4); }, "outside"},
      {"kept config disagrees",
       [](Model& m) {
         m.w.put_string("hadal.config_json", R"({"model_type":"llama","hidden_size":33})");
       },
       "differ in 'hidden_size'"},
      {"kept config of another model",
       [](Model& m) { m.w.put_string("hadal.config_json", R"({"model_type":"qwen2"})"); },
       "another architecture"},
      {"kept config broken", [](Model& m) { m.w.put_string("hadal.config_json", "{"); }, "line 1"},
      {"split image", [](Model& m) { m.w.put_u32("split.count", 2); }, "split file"},
  };
}

std::vector<BadModel> odd_tokenizers() {
  return {
      {"G19 types shorter", [](Model& m) { m.types.pop_back(); }, "token_type"},
      {"G18 type out of range", [](Model& m) { m.types[0] = -1; }, "token_type"},
      {"G19 merge without a pair", [](Model& m) { m.merges[0] = "ab"; }, "not a pair"},
      {"merge with nothing behind", [](Model& m) { m.merges[0] = "a "; }, "not a pair"},
      {"no tokens", [](Model& m) { m.tokens.clear(); }, "missing or empty"},
      {"G16 token too long", [](Model& m) { m.tokens[0] = std::string(70000, 'x'); }, "64 KiB"},
  };
}

/// Writes fuzz/corpus/gguf: one seed per kind of bad file, and good ones.
TEST(GgufCorpus, DISABLED_Write) {
  const std::filesystem::path dir = std::filesystem::path(HADAL_SOURCE_DIR) / "fuzz/corpus/gguf";
  const auto write = [&](std::string name, const std::string& file) {
    for (char& c : name) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
    }
    std::ofstream(dir / name, std::ios::binary) << file;
  };
  for (const auto& group : {bad_headers(), bad_pairs(), bad_tensors()}) {
    for (const BadFile& c : group) write(c.what, c.file);
  }
  for (const auto& group : {impossible_models(), odd_tokenizers()}) {
    for (const BadModel& c : group) {
      const std::string file = Model(c.change).file();
      if (file.size() < 10000) write(std::string("model_") + c.what, file);
    }
  }
  write("good_llama", Model().file());
  write("good_latent", Model(make_latent).file());
}

TEST(GgufCheckpointTest, RefusesImpossibleModels) {
  for (const BadModel& c : impossible_models()) {
    const std::string file = Model(c.change).file();
    const auto opened =
        Checkpoint::open_image(std::as_bytes(std::span(file.data(), file.size())), "image");
    ASSERT_FALSE(opened) << c.what;
    EXPECT_NE(opened.error().message.find(c.message), std::string::npos)
        << c.what << ": " << opened.error().message;
  }
}

TEST(GgufCheckpointTest, RefusesTokenizersThatDoNotFit) {
  for (const BadModel& c : odd_tokenizers()) {
    const std::string file = Model(c.change).file();
    const auto opened =
        Checkpoint::open_image(std::as_bytes(std::span(file.data(), file.size())), "image");
    ASSERT_TRUE(opened) << c.what << opened.error().message;
    const auto source = (*opened)->tokenizer_source();
    ASSERT_FALSE(source) << c.what;
    EXPECT_NE(source.error().message.find(c.message), std::string::npos) << source.error().message;
  }
}

TEST(GgufCheckpointTest, SplitFilesOpenFromAnyPart) {
  const TempDir dir;
  const auto part = [&](uint32_t number, bool second) {
    const Model m([&](Model& model) {
      model.w.put_u32("split.no", number);
      model.w.put_u32("split.count", 2);
      model.w.put_u32("split.tensors.count", 2);
    });
    if (!second) return m.file();
    GgufWriter w;
    w.put_u32("split.no", number);
    w.put_u32("split.count", 2);
    EXPECT_TRUE(w.add_tensor("output_norm.weight", DType::f32, Shape{32}));
    std::string file = w.header();
    file.resize(w.file_bytes());
    return file;
  };
  const auto one = dir.write("m-00001-of-00002.gguf", part(0, false));
  EXPECT_EQ(Checkpoint::open(one).error().code, ErrorCode::not_found);
  const auto two = dir.write("m-00002-of-00002.gguf", part(1, true));
  for (const auto& path : {one, two, dir.path()}) {
    const auto c = Checkpoint::open(path);
    ASSERT_TRUE(c) << c.error().message;
    EXPECT_EQ((*c)->files().size(), 2u);
    EXPECT_NE((*c)->find("model.norm.weight"), nullptr);
  }
  dir.write("config.json", "{}");
  EXPECT_TRUE(Checkpoint::open(dir.path()));
  dir.write("m-00002-of-00002.gguf", part(0, true));
  EXPECT_NE(Checkpoint::open(one).error().message.find("says it is part 0"), std::string::npos);
  const auto other = dir.write("renamed.gguf", part(0, false));
  EXPECT_NE(Checkpoint::open(other).error().message.find("rename"), std::string::npos);
}

}  // namespace
}  // namespace hadal::format
