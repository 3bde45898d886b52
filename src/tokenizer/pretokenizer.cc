// The regular expressions of the families, as matchers written by hand: each alternative of an
// expression is one line or function below, tried in the order of the expression.
#include "tokenizer/internal/pretokenizer.h"

#include <algorithm>

#include "tokenizer/internal/unicode.h"

namespace hadal::tokenizer {
namespace {

constexpr bool is_newline(uint32_t cp) { return cp == '\r' || cp == '\n'; }
constexpr bool is_ascii_letter(uint32_t cp) { return (cp | 32) >= 'a' && (cp | 32) <= 'z'; }

constexpr unsigned bit(CharClass c) { return 1u << static_cast<unsigned>(c); }
constexpr unsigned kL = bit(CharClass::letter), kM = bit(CharClass::mark),
                   kN = bit(CharClass::number), kP = bit(CharClass::punct),
                   kS = bit(CharClass::symbol), kSpace = bit(CharClass::space);
bool in(const Char& c, unsigned classes) {
  return (classes >> static_cast<unsigned>(c.cls) & 1) != 0;
}

// Whether there is a character at `pos` of one of the classes.
bool at(std::string_view s, size_t pos, unsigned classes) {
  return pos < s.size() && in(char_at(s, pos), classes);
}

// The end of the longest run of `classes` from `pos`.
size_t run(std::string_view s, size_t pos, unsigned classes) {
  while (pos < s.size()) {
    const Char c = char_at(s, pos);
    if (!in(c, classes)) break;
    pos += c.bytes;
  }
  return pos;
}

size_t newlines(std::string_view s, size_t pos) {
  while (pos < s.size() && is_newline(static_cast<uint8_t>(s[pos]))) ++pos;
  return pos;
}

// \s*[\r\n]+ (if `with_newlines`) | \s+(?!\S) | \s+, where a blank stands at `pos`.
size_t blanks(std::string_view s, size_t pos, bool with_newlines) {
  size_t end = pos, last = pos, after_newline = 0;
  while (end < s.size()) {
    const Char c = char_at(s, end);
    if (c.cls != CharClass::space) break;
    last = end;
    end += c.bytes;
    if (is_newline(c.code_point)) after_newline = end;
  }
  if (with_newlines && after_newline != 0) return after_newline;
  // The lookahead gives the last blank back to the word that follows, unless it is the only one.
  return end == s.size() || last == pos ? end : last;
}

// 's|'t|'re|'ve|'m|'ll|'d; ignoring case, U+017F counts as an s (Unicode's simple case folding).
size_t contraction(std::string_view s, size_t pos, bool any_case) {
  if (s[pos] != '\'' || pos + 1 >= s.size()) return pos;
  const auto lower = [any_case](char c) {
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 32) : c;
  };
  const char a = lower(s[pos + 1]);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return pos + 2;
  if (pos + 2 >= s.size()) return pos;
  if (any_case && s.substr(pos + 1, 2) == "\u017F") return pos + 3;
  const char b = lower(s[pos + 2]);
  const bool two = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
  return two ? pos + 3 : pos;
}

size_t up_to(std::string_view s, size_t pos, unsigned classes, size_t count) {
  for (; count > 0 && pos < s.size(); --count) {
    const Char c = char_at(s, pos);
    if (!in(c, classes)) break;
    pos += c.bytes;
  }
  return pos;
}

constexpr unsigned kNotLetterNumberSpace = ~(kL | kN | kSpace);

size_t match_gpt2(std::string_view s, size_t pos) {
  if (const size_t end = contraction(s, pos, false); end != pos) return end;
  const size_t word = s[pos] == ' ' ? pos + 1 : pos;
  for (const unsigned classes : {kL, kN, kNotLetterNumberSpace}) {
    if (at(s, word, classes)) return run(s, word, classes);
  }
  return blanks(s, pos, false);
}

size_t match_cl100k(std::string_view s, size_t pos, size_t digits_max) {
  if (const size_t end = contraction(s, pos, true); end != pos) return end;
  const Char c = char_at(s, pos);
  if (c.cls == CharClass::letter) return run(s, pos, kL);
  if (!in(c, kN) && !is_newline(c.code_point) && at(s, pos + c.bytes, kL)) {
    return run(s, pos + c.bytes, kL);
  }
  if (in(c, kN)) return up_to(s, pos, kN, digits_max);
  const size_t word = c.code_point == ' ' ? pos + 1 : pos;
  if (at(s, word, kNotLetterNumberSpace)) return newlines(s, run(s, word, kNotLetterNumberSpace));
  return blanks(s, pos, true);
}

size_t match_deepseek_v3(std::string_view s, size_t pos) {
  const Char c = char_at(s, pos);
  const bool ascii_punct = c.code_point < 128 && in(c, kP | kS);
  if (ascii_punct && pos + 1 < s.size() && is_ascii_letter(static_cast<uint8_t>(s[pos + 1]))) {
    size_t end = pos + 1;
    while (end < s.size() && is_ascii_letter(static_cast<uint8_t>(s[end]))) ++end;
    return end;
  }
  if (!in(c, kL | kP | kS) && !is_newline(c.code_point) && at(s, pos + c.bytes, kL | kM)) {
    return run(s, pos + c.bytes, kL | kM);
  }
  if (in(c, kL | kM)) return run(s, pos, kL | kM);
  const size_t word = c.code_point == ' ' ? pos + 1 : pos;
  if (at(s, word, kP | kS)) return newlines(s, run(s, word, kP | kS));
  return c.cls == CharClass::space ? blanks(s, pos, true) : pos;
}

size_t match_run(const SplitRule& rule, std::string_view s, size_t pos) {
  const auto member = [&](size_t p) {
    const Char c = char_at(s, p);
    return rule.set.contains(c.code_point, static_cast<uint8_t>(c.cls));
  };
  size_t end = pos;
  if (rule.prefix != SplitRule::Prefix::none) {
    const Char c = char_at(s, pos);
    const bool blank =
        rule.prefix == SplitRule::Prefix::blank ? c.code_point == ' ' : c.cls == CharClass::space;
    if (blank && pos + c.bytes < s.size() && member(pos + c.bytes)) end = pos + c.bytes;
  }
  size_t count = 0;
  while (count < rule.repeat_max && end < s.size() && member(end)) {
    end += char_at(s, end).bytes;
    ++count;
  }
  return count == 0 ? pos : end;
}

// Where the blanks at the end of the text begin.
size_t trailing_blanks(std::string_view s) {
  size_t begin = s.size();
  while (begin > 0) {
    size_t lead = begin - 1;
    while (lead > 0 && begin - lead < 4 && (static_cast<uint8_t>(s[lead]) & 0xC0) == 0x80) --lead;
    const Char c = char_at(s, lead);
    if (c.cls != CharClass::space || lead + c.bytes != begin) break;
    begin = lead;
  }
  return begin;
}

}  // namespace

