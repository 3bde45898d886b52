#include <string_view>

#include "base/units.h"
#include "base/utf8.h"
#include "json/json.h"
#include "tokenizer/internal/spec.h"

namespace hadal::tokenizer {
namespace {

using json::Value;

constexpr size_t kStepsMax = 32;  ///< pre-tokenizers, normalizers, post-processors in a sequence
constexpr json::Limits kLimits = {.bytes_max = 128 * kMiB, .depth_max = 32, .values_max = 8u << 20};

std::string_view type_of(const Value& v) {
  const Value* type = v.find("type");
  return type && type->is_string() ? std::string_view(type->as_string()) : std::string_view();
}

bool flag(const Value& v, std::string_view key, bool fallback) {
  const Value* f = v.find(key);
  return f && f->is_bool() ? f->as_bool() : fallback;
}

Error not_known(std::string_view what, const Value& v) {
  return unsupported("tokenizer.json: the " + std::string(what) +
                     " is not known: " + json::dump(v).substr(0, 400));
}

/// The members of a Sequence under `key`, or the value itself; nested sequences flattened.
Result<std::vector<const Value*>> steps_of(const Value* top, std::string_view key) {
  std::vector<const Value*> todo, out;
  if (top) todo.push_back(top);
  size_t seen = 0;
  while (!todo.empty()) {
    const Value* v = todo.back();
    todo.pop_back();
    if (++seen > kStepsMax) return not_known(key, *top);
    if (type_of(*v) != "Sequence") {
      out.push_back(v);
      continue;
    }
    const Value* list = v->find(key);
    if (!list || !list->is_array()) return not_known(key, *v);
    const json::Array& items = list->as_array();
    if (items.size() > kStepsMax) return not_known(key, *top);
    for (size_t i = items.size(); i > 0; --i) todo.push_back(&items[i - 1]);
  }
  return out;
}

Result<bool> read_normalizer(const Value* normalizer) {
  TRY(const auto steps, steps_of(normalizer, "normalizers"));
  for (const Value* step : steps) {
    if (type_of(*step) != "NFC") return not_known("normalizer", *step);
  }
  return !steps.empty();
}

Result<std::vector<SplitRule>> read_pre_tokenizer(const Value* pre) {
  TRY(const auto steps, steps_of(pre, "pretokenizers"));
  std::vector<SplitRule> out;
  bool byte_level = false;
  for (const Value* step : steps) {
    const std::string_view type = type_of(*step);
    if (byte_level) return not_known("pre-tokenizer after ByteLevel", *step);
    if (type == "ByteLevel") {
      byte_level = true;
      if (flag(*step, "add_prefix_space", true)) return not_known("pre-tokenizer", *step);
      if (flag(*step, "use_regex", true)) out.push_back(*split_rules_of_gguf("gpt-2")->begin());
    } else if (type == "Digits") {
      out.push_back(digits_rule(flag(*step, "individual_digits", false)));
    } else if (type == "Split") {
      const Value* pattern = step->find("pattern");
      const Value* regex = pattern ? pattern->find("Regex") : nullptr;
      if (!regex || !regex->is_string()) return not_known("pre-tokenizer", *step);
      TRY(auto rule, parse_split_pattern(regex->as_string()));
      TRY(const std::string behavior, step->string_or("behavior", ""));
      const bool invert = flag(*step, "invert", false);
      const bool isolated = behavior == "Isolated" && !invert;
      const bool kept = behavior == "Removed" && invert && rule.covers_everything();
      if (!isolated && !kept) return not_known("pre-tokenizer", *step);
      out.push_back(std::move(rule));
    } else {
      return not_known("pre-tokenizer", *step);
    }
  }
  if (!byte_level) return unsupported("tokenizer.json: there is no ByteLevel pre-tokenizer");
  return out;
}

Status read_vocab(const Value& model, Spec& out) {
  const Value* vocab = model.find("vocab");
  if (!vocab || !vocab->is_object()) return corrupt("tokenizer.json: model.vocab is missing");
  for (const auto& [text, id] : vocab->as_object()) {
    if (!id.is_int() || id.as_int() < 0 || id.as_int() > kTokenIdMax) {
      return corrupt("tokenizer.json: model.vocab: the id of \"" +
                     to_valid_utf8(text.substr(0, 80)) + "\" is not in 0.." +
                     std::to_string(kTokenIdMax));
    }
    const auto bytes = unspell(text);
    TRY_VOID(out.tokens.add(static_cast<int32_t>(id.as_int()), bytes ? *bytes : text,
                            bytes.has_value()));
  }
  return {};
}

Status read_added(const Value& root, Spec& out) {
  const Value* list = root.find("added_tokens");
  if (!list) return {};
  if (!list->is_array()) return corrupt("tokenizer.json: added_tokens is not an array");
  for (const Value& item : list->as_array()) {
    AddedToken token;
    TRY(const int64_t id, item.int_at("id"));
    TRY(token.text, item.string_at("content"));
    token.special = flag(item, "special", false);
    token.normalized = flag(item, "normalized", !token.special);
    token.lstrip = flag(item, "lstrip", false);
    token.rstrip = flag(item, "rstrip", false);
    if (flag(item, "single_word", false)) return not_known("added token", item);
    if (id < 0 || id > kTokenIdMax) {
      return corrupt("tokenizer.json: added_tokens: id " + std::to_string(id) + " is not in 0.." +
                     std::to_string(kTokenIdMax));
    }
    token.id = static_cast<int32_t>(id);
    if (!out.tokens.has(token.id)) {
      TRY_VOID(out.tokens.add(token.id, token.text, false));
    } else {
      const std::string_view known = out.tokens.bytes(token.id);
      const auto spelled = unspell(token.text);
      if (known != token.text && (!spelled || known != *spelled)) {
        return corrupt("tokenizer.json: added token \"" +
                       to_valid_utf8(std::string_view(token.text).substr(0, 80)) + "\": its id " +
                       std::to_string(id) + " has another token");
      }
    }
    if (token.special) out.tokens.hide(token.id);  // plain text must not reach it
    out.added.push_back(std::move(token));
  }
  return {};
}

Status read_merges(const Value& model, Spec& out) {
  const Value* list = model.find("merges");
  if (!list || !list->is_array()) return corrupt("tokenizer.json: model.merges is missing");
  std::vector<Bpe::Merge> merges;
  merges.reserve(list->as_array().size());
  for (const Value& item : list->as_array()) {
    const auto bad = [&] {
      return corrupt("tokenizer.json: model.merges: entry " + std::to_string(merges.size()) +
                     " is not a pair of tokens");
    };
    if (item.is_string()) {
      const std::string_view text = item.as_string();
      const size_t blank = text.find(' ');
      if (blank == std::string_view::npos) return bad();
      merges.emplace_back(text.substr(0, blank), text.substr(blank + 1));
    } else if (item.is_array() && item.as_array().size() == 2 && item.as_array()[0].is_string() &&
               item.as_array()[1].is_string()) {
      merges.emplace_back(item.as_array()[0].as_string(), item.as_array()[1].as_string());
    } else {
      return bad();
    }
  }
  auto bpe = Bpe::build(out.tokens, merges, flag(model, "ignore_merges", false));
  if (!bpe) return std::move(bpe).error().in("tokenizer.json: model.merges");
  out.bpe = *std::move(bpe);
  return {};
}

/// Settings of BPE that none of the byte-level families uses.
Status check_model(const Value& model) {
  if (const std::string_view type = type_of(model); type != "BPE" && !type.empty()) {
    return unsupported("tokenizer.json: model.type is \"" + to_valid_utf8(type.substr(0, 80)) +
                       "\", not \"BPE\"");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix", "unk_token"}) {
    const Value* v = model.find(key);
    if (v && !(v->is_string() && v->as_string().empty())) {
      return unsupported(std::string("tokenizer.json: model.") + key + " is set");
    }
  }
  if (const Value* v = model.find("dropout"); v && !(v->is_number() && v->as_double() == 0)) {
    return unsupported("tokenizer.json: model.dropout is set");
  }
  if (flag(model, "byte_fallback", false)) {
    return unsupported("tokenizer.json: model.byte_fallback is set");
  }
  return {};
}

std::optional<int32_t> added_id(const Spec& spec, std::string_view text) {
  for (const AddedToken& token : spec.added) {
    if (token.text == text) return token.id;
  }
  return std::nullopt;
}

/// "bos_token": "<s>" or {"content": "<s>", ...}.
std::optional<int32_t> configured_id(const Value& config, const char* key, const Spec& spec) {
  const Value* v = config.find(key);
  if (v && v->is_object()) v = v->find("content");
  return v && v->is_string() ? added_id(spec, v->as_string()) : std::nullopt;
}

/// The special token that a TemplateProcessing puts first.
Result<std::optional<int32_t>> template_bos(const Value* post, const Spec& spec) {
  TRY(const auto steps, steps_of(post, "processors"));
  for (const Value* step : steps) {
    const Value* single = step->find("single");
    if (type_of(*step) != "TemplateProcessing" || !single || !single->is_array()) continue;
    if (single->as_array().empty()) continue;
    const Value* special = single->as_array()[0].find("SpecialToken");
    const Value* name = special ? special->find("id") : nullptr;
    if (name && name->is_string()) return added_id(spec, name->as_string());
  }
  return std::optional<int32_t>();
}

Status read_specials(const Value& root, const std::string& config_text, Spec& out) {
  TRY(const auto from_template, template_bos(root.find("post_processor"), out));
  Value config;
  if (!config_text.empty()) {
    auto parsed = json::parse(config_text, kLimits);
    if (!parsed) return corrupt("tokenizer_config.json: " + parsed.error().message);
    config = *std::move(parsed);
  }
  out.bos_id = configured_id(config, "bos_token", out);
  out.eos_id = configured_id(config, "eos_token", out);
  if (!out.bos_id) out.bos_id = from_template;
  if (config_text.empty()) {
    // The spellings of DeepSeek's own tokenizers; without a config nothing else names them.
    if (!out.bos_id) out.bos_id = added_id(out, "<｜begin▁of▁sentence｜>");
    if (!out.eos_id) out.eos_id = added_id(out, "<｜end▁of▁sentence｜>");
  }
  out.add_bos = out.bos_id && flag(config, "add_bos_token", from_template.has_value());
  return {};
}

Result<Spec> read_root(const Value& root, const std::string& config_text) {
  const Value* model = root.find("model");
  if (!model) return corrupt("tokenizer.json: model is missing");
  TRY_VOID(check_model(*model));
  Spec out;
  TRY(out.rules, read_pre_tokenizer(root.find("pre_tokenizer")));
  TRY(out.nfc, read_normalizer(root.find("normalizer")));
  TRY_VOID(read_vocab(*model, out));
  TRY_VOID(read_added(root, out));
  out.tokens.finish();
  TRY_VOID(read_merges(*model, out));
  TRY_VOID(read_specials(root, config_text, out));
  return out;
}

}  // namespace

Result<Spec> read_tokenizer_json(const format::TokenizerSource& source) {
  auto root = json::parse(source.tokenizer_json, kLimits);
  if (!root) {
    const bool large = root.error().code == ErrorCode::too_large;
    return make_error(large ? ErrorCode::too_large : ErrorCode::corrupt,
                      "tokenizer.json: " + root.error().message);
  }
  auto spec = read_root(*root, source.tokenizer_config_json);
  // A member that is missing or of another kind: to the JSON wrapper that is a wrong argument.
  if (!spec && spec.error().code == ErrorCode::invalid_argument) {
    return corrupt("tokenizer.json: " + spec.error().message);
  }
  return spec;
}

}  // namespace hadal::tokenizer
