#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "grammar/matcher.h"

/// What the fuzz targets of grammars share.
namespace hadal::grammar {

/// Small, so that an input takes milliseconds under sanitizers too.
inline constexpr Limits kFuzzLimits{
    .exprs_max = 1 << 13, .states_max = 1 << 12, .edges_max = 1 << 14, .work_max = 1 << 17};

/// Every byte, and pieces that cross the borders of rules and of characters.
inline const std::shared_ptr<const Vocabulary>& fuzz_vocabulary() {
  static const auto shared = [] {
    std::vector<std::string> texts;
    for (int b = 0; b < 256; ++b) texts.emplace_back(1, static_cast<char>(b));
    for (const char* t : {"ab", "abc", "{\"", "\":", "\",\"", "\"}", "}}", "true", "12", "0.5",
                          " \"", "\n  ", "\xC3\xA9", "\xE4\xB8", "\xB8\xAD\xE6", "<end>"}) {
      texts.emplace_back(t);
    }
    std::vector<Vocabulary::Token> tokens;
    for (const auto& t : texts) tokens.push_back({t, t == "<end>"});
    return std::make_shared<const Vocabulary>(tokens, texts.size() + 3);
  }();
  return shared;
}

/// What came of a walk.
struct Walk {
  std::string text;
  bool whole = false;
};

/// Writes a text of at most `tokens_max` tokens as its masks allow. Each mask must be what trying
/// says, of the token that is taken and of some others, and never empty before the end.
inline Walk walk(const std::shared_ptr<const CompiledGrammar>& grammar, uint64_t seed,
                 int tokens_max) {
  const Vocabulary& v = grammar->vocabulary();
  Rng rng(seed);
  Walk out;
  Matcher m(grammar);
  std::vector<uint64_t> bits((v.size() + 63) / 64);
  const auto has = [&](size_t id) { return (bits[id / 64] >> (id % 64) & 1) != 0; };
  for (int n = 0; n < tokens_max && !m.is_over(); ++n) {
    if (!m.allowed(bits)) return out;
    std::vector<int32_t> ids;
    for (size_t id = 0; id < v.size(); ++id) {
      if (has(id)) ids.push_back(static_cast<int32_t>(id));
    }
    if (ids.empty()) {
      CHECK(m.may_end(), "nothing can follow a text that is not whole");
      break;
    }
    for (int probes = 0; probes < 4; ++probes) {
      const size_t id = rng.next_below(v.size());
      Matcher probe(grammar);
      const auto read = probe.accept_text(out.text);
      if (!read) return out;
      CHECK(*read, "a text was not read again");
      const auto taken = probe.accept(static_cast<int32_t>(id));
      CHECK(!taken || *taken == has(id), "a mask is not what the matcher takes");
    }
    const int32_t id = ids[rng.next_below(ids.size())];
    const auto taken = m.accept(id);
    if (!taken) return out;
    CHECK(*taken, "a token that is allowed was refused");
    // Replaying knows bytes only.
    if (v.is_special(id)) return out;
    out.text += v.bytes(id);
  }
  out.whole = m.may_end();
  return out;
}

}  // namespace hadal::grammar
