#include <algorithm>
#include <optional>
#include <utility>

#include "base/units.h"
#include "format/gguf_metadata.h"

namespace hadal::format {
namespace {

constexpr size_t kJsonBytesMax = 128 * kMiB;
constexpr int64_t kTokensMax = 1 << 20;
constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

/// A pre-tokenizer: GGUF's name and the patterns that are applied in turn.
struct Pre {
  std::string_view name;
  std::vector<std::string_view> patterns;
};

// Source: the models' published tokenizer.json (DeepSeek V3, Qwen2, Llama 3).
const std::vector<Pre>& known_pre() {
  static const std::vector<Pre> kKnown = {
      {"deepseek-v3",
       {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
        R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"deepseek-r1-qwen",
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
        R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"llama-bpe",
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
        R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
  };
  return kKnown;
}

/// A pattern with carriage returns and line feeds spelled out: published files have them either
/// way.
std::string spelled_out(std::string_view pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

/// The patterns of a pre_tokenizer object, in order.
void collect_patterns(const json::Value& pre, std::vector<std::string>& out) {
  if (const json::Value* list = pre.find("pretokenizers"); list != nullptr && list->is_array()) {
    for (const json::Value& p : list->as_array()) collect_patterns(p, out);
  }
  const json::Value* pattern = pre.find("pattern");
  if (pattern == nullptr) return;
  for (const char* kind : {"Regex", "String"}) {
    const json::Value* text = pattern->find(kind);
    if (text != nullptr && text->is_string()) out.push_back(spelled_out(text->as_string()));
  }
}

/// GGUF's name for a tokenizer.json's pre-tokenizer, or "" when none of ours is exactly it.
std::string pre_name(const json::Value& root) {
  const json::Value* pre = root.find("pre_tokenizer");
  if (pre == nullptr) return {};
  std::vector<std::string> patterns;
  collect_patterns(*pre, patterns);
  for (const Pre& known : known_pre()) {
    if (std::equal(patterns.begin(), patterns.end(), known.patterns.begin(),
                   known.patterns.end())) {
      return std::string(known.name);
    }
  }
  return {};
}

/// The nearest name for other readers of a file whose exact pre-tokenizer we keep aside.
std::string_view similar_pre(const json::Value& root) {
  std::vector<std::string> patterns;
  if (const json::Value* pre = root.find("pre_tokenizer")) collect_patterns(*pre, patterns);
  for (const std::string& p : patterns) {
    if (p.find("A-Za-z\u00b5\u00c0-\u00d6") != std::string::npos) return "deepseek-llm";
    if (p == R"(\s?\p{L}+)") return "deepseek-coder";
  }
  return "default";
}

/// GGUF's lists.
struct Lists {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
};

Status place_token(Lists& out, const std::string& text, const json::Value& id, int32_t type) {
  if (!id.is_int() || id.as_int() < 0 || id.as_int() >= kTokensMax) {
    return corrupt("tokenizer.json: a token's id is not an integer below " +
                   std::to_string(kTokensMax));
  }
  const auto at = static_cast<size_t>(id.as_int());
  if (at >= out.tokens.size()) {
    out.tokens.resize(at + 1);
    out.types.resize(at + 1, kUnused);
  }
  out.tokens[at] = text;
  out.types[at] = type;
  return {};
}

Result<Lists> lists_of(const json::Value& root) {
  const json::Value* model = root.find("model");
  const json::Value* vocab = model == nullptr ? nullptr : model->find("vocab");
  const json::Value* merges = model == nullptr ? nullptr : model->find("merges");
  if (vocab == nullptr || !vocab->is_object() || merges == nullptr || !merges->is_array()) {
    return unsupported("tokenizer.json: not a BPE model with 'vocab' and 'merges'");
  }
  Lists out;
  for (const auto& [text, id] : vocab->as_object()) {
    TRY_VOID(place_token(out, text, id, kNormal));
  }
  for (const json::Value& m : merges->as_array()) {
    if (m.is_string()) {
      out.merges.push_back(m.as_string());
    } else if (m.is_array() && m.as_array().size() == 2 && m.as_array()[0].is_string() &&
               m.as_array()[1].is_string()) {
      out.merges.push_back(m.as_array()[0].as_string() + " " + m.as_array()[1].as_string());
    } else {
      return corrupt("tokenizer.json: 'merges' has an entry that is not a pair");
    }
  }
  const json::Value* added = root.find("added_tokens");
  if (added != nullptr && added->is_array()) {
    for (const json::Value& a : added->as_array()) {
      TRY(const std::string content, a.string_at("content"));
      TRY(const bool special, a.bool_or("special", false));
      const json::Value* id = a.find("id");
      TRY_VOID(place_token(out, content, id == nullptr ? json::Value() : *id,
                           special ? kControl : kUserDefined));
    }
  }
  return out;
}

/// The id of a token named by tokenizer_config.json, whose value is a string or has "content".
std::optional<int64_t> named_token(const json::Value& config, const char* key, const Lists& lists) {
  const json::Value* v = config.find(key);
  if (v != nullptr && v->is_object()) v = v->find("content");
  if (v == nullptr || !v->is_string()) return std::nullopt;
  const auto it = std::find(lists.tokens.begin(), lists.tokens.end(), v->as_string());
  if (it == lists.tokens.end()) return std::nullopt;
  return it - lists.tokens.begin();
}

/// config.json's bos_token_id or eos_token_id, which may be a list.
std::optional<int64_t> configured_token(const json::Value& config, const char* key) {
  const json::Value* v = config.find(key);
  if (v != nullptr && v->is_array() && !v->as_array().empty()) v = &v->as_array()[0];
  if (v == nullptr || !v->is_int() || v->as_int() < 0) return std::nullopt;
  return v->as_int();
}

Result<json::Value> parse_big(std::string_view text, std::string_view what) {
  auto value = json::parse(text, {.bytes_max = kJsonBytesMax});
  if (!value) return corrupt(std::string(what) + ": " + value.error().message);
  return value;
}

void put_lists(GgufWriter& w, Lists lists, int64_t vocab) {
  const auto rows = static_cast<size_t>(std::clamp<int64_t>(vocab, 0, kTokensMax));
  if (lists.tokens.size() < rows) {
    lists.tokens.resize(rows);
    lists.types.resize(rows, kUnused);
  }
  for (size_t i = 0; i < lists.tokens.size(); ++i) {
    if (lists.types[i] == kUnused && lists.tokens[i].empty()) {
      lists.tokens[i] = "[PAD" + std::to_string(i) + "]";
    }
  }
  w.put_strings("tokenizer.ggml.tokens", lists.tokens);
  w.put_i32s("tokenizer.ggml.token_type", lists.types);
  w.put_strings("tokenizer.ggml.merges", lists.merges);
}

void put_id(GgufWriter& w, std::string_view key, std::optional<int64_t> id, size_t tokens) {
  if (id && *id >= 0 && static_cast<size_t>(*id) < tokens) {
    w.put_u32(key, static_cast<uint32_t>(*id));
  }
}

json::Value added_token(int64_t id, const std::string& text, bool special) {
  json::Value a;
  a.set("id", id);
  a.set("content", text);
  for (const char* key : {"single_word", "lstrip", "rstrip", "normalized"}) a.set(key, false);
  a.set("special", special);
  return a;
}

json::Value byte_level(const char* kind) {
  json::Value b;
  b.set("type", kind);
  b.set("add_prefix_space", false);
  b.set("trim_offsets", true);
  b.set("use_regex", false);
  return b;
}

json::Value pre_tokenizer_json(const Pre& pre) {
  json::Array steps;
  for (const std::string_view pattern : pre.patterns) {
    json::Value regex, split;
    regex.set("Regex", pattern);
    split.set("type", "Split");
    split.set("pattern", std::move(regex));
    split.set("behavior", "Isolated");
    split.set("invert", false);
    steps.push_back(std::move(split));
  }
  steps.push_back(byte_level("ByteLevel"));
  json::Value sequence;
  sequence.set("type", "Sequence");
  sequence.set("pretokenizers", std::move(steps));
  return sequence;
}

/// The names other files use for the same patterns. Source: llama.cpp's list of pre-tokenizers.
std::string_view canonical_pre(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
      {"qwen2", "deepseek-r1-qwen"}, {"joyai-llm", "deepseek-v3"}, {"hunyuan-dense", "deepseek-v3"},
      {"llama3", "llama-bpe"},       {"llama-v3", "llama-bpe"},
  };
  for (const auto& [alias, canonical] : kAliases) {
    if (alias == name) return canonical;
  }
  return name;
}

}  // namespace

Status put_tokenizer_metadata(GgufWriter& w, const TokenizerSource& source,
                              const json::Value& config, int64_t vocab) {
  w.put_string("tokenizer.ggml.model", "gpt2");
  if (!source.chat_template.empty()) w.put_string("tokenizer.chat_template", source.chat_template);
  if (!source.tokenizer_config_json.empty()) {
    w.put_string("hadal.tokenizer_config_json", source.tokenizer_config_json);
  }
  if (source.tokenizer_json.empty()) {  // from GGUF: as it was
    w.put_string("tokenizer.ggml.pre", source.gguf_pre);
    const size_t count = source.tokens.size();
    put_lists(w, {source.tokens, source.token_types, source.merges}, vocab);
    put_id(w, "tokenizer.ggml.bos_token_id", source.bos_id, count);
    put_id(w, "tokenizer.ggml.eos_token_id", source.eos_id, count);
    if (source.add_bos) w.put_bool("tokenizer.ggml.add_bos_token", *source.add_bos);
    return {};
  }
  TRY(const json::Value root, parse_big(source.tokenizer_json, "tokenizer.json"));
  TRY(Lists lists, lists_of(root));
  json::Value settings;
  if (!source.tokenizer_config_json.empty()) {
    TRY(settings, parse_big(source.tokenizer_config_json, "tokenizer_config.json"));
  }
  const std::string pre = pre_name(root);
  w.put_string("tokenizer.ggml.pre", pre.empty() ? similar_pre(root) : pre);
  // A pre-tokenizer GGUF has no exact name for: only the file itself says what it does.
  if (pre.empty()) w.put_string("hadal.tokenizer_json", source.tokenizer_json);
  auto bos = named_token(settings, "bos_token", lists);
  auto eos = named_token(settings, "eos_token", lists);
  if (!bos) bos = configured_token(config, "bos_token_id");
  if (!eos) eos = configured_token(config, "eos_token_id");
  put_id(w, "tokenizer.ggml.bos_token_id", bos, lists.tokens.size());
  put_id(w, "tokenizer.ggml.eos_token_id", eos, lists.tokens.size());
  const json::Value* add = settings.find("add_bos_token");
  if (add != nullptr && add->is_bool()) w.put_bool("tokenizer.ggml.add_bos_token", add->as_bool());
  put_lists(w, std::move(lists), vocab);
  return {};
}

Result<std::string> tokenizer_json_of(const TokenizerSource& source) {
  if (!source.tokenizer_json.empty()) return source.tokenizer_json;
  const std::string_view name = canonical_pre(source.gguf_pre);
  const auto& known = known_pre();
  const auto pre =
      std::find_if(known.begin(), known.end(), [&](const Pre& p) { return p.name == name; });
  if (source.gguf_model != "gpt2" || pre == known.end()) return std::string();
  json::Object vocab;
  json::Array added, merges;
  for (size_t i = 0; i < source.tokens.size(); ++i) {
    const auto id = static_cast<int64_t>(i);
    const int32_t type = source.token_types[i];
    if (type == kControl || type == kUserDefined) {
      added.push_back(added_token(id, source.tokens[i], type == kControl));
    } else if (type != kUnused) {
      vocab.emplace_back(source.tokens[i], id);
    }
  }
  for (const std::string& m : source.merges) merges.emplace_back(m);
  json::Value model;
  model.set("type", "BPE");
  for (const char* key :
       {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    model.set(key, nullptr);
  }
  for (const char* key : {"fuse_unk", "byte_fallback", "ignore_merges"}) {
    model.set(key, std::string_view(key) == "ignore_merges" && name == "llama-bpe");
  }
  model.set("vocab", std::move(vocab));
  model.set("merges", std::move(merges));
  json::Value root;
  root.set("version", "1.0");
  for (const char* key : {"truncation", "padding"}) root.set(key, nullptr);
  root.set("added_tokens", std::move(added));
  root.set("normalizer", nullptr);
  root.set("pre_tokenizer", pre_tokenizer_json(*pre));
  root.set("post_processor", nullptr);
  root.set("decoder", byte_level("ByteLevel"));
  root.set("model", std::move(model));
  return json::dump(root);
}

std::string tokenizer_config_json_of(const TokenizerSource& source) {
  if (!source.tokenizer_config_json.empty()) return source.tokenizer_config_json;
  json::Value out;
  const auto name = [&](const char* key, std::optional<int64_t> id) {
    if (id && *id >= 0 && static_cast<size_t>(*id) < source.tokens.size()) {
      out.set(key, source.tokens[static_cast<size_t>(*id)]);
    }
  };
  name("bos_token", source.bos_id);
  name("eos_token", source.eos_id);
  if (source.add_bos) out.set("add_bos_token", *source.add_bos);
  if (!source.chat_template.empty()) out.set("chat_template", source.chat_template);
  out.set("tokenizer_class", "PreTrainedTokenizerFast");
  return json::dump(out, json::Style::pretty);
}

}  // namespace hadal::format
