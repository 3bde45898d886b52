#include "grammar/ebnf.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace hadal::grammar {
namespace {

constexpr uint32_t kCountMax = 1'000'000'000;
constexpr size_t kNameBytesMax = 256;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

class Reader {
 public:
  Reader(std::string_view text, const Limits& limits) : text_(text), limits_(limits) {}

  Result<Grammar> read() {
    skip_blanks();
    while (!at_end()) {
      TRY_VOID(read_rule());
      TRY_VOID(grammar_.check_size(limits_));
    }
    for (const auto& [name, use] : uses_) {
      if (!grammar_.at(use.id).defined) return wrong(use.at, "there is no rule '" + name + "'");
    }
    const auto root = uses_.find("root");
    if (root == uses_.end()) return wrong(0, "there is no rule 'root'");
    grammar_.set_root(root->second.id);
    return std::move(grammar_);
  }

 private:
  struct Use {
    RuleId id;
    size_t at;  ///< where its name stood first
  };

  bool at_end() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool skip(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  void skip_blanks() {
    while (!at_end()) {
      if (peek() == '#') {
        while (!at_end() && peek() != '\n') ++at_;
      } else if (is_blank(peek())) {
        ++at_;
      } else {
        return;
      }
    }
  }

  Error wrong(size_t at, const std::string& what) const {
    const std::string_view before = text_.substr(0, std::min(at, text_.size()));
    const auto line = std::ranges::count(before, '\n') + 1;
    const size_t last = before.rfind('\n');
    const size_t column = last == std::string_view::npos ? before.size() : before.size() - last - 1;
    return invalid_argument("line " + std::to_string(line) + ", column " +
                            std::to_string(column + 1) + ": " + what);
  }
  Error wrong(const std::string& what) const { return wrong(at_, what); }

  std::string_view read_name() {
    const size_t begin = at_;
    while (is_name_char(peek())) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  RuleId rule_called(std::string_view name, size_t at) {
    const auto [use, is_new] = uses_.try_emplace(std::string(name), Use{RuleId{}, at});
    if (is_new) use->second.id = grammar_.add_rule(std::string(name));
    return use->second.id;
  }

  Status read_rule() {
    const size_t begin = at_;
    const std::string_view name = read_name();
    if (name.empty()) return wrong("expected the name of a rule");
    if (name.size() > kNameBytesMax) return wrong(begin, "the name is too long");
    skip_blanks();
    if (!skip("::=")) return wrong("expected ::= after the name of a rule");
    skip_blanks();
    const RuleId id = rule_called(name, begin);
    if (grammar_.at(id).defined) {
      return wrong(begin, "the rule '" + std::string(name) + "' is defined twice");
    }
    TRY(const Expr body, read_choice(0));
    if (!at_end() && !begins_rule()) {
      return wrong(std::string("expected an item, | or the next rule, not '") + peek() + "'");
    }
    grammar_.define(id, body);
    return {};
  }

  // Whether a name with ::= stands here.
  bool begins_rule() {
    const size_t begin = at_;
    const bool named = !read_name().empty();
    skip_blanks();
    const bool found = named && text_.substr(at_).starts_with("::=");
    at_ = begin;
    return found;
  }

  Result<Expr> read_choice(size_t nesting) {
    if (nesting > limits_.nesting_max) {
      return too_large("groups lie more than " + std::to_string(limits_.nesting_max) +
                       " deep in each other");
    }
    std::vector<Expr> parts;
    do {
      skip_blanks();
      TRY(const Expr part, read_sequence(nesting));
      parts.push_back(part);
      TRY_VOID(grammar_.check_size(limits_));
    } while (skip("|"));
    return grammar_.choice(std::move(parts));
  }

  Result<Expr> read_sequence(size_t nesting) {
    std::vector<Expr> parts;
    while (true) {
      TRY(const std::optional<Expr> item, read_item(nesting));
      if (!item) break;
      skip_blanks();
      TRY(const Expr repeated, read_repeats(*item));
      parts.push_back(repeated);
      TRY_VOID(grammar_.check_size(limits_));
    }
    return grammar_.sequence(std::move(parts));
  }

  // Nothing where no item begins.
  Result<std::optional<Expr>> read_item(size_t nesting) {
    const size_t begin = at_;
    if (skip("\"")) {
      TRY(const Expr literal, read_literal(begin));
      return std::optional(literal);
    }
    if (skip("[")) {
      TRY(const Expr set, read_set(begin));
      return std::optional(set);
    }
    if (skip(".")) return std::optional(grammar_.characters(CharSet::any()));
    if (skip("(")) {
      TRY(const Expr inner, read_choice(nesting + 1));
      if (!skip(")")) return wrong("expected ) for the ( at " + place(begin));
      return std::optional(inner);
    }
    if (is_name_char(peek()) && !begins_rule()) {
      const std::string_view name = read_name();
      if (name.size() > kNameBytesMax) return wrong(begin, "the name is too long");
      return std::optional(grammar_.rule(rule_called(name, begin)));
    }
    return std::optional<Expr>();
  }

  std::string place(size_t at) const {
    const std::string message = wrong(at, "").message;
    return message.substr(0, message.size() - 2);
  }

  Result<Expr> read_repeats(Expr part) {
    while (true) {
      if (skip("*")) {
        part = grammar_.repeat(part, 0, kUnbounded);
      } else if (skip("+")) {
        part = grammar_.repeat(part, 1, kUnbounded);
      } else if (skip("?")) {
        part = grammar_.optional(part);
      } else if (skip("{")) {
        TRY(part, read_bounds(part));
      } else {
        return part;
      }
      TRY_VOID(grammar_.check_size(limits_));
      skip_blanks();
    }
  }

  Result<Expr> read_bounds(Expr part) {
    const size_t begin = at_ - 1;
    skip_blanks();
    const bool has_min = peek() != ',';
    uint32_t min = 0;
    if (has_min) {
      TRY(min, read_count());
    }
    uint32_t max = min;
    skip_blanks();
    if (skip(",")) {
      skip_blanks();
      max = kUnbounded;
      if (peek() != '}') {
        TRY(max, read_count());
      } else if (!has_min) {
        return wrong("expected a number");
      }
    }
    skip_blanks();
    if (!skip("}")) return wrong("expected }");
    if (min > max) return wrong(begin, "the least number of times is more than the most");
    return grammar_.repeat(part, min, max);
  }

  Result<uint32_t> read_count() {
    const size_t begin = at_;
    uint64_t count = 0;
    while (peek() >= '0' && peek() <= '9') {
      count = std::min<uint64_t>(count * 10 + static_cast<uint64_t>(peek() - '0'), kCountMax + 1);
      ++at_;
    }
    if (at_ == begin) return wrong("expected a number");
    if (count > kCountMax) {
      return wrong(begin, "a repetition counts to " + std::to_string(kCountMax) + " at most");
    }
    return static_cast<uint32_t>(count);
  }

  Result<Expr> read_literal(size_t begin) {
    std::string bytes;
    while (!skip("\"")) {
      if (at_end()) return wrong(begin, "the literal has no end");
      TRY(const uint32_t c, read_char());
      append_utf8(bytes, c);
    }
    return grammar_.literal(bytes);
  }

  Result<Expr> read_set(size_t begin) {
    CharSet set;
    const bool negated = skip("^");
    while (!skip("]")) {
      if (at_end()) return wrong(begin, "the set of characters has no end");
      const size_t at = at_;
      TRY(const uint32_t low, read_char());
      uint32_t high = low;
      if (peek() == '-' && peek(1) != ']' && skip("-")) {
        if (at_end()) return wrong(begin, "the set of characters has no end");
        TRY(high, read_char());
      }
      if (low > high) return wrong(at, "the range is empty: its first character is after its last");
      set.add(low, high);
      if (set.ranges().size() > kRangesMax) return too_large("a set of characters has too many");
    }
    if (negated) set = set.complement();
    if (set.empty()) return wrong(begin, "the set of characters is empty");
    return grammar_.characters(std::move(set));
  }

  // One character, written as it is or escaped.
  Result<uint32_t> read_char() {
    if (peek() != '\\') {
      const Utf8Char c = decode_utf8(text_.substr(at_));
      if (!c.valid) return wrong("the grammar is no valid UTF-8");
      at_ += c.bytes;
      return c.code_point;
    }
    const size_t begin = at_++;
    const char kind = peek();
    if (!at_end()) ++at_;
    switch (kind) {
      case 'n': return uint32_t{'\n'};
      case 'r': return uint32_t{'\r'};
      case 't': return uint32_t{'\t'};
      case 'x': return read_hex(begin, 2);
      case 'u': return read_hex(begin, 4);
      case 'U': return read_hex(begin, 8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
      case '/': return static_cast<uint32_t>(kind);
      default: return wrong(begin, "this escape is not known");
    }
  }

  Result<uint32_t> read_hex(size_t begin, size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const bool digit = c >= '0' && c <= '9';
      const char lower = static_cast<char>(c | 0x20);
      if (!digit && !(lower >= 'a' && lower <= 'f')) {
        return wrong(begin, "expected " + std::to_string(digits) + " hexadecimal digits");
      }
      value = value * 16 + static_cast<uint32_t>(digit ? c - '0' : lower - 'a' + 10);
    }
    if (value > CharSet::kLast || (value >= 0xD800 && value <= 0xDFFF)) {
      return wrong(begin, "there is no such character");
    }
    return value;
  }

  static constexpr size_t kRangesMax = 1024;

  const std::string_view text_;
  const Limits& limits_;
  size_t at_ = 0;
  Grammar grammar_;
  std::map<std::string, Use, std::less<>> uses_;
};

}  // namespace

Result<Grammar> read_ebnf(std::string_view text, const Limits& limits) {
  if (text.size() > limits.text_bytes_max) {
    return too_large("a grammar has at most " + std::to_string(limits.text_bytes_max) + " bytes");
  }
  return Reader(text, limits).read();
}

}  // namespace hadal::grammar
