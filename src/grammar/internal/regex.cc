#include "grammar/internal/regex.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace hadal::grammar::internal {
namespace {

constexpr uint32_t kCountMax = 1'000'000;
constexpr size_t kRangesMax = 1024;
constexpr std::string_view kSigns = "^$\\.*+?()[]{}|/-!\"#%&',:;<=>@_`~ ";

const CharSet kDigits{{'0', '9'}};
const CharSet kWord{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharSet kLineEnds{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
// Source: ECMA 262, WhiteSpace and LineTerminator.
const CharSet kBlanks{{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                      {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                      {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

class Reader {
 public:
  Reader(Grammar& grammar, std::string_view pattern, const RegexOutput& output,
         const Limits& limits)
      : g_(grammar), text_(pattern), output_(output), limits_(limits) {}

  Result<Expr> read() {
    TRY(const Expr all, read_choice(0));
    if (!at_end()) return wrong("there is no ( for this )");
    return all;
  }

 private:
  bool at_end() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool skip(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  std::string here() const { return " (at byte " + std::to_string(at_ + 1) + ")"; }
  Error wrong(const std::string& what) const { return invalid_argument(what + here()); }

  Expr around() { return g_.repeat(output_.any_character(), 0, kUnbounded); }

  Result<Expr> read_choice(size_t nesting) {
    if (nesting > limits_.nesting_max) return too_large("groups lie too deep in each other");
    std::vector<Expr> parts;
    do {
      const bool from_begin = nesting == 0 && skip("^");
      TRY(Expr part, read_sequence(nesting));
      const bool to_end = nesting == 0 && skip("$");
      if (nesting == 0) {
        std::vector<Expr> whole;
        if (!from_begin) whole.push_back(around());
        whole.push_back(part);
        if (!to_end) whole.push_back(around());
        part = g_.sequence(std::move(whole));
      }
      parts.push_back(part);
      TRY_VOID(g_.check_size(limits_));
      if (!at_end() && peek() != '|' && peek() != ')') {
        return wrong("^ and $ are known only at the ends of alternatives outside of groups");
      }
    } while (skip("|"));
    return g_.choice(std::move(parts));
  }

  Result<Expr> read_sequence(size_t nesting) {
    std::vector<Expr> parts;
    while (!at_end() && peek() != '|' && peek() != ')' && peek() != '$' && peek() != '^') {
      TRY(const Expr item, read_item(nesting));
      TRY(const Expr repeated, read_repeat(item));
      parts.push_back(repeated);
      TRY_VOID(g_.check_size(limits_));
    }
    return g_.sequence(std::move(parts));
  }

  Result<Expr> read_item(size_t nesting) {
    if (skip("(")) {
      TRY_VOID(read_group_kind());
      TRY(const Expr inner, read_choice(nesting + 1));
      if (!skip(")")) return wrong("a group has no end");
      return inner;
    }
    if (skip("[")) {
      TRY(const CharSet set, read_set());
      return output_.character(set);
    }
    if (skip(".")) return output_.character(kLineEnds.complement());
    if (peek() == '*' || peek() == '+' || peek() == '?') return wrong("nothing is repeated here");
    TRY(const CharSet set, read_atom(false));
    return output_.character(set);
  }

  Status read_group_kind() {
    if (!skip("?")) return {};
    if (skip(":")) return {};
    if (peek() == '<' && peek(1) != '=' && peek(1) != '!') {
      const size_t end = text_.find('>', at_);
      if (end == std::string_view::npos) return wrong("the name of a group has no end");
      at_ = end + 1;
      return {};
    }
    return wrong("look-around and flags in groups are not known");
  }

  Result<Expr> read_repeat(Expr part) {
    uint32_t min = 0;
    uint32_t max = kUnbounded;
    if (skip("?")) {
      max = 1;
    } else if (skip("+")) {
      min = 1;
    } else if (!skip("*")) {
      const size_t begin = at_;
      if (!skip("{")) return part;
      if (!(peek() >= '0' && peek() <= '9')) {
        at_ = begin;
        return wrong("{ begins a number of times; write \\{ for the sign");
      }
      TRY(min, read_count());
      max = min;
      if (skip(",")) {
        max = kUnbounded;
        if (peek() != '}') {
          TRY(max, read_count());
        }
      }
      if (!skip("}")) return wrong("expected }");
      if (min > max) return wrong("the least number of times is more than the most");
    }
    skip("?");  // whether it is greedy makes no difference to what matches
    if (peek() == '*' || peek() == '+' || peek() == '?') return wrong("nothing is repeated here");
    return g_.repeat(part, min, max);
  }

  Result<uint32_t> read_count() {
    uint32_t count = 0;
    const size_t begin = at_;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      count = std::min(count * 10 + static_cast<uint32_t>(peek() - '0'), kCountMax + 1);
    }
    if (at_ == begin) return wrong("expected a number");
    if (count > kCountMax) return too_large("a repetition counts too far" + here());
    return count;
  }

  Result<CharSet> read_set() {
    CharSet set;
    const bool negated = skip("^");
    while (!skip("]")) {
      if (at_end()) return wrong("a set of characters has no end");
      TRY(const CharSet low, read_atom(true));
      if (set.ranges().size() > kRangesMax) return too_large("a set has too many ranges" + here());
      if (peek() != '-' || peek(1) == ']') {
        set.add(low);
        continue;
      }
      skip("-");
      TRY(const CharSet high, read_atom(true));
      const bool chars = is_one(low) && is_one(high);
      if (!chars || low.ranges()[0].low > high.ranges()[0].low) {
        return wrong("this is no range of characters");
      }
      set.add(low.ranges()[0].low, high.ranges()[0].low);
    }
    return negated ? set.complement() : set;
  }

  static bool is_one(const CharSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].low == set.ranges()[0].high;
  }

  // One character or an escape that stands for several.
  Result<CharSet> read_atom(bool in_set) {
    if (at_end()) return wrong("the expression ends too early");
    if (!skip("\\")) {
      const Utf8Char c = decode_utf8(text_.substr(at_));
      if (!c.valid) return wrong("the expression is no valid UTF-8");
      at_ += c.bytes;
      return CharSet::one(c.code_point);
    }
    const char kind = peek();
    if (at_end()) return wrong("the expression ends too early");
    ++at_;
    switch (kind) {
      case 'd': return kDigits;
      case 'D': return kDigits.complement();
      case 'w': return kWord;
      case 'W': return kWord.complement();
      case 's': return kBlanks;
      case 'S': return kBlanks.complement();
      case 't': return CharSet::one('\t');
      case 'n': return CharSet::one('\n');
      case 'r': return CharSet::one('\r');
      case 'f': return CharSet::one('\f');
      case 'v': return CharSet::one('\v');
      case '0': return CharSet::one(0);
      case 'x': return read_hex(2);
      case 'u': return read_unicode();
      case 'b':
        if (in_set) return CharSet::one('\b');
        return wrong("\\b is not known");
      default: break;
    }
    if (kSigns.find(kind) != std::string_view::npos) {
      return CharSet::one(static_cast<uint32_t>(kind));
    }
    return wrong(std::string("the escape \\") + (kind > ' ' && kind < 0x7F ? kind : '?') +
                 " is not known");
  }

  Result<CharSet> read_unicode() {
    if (!skip("{")) return read_hex(4);
    const size_t end = text_.find('}', at_);
    if (end == std::string_view::npos || end - at_ > 6) return wrong("expected } after \\u{");
    TRY(const CharSet set, read_hex(end - at_));
    ++at_;
    return set;
  }

  Result<CharSet> read_hex(size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const bool digit = c >= '0' && c <= '9';
      const char lower = static_cast<char>(c | 0x20);
      if (!digit && !(lower >= 'a' && lower <= 'f')) return wrong("expected hexadecimal digits");
      value = value * 16 + static_cast<uint32_t>(digit ? c - '0' : lower - 'a' + 10);
    }
    CharSet set = CharSet::one(value);
    if (digits == 0 || set.empty()) return wrong("there is no such character");
    return set;
  }

  Grammar& g_;
  const std::string_view text_;
  const RegexOutput& output_;
  const Limits& limits_;
  size_t at_ = 0;
};

}  // namespace

Result<Expr> read_regex(Grammar& grammar, std::string_view pattern, const RegexOutput& output,
                        const Limits& limits) {
  if (pattern.size() > limits.text_bytes_max) return too_large("the expression is too long");
  return Reader(grammar, pattern, output, limits).read();
}

}  // namespace hadal::grammar::internal