CodePointSet::CodePointSet(std::vector<std::pair<uint32_t, uint32_t>> ranges, uint32_t class_mask)
    : ranges_(std::move(ranges)), class_mask_(class_mask) {
  std::sort(ranges_.begin(), ranges_.end());
  // Merged, so that a search by the last begin finds the range that could hold a code point.
  size_t kept = 0;
  for (const auto& range : ranges_) {
    if (kept > 0 && range.first <= ranges_[kept - 1].second) {
      ranges_[kept - 1].second = std::max(ranges_[kept - 1].second, range.second);
    } else {
      ranges_[kept++] = range;
    }
  }
  ranges_.resize(kept);
  for (uint32_t c = 0; c < 128; ++c) ascii_[c] = in_ranges(c);
}

bool CodePointSet::in_ranges(uint32_t cp) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), cp,
                                      [](uint32_t c, const auto& r) { return c < r.first; });
  return after != ranges_.begin() && cp <= std::prev(after)->second;
}

size_t SplitRule::match_at(std::string_view piece, size_t pos) const {
  switch (kind) {
    case Kind::run: return match_run(*this, piece, pos);
    case Kind::gpt2: return match_gpt2(piece, pos);
    case Kind::cl100k: return match_cl100k(piece, pos, repeat_max);
    case Kind::deepseek_v3: return match_deepseek_v3(piece, pos);
    case Kind::trailing_space: return trailing_blanks(piece) <= pos ? piece.size() : pos;
  }
  return pos;
}

void PreTokenizer::split(std::string_view text, FunctionRef<void(std::string_view)> word) const {
  if (!text.empty()) split_from(0, text, word);
}

void PreTokenizer::split_from(size_t index, std::string_view piece,
                              FunctionRef<void(std::string_view)> word) const {
  if (index == rules_.size()) return word(piece);
  const SplitRule& rule = rules_[index];
  if (rule.kind == SplitRule::Kind::trailing_space) {
    const size_t cut = trailing_blanks(piece);
    if (cut > 0) split_from(index + 1, piece.substr(0, cut), word);
    if (cut < piece.size()) split_from(index + 1, piece.substr(cut), word);
    return;
  }
  size_t gap = 0, pos = 0;
  while (pos < piece.size()) {
    const size_t end = rule.match_at(piece, pos);
    if (end == pos) {
      pos += char_at(piece, pos).bytes;
      continue;
    }
    if (gap < pos) split_from(index + 1, piece.substr(gap, pos - gap), word);
    split_from(index + 1, piece.substr(pos, end - pos), word);
    gap = pos = end;
  }
  if (gap < piece.size()) split_from(index + 1, piece.substr(gap), word);
}

}  // namespace hadal::tokenizer
