#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"

namespace hadal::tokenizer {

/// A set of code points: explicit ranges and whole general categories.
class CodePointSet {
 public:
  CodePointSet() = default;
  /// Ranges are inclusive; they may come in any order.
  CodePointSet(std::vector<std::pair<uint32_t, uint32_t>> ranges, uint32_t class_mask);
  bool contains(uint32_t code_point, uint8_t char_class) const {
    if ((class_mask_ >> char_class & 1) != 0) return true;
    if (code_point < 128) return ascii_[code_point];
    return in_ranges(code_point);
  }

 private:
  bool in_ranges(uint32_t code_point) const;
  std::bitset<128> ascii_;
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
  uint32_t class_mask_ = 0;
};

/// One splitting step: what a Split of tokenizer.json with behavior "Isolated" does. Its matches
/// become pieces, and so does what lies between them.
struct SplitRule {
  enum class Kind {
    run,             ///< an optional blank, then 1..repeat_max characters of `set`
    trailing_space,  ///< \s+$
    gpt2,            ///< the regular expression of GPT-2
    cl100k,          ///< that of Llama 3 and Qwen 2, with 1..repeat_max digits in a group
    deepseek_v3,     ///< the last one of DeepSeek V3
  };
  enum class Prefix { none, any_space, blank };
  Kind kind = Kind::run;
  Prefix prefix = Prefix::none;
  size_t repeat_max = SIZE_MAX;
  CodePointSet set;

  /// The end of the match at `pos`, or `pos` if there is none. The piece's borders are the text's.
  size_t match_at(std::string_view piece, size_t pos) const;
  /// Whether every character is in some match, so that "Removed, invert" equals "Isolated".
  bool covers_everything() const { return kind == Kind::gpt2 || kind == Kind::cl100k; }
};

/// The rule for a regular expression out of the families that hadal knows: gpt2, llama 3, qwen 2,
/// DeepSeek V3 by their exact text; and the shapes C, C+, C{1,n}, \s?C+, " ?C+" where C is a class
/// in brackets or \p{X}; and \s+$.
/// Errors: unsupported with the expression.
Result<SplitRule> parse_split_pattern(std::string_view regex);
/// The rules of GGUF's tokenizer.ggml.pre. Errors: unsupported with the name.
Result<std::vector<SplitRule>> split_rules_of_gguf(std::string_view pre);
/// The rule of a "Digits" pre-tokenizer.
SplitRule digits_rule(bool individual);

/// Cuts text into the words that BPE works on, by a sequence of rules; each cuts the pieces of the
/// one before. Linear in the text.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<SplitRule> rules) : rules_(std::move(rules)) {}
  /// Calls `word` for every word in order; together they are the text.
  void split(std::string_view text, FunctionRef<void(std::string_view)> word) const;

 private:
  void split_from(size_t rule, std::string_view piece,
                  FunctionRef<void(std::string_view)> word) const;
  std::vector<SplitRule> rules_;
};

}  // namespace hadal::tokenizer
