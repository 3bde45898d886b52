// Which splitting rule a regular expression of tokenizer.json, or a name of GGUF, means.
#include <algorithm>
#include <initializer_list>
#include <optional>

#include "base/utf8.h"
#include "tokenizer/internal/pretokenizer.h"
#include "tokenizer/internal/unicode.h"

namespace hadal::tokenizer {
namespace {

using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;

// The expressions with alternatives, exactly as the families' tokenizer.json spell them.
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The cased letters of the first DeepSeek models: what stands in the brackets of "\s?[A-Za-z...]+".
// Source: tokenizer.json of deepseek-llm and DeepSeek-V2, as published; engines that read GGUF
// carry the same list.
constexpr std::pair<uint32_t, uint32_t> kDeepSeekLlmLetters[] = {
    {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},
    {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
    {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x377},     {0x37B, 0x37D},
    {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},     {0x38C, 0x38C},
    {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
    {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},
    {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},
    {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},
    {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},
    {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
    {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},
    {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
    {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},
    {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},
    {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},
    {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},
    {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
    {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943}};

constexpr uint32_t class_bit(CharClass c) { return 1u << static_cast<unsigned>(c); }

// Reads the few constructs that the families use; `done` is false after anything else.
class PatternReader {
 public:
  explicit PatternReader(std::string_view text) : rest_(text) {}

  bool skip(std::string_view token) {
    if (rest_.substr(0, token.size()) != token) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  bool done() const { return rest_.empty(); }

  // \p{X} or [...]
  std::optional<CodePointSet> set() {
    Ranges ranges;
    uint32_t mask = 0;
    if (const auto c = property()) return CodePointSet({}, class_bit(*c));
    if (!skip("[") || rest_.empty() || rest_[0] == '^') return std::nullopt;
    while (!skip("]")) {
      if (rest_.substr(0, 2) == "&&") return std::nullopt;
      if (const auto c = property()) {
        mask |= class_bit(*c);
        continue;
      }
      const auto first = character();
      if (!first) return std::nullopt;
      auto last = first;
      if (rest_.size() > 1 && rest_[0] == '-' && rest_[1] != ']') {
        rest_.remove_prefix(1);
        last = character();
        if (!last || *last < *first) return std::nullopt;
      }
      ranges.emplace_back(*first, *last);
    }
    return CodePointSet(std::move(ranges), mask);
  }

  // nothing, + or {1,digit}
  std::optional<size_t> repeat() {
    if (done()) return 1;
    if (skip("+")) return SIZE_MAX;
    if (rest_.size() < 5 || !skip("{1,")) return std::nullopt;
    const char digit = rest_[0];
    rest_.remove_prefix(1);
    if (digit < '1' || digit > '9' || !skip("}")) return std::nullopt;
    return static_cast<size_t>(digit - '0');
  }

 private:
  std::optional<CharClass> property() {
    if (skip(R"(\p{L})")) return CharClass::letter;
    if (skip(R"(\p{M})")) return CharClass::mark;
    if (skip(R"(\p{N})")) return CharClass::number;
    if (skip(R"(\p{P})")) return CharClass::punct;
    if (skip(R"(\p{S})")) return CharClass::symbol;
    return std::nullopt;
  }

  std::optional<uint32_t> character() {
    if (rest_.empty() || rest_[0] == '[') return std::nullopt;
    if (skip("\\")) {
      if (rest_.empty()) return std::nullopt;
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == 'r') return '\r';
      if (c == 'n') return '\n';
      if (c == 't') return '\t';
      const bool plain = c > ' ' && c < 127 &&
                         kAsciiClasses[static_cast<size_t>(c)] != CharClass::letter &&
                         kAsciiClasses[static_cast<size_t>(c)] != CharClass::number;
      return plain ? std::optional<uint32_t>(c) : std::nullopt;
    }
    const Utf8Char c = decode_utf8(rest_);
    if (!c.valid) return std::nullopt;
    rest_.remove_prefix(c.bytes);
    return c.code_point;
  }

  std::string_view rest_;
};

std::optional<SplitRule> parse_run(std::string_view regex) {
  PatternReader in(regex);
  SplitRule rule;
  if (in.skip(R"(\s?)")) {
    rule.prefix = SplitRule::Prefix::any_space;
  } else if (in.skip(" ?")) {
    rule.prefix = SplitRule::Prefix::blank;
  }
  auto set = in.set();
  const auto repeat = set ? in.repeat() : std::nullopt;
  if (!repeat || !in.done()) return std::nullopt;
  rule.set = *std::move(set);
  rule.repeat_max = *repeat;
  return rule;
}

SplitRule rule_of_kind(SplitRule::Kind kind, size_t repeat_max = SIZE_MAX) {
  SplitRule rule;
  rule.kind = kind;
  rule.repeat_max = repeat_max;
  return rule;
}

}  // namespace

Result<SplitRule> parse_split_pattern(std::string_view regex) {
  // Line ends occur as themselves and as escapes, in the same places.
  std::string spelled;
  for (const char c : regex) {
    if (c == '\r') {
      spelled += "\\r";
    } else if (c == '\n') {
      spelled += "\\n";
    } else {
      spelled += c;
    }
  }
  using Kind = SplitRule::Kind;
  if (spelled == kDeepSeekV3) return rule_of_kind(Kind::deepseek_v3);
  if (spelled == kLlama3) return rule_of_kind(Kind::cl100k, 3);
  if (spelled == kQwen2) return rule_of_kind(Kind::cl100k, 1);
  if (spelled == kGpt2) return rule_of_kind(Kind::gpt2);
  if (spelled == R"(\s+$)") return rule_of_kind(Kind::trailing_space);
  if (auto rule = parse_run(spelled)) return *std::move(rule);
  return unsupported("the pre-tokenizer's regular expression is not known: " +
                     to_valid_utf8(spelled.substr(0, 400)));
}

SplitRule digits_rule(bool individual) {
  SplitRule rule;
  // The reference's Digits step asks the standard library of its language, which already has the
  // numbers that Unicode 17 added; its regular expressions do not.
  rule.set = CodePointSet({{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}}, class_bit(CharClass::number));
  rule.repeat_max = individual ? 1 : SIZE_MAX;
  return rule;
}

Result<std::vector<SplitRule>> split_rules_of_gguf(std::string_view pre) {
  const auto is = [pre](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), pre) != names.end();
  };
  const auto parsed = [](std::initializer_list<std::string_view> patterns) {
    std::vector<SplitRule> out;
    for (const std::string_view pattern : patterns) out.push_back(*parse_split_pattern(pattern));
    return out;
  };
  constexpr std::string_view kHanAndHangul = "[一-龥ࠀ-一가-퟿]+";
  // V4 files carry the name of a model that splits alike; some V3.1 files have their own.
  if (is({"deepseek-v3", "deepseek-v3.1", "joyai-llm"}))
    return parsed({R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepSeekV3});
  if (is({"deepseek-r1-qwen", "qwen2"})) return parsed({kQwen2});
  if (is({"llama-bpe", "llama3", "llama-v3"})) return parsed({kLlama3});
  if (is({"gpt-2", "default"})) return parsed({kGpt2});
  if (is({"deepseek-coder"})) {
    auto out = parsed({R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kHanAndHangul});
    out.push_back(digits_rule(true));
    return out;
  }
  if (is({"deepseek-llm"})) {
    auto out = parsed({R"([\r\n])", R"(\s?[A-Za-z]+)", R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)",
                       R"(\s+$)", kHanAndHangul});
    out.push_back(digits_rule(true));
    out[1].set =
        CodePointSet(Ranges(std::begin(kDeepSeekLlmLetters), std::end(kDeepSeekLlmLetters)), 0);
    return out;
  }
  return unsupported("tokenizer.ggml.pre is \"" + to_valid_utf8(pre.substr(0, 100)) +
                     "\", a pre-tokenizer that is not known");
}

}  // namespace hadal::tokenizer
