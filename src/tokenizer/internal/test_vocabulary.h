#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/json.h"
#include "tokenizer/internal/bpe.h"
#include "tokenizer/tokenizer.h"

namespace hadal::tokenizer::testing {

/// A small byte-level vocabulary for tests: ids 0..255 are the bytes, then one token for each merge
/// in order, then the added tokens.
struct Vocabulary {
  std::vector<std::pair<std::string, std::string>> merges;  ///< as bytes
  std::string pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
  std::string normalizer = "null";
  std::string post_processor = "null";
  std::string added;         ///< JSON objects without their ids, separated by newlines
  std::string model_extras;  ///< members, each with a comma in front

  int32_t first_added() const { return 256 + static_cast<int32_t>(merges.size()); }

  std::string to_json() const {
    std::string vocab, rules, tokens;
    const auto add_entry = [&vocab](std::string_view bytes, int32_t id) {
      if (!vocab.empty()) vocab += ',';
      json::append_quoted(vocab, spell(bytes));
      vocab += ':';
      vocab += std::to_string(id);
    };
    for (int32_t b = 0; b < 256; ++b) {
      const char c = static_cast<char>(b);
      add_entry({&c, 1}, b);
    }
    int32_t id = 256;
    for (const auto& [left, right] : merges) {
      add_entry(left + right, id++);
      rules += rules.empty() ? "[" : ",[";
      json::append_quoted(rules, spell(left));
      rules += ',';
      json::append_quoted(rules, spell(right));
      rules += ']';
    }
    for (size_t at = 0; at < added.size();) {
      const size_t end = std::min(added.find('\n', at), added.size());
      tokens += tokens.empty() ? "{\"id\":" : ",{\"id\":";
      tokens += std::to_string(id++);
      tokens += ',';
      tokens += added.substr(at + 1, end - at - 1);
      at = end + 1;
    }
    return "{\"added_tokens\":[" + tokens + "],\"normalizer\":" + normalizer +
           ",\"pre_tokenizer\":" + pre_tokenizer + ",\"post_processor\":" + post_processor +
           ",\"model\":{\"type\":\"BPE\",\"vocab\":{" + vocab + "},\"merges\":[" + rules + "]" +
           model_extras + "}}";
  }

  Result<std::unique_ptr<const Tokenizer>> open(std::string config = "") const {
    format::TokenizerSource source;
    source.tokenizer_json = to_json();
    source.tokenizer_config_json = std::move(config);
    return Tokenizer::open(source);
  }
};

}  // namespace hadal::tokenizer::testing
