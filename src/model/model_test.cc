#include <gtest/gtest.h>

#include "json/json.h"
#include "model/config.h"
#include "model/rope.h"

namespace hadal::model {
namespace {

json::Value parsed(std::string_view text) { return *json::parse(text); }

json::Value llama() {
  return parsed(R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
    "eos_token_id": [3, 4, 100]})");
}

json::Value v3() {
  return parsed(
      R"({"architectures": ["DeepseekV3ForCausalLM"], "vocab_size": 100, "hidden_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "kv_lora_rank": 32,
    "q_lora_rank": null, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2,
    "norm_topk_prob": true, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
    "routed_scaling_factor": 2.5})");
}

TEST(ModelConfigTest, ReadsDenseModels) {
  const auto c = read_model_config(llama());
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->attention, AttentionFamily::gqa);
  EXPECT_EQ(c->head_dim, 16);
  EXPECT_EQ(c->eos_ids, (std::vector<int32_t>{3, 4})) << "100 is outside the vocabulary";
  EXPECT_FALSE(c->is_moe_layer(0));
}

TEST(ModelConfigTest, ReadsLatentMoeModels) {
  const auto c = read_model_config(v3());
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->attention, AttentionFamily::mla);
  EXPECT_EQ(c->mla.q_lora, 0);
  EXPECT_EQ(c->moe.group_score_top, 2);
  EXPECT_FALSE(c->is_moe_layer(0));
  EXPECT_TRUE(c->is_moe_layer(1));
}

// Each change must be refused, and the message must name the key.
TEST(ModelConfigTest, RefusesSenselessValuesByName) {
  const std::pair<const char*, json::Value> kBad[] = {
      {"vocab_size", 0},
      {"hidden_size", -1},
      {"num_hidden_layers", int64_t{1} << 40},
      {"num_attention_heads", 0},
      {"kv_lora_rank", "x"},
      {"qk_rope_head_dim", 7},
      {"num_experts_per_tok", 9},
      {"n_group", 3},
      {"topk_group", 5},
      {"scoring_func", "tanh"},
      {"moe_layer_freq", 0},
      {"rms_norm_eps", 2},
      {"hidden_act", "gelu"},
      {"topk_method", "random"},
      {"intermediate_size", nullptr},
  };
  for (const auto& [key, value] : kBad) {
    json::Value config = v3();
    config.set(key, value);
    const auto c = read_model_config(config);
    ASSERT_FALSE(c) << key;
    EXPECT_NE(c.error().message.find(key == std::string("topk_group") ? "topk_group" : key),
              std::string::npos)
        << c.error().message;
  }
  json::Value unknown = v3();
  unknown.set("architectures", json::Array{json::Value("GptForCausalLM")});
  EXPECT_EQ(read_model_config(unknown).error().code, ErrorCode::unsupported);
  EXPECT_FALSE(read_model_config(json::Value(3)));
}

TEST(RopeTest, BothSpellingsMeanTheSame) {
  json::Value old_way = llama();
  old_way.set("rope_theta", 500000.0);
  old_way.set("rope_scaling", parsed(R"({"type": "linear", "factor": 4})"));
  json::Value new_way = llama();
  new_way.set("rope_parameters",
              parsed(R"({"rope_type": "linear", "factor": 4, "rope_theta": 500000.0})"));
  const auto a = read_rope_config(old_way);
  const auto b = read_rope_config(new_way);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(rope_inv_freq(*a, 16), rope_inv_freq(*b, 16));
  EXPECT_FLOAT_EQ(rope_inv_freq(*a, 16)[0], 0.25f);
}

// Expected values: the formulas of the papers, evaluated in double precision by a separate script.
TEST(RopeTest, YarnAndLlama3MatchTheirFormulas) {
  const RopeConfig yarn{.type = "yarn",
                        .theta = 10000,
                        .factor = 40,
                        .original_context = 4096,
                        .mscale = 1,
                        .mscale_all_dim = 1};
  const auto y = rope_inv_freq(yarn, 64);
  EXPECT_FLOAT_EQ(y[0], 1.0f);
  EXPECT_NEAR(y[10], 0.05623413251903491, 1e-7);
  EXPECT_NEAR(y[15], 0.008334508951020777, 1e-8);
  EXPECT_NEAR(y[31], 3.3338035804083097e-06, 1e-10);
  EXPECT_EQ(rope_attention_factor(yarn), 1);
  EXPECT_NEAR(rope_softmax_factor(yarn), 1.36888794541 * 1.36888794541, 1e-9);
  const RopeConfig llama3{.type = "llama3", .theta = 500000, .factor = 8, .original_context = 8192};
  const auto l = rope_inv_freq(llama3, 128);
  EXPECT_NEAR(l[28], 0.003211445994752591, 1e-8);
  EXPECT_NEAR(l[30], 0.0013718935677611381, 1e-8);
  EXPECT_NEAR(l[35], 9.556212353964683e-05, 1e-9);
  EXPECT_NEAR(l[63], 3.068925988914511e-07, 1e-12);
  const RopeConfig plain{.type = "yarn", .theta = 1e6, .factor = 4, .original_context = 32768};
  EXPECT_NEAR(rope_attention_factor(plain), 1.13862943611, 1e-9);
  EXPECT_EQ(rope_softmax_factor(plain), 1);
}

TEST(RopeTest, RefusesUnknownTypesAndSenselessNumbers) {
  for (const char* bad :
       {R"({"rope_type": "dynamic", "factor": 2})", R"({"rope_type": "linear", "factor": 0})",
        R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
                              "original_max_position_embeddings": 32})",
        R"({"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": -1})",
        R"([1])"}) {
    json::Value config = llama();
    config.set("rope_scaling", parsed(bad));
    EXPECT_FALSE(read_rope_config(config)) << bad;
  }
}

}  // namespace
}  // namespace hadal::model
