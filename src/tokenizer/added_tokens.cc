#include "tokenizer/internal/added_tokens.h"

#include <algorithm>

#include "tokenizer/internal/unicode.h"

namespace hadal::tokenizer {
namespace {

// Where the last character of `text`, which is not empty, begins.
size_t last_char(std::string_view text) {
  size_t pos = text.size() - 1;
  while (pos > 0 && text.size() - pos < 4 && (static_cast<uint8_t>(text[pos]) & 0xC0) == 0x80) {
    --pos;
  }
  return pos + char_at(text, pos).bytes == text.size() ? pos : text.size() - 1;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& t) { return t.text.empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    auto& [begin, end] = by_byte_[static_cast<uint8_t>(tokens_[i].text[0])];
    if (begin == end) begin = i;
    end = i + 1;
  }
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text, size_t pos) const {
  auto [lo, hi] = by_byte_[static_cast<uint8_t>(text[pos])];
  const AddedToken* best = nullptr;
  // tokens_[lo, hi) share the first `depth` bytes with the text; shorter texts sort first.
  for (size_t depth = 1; lo < hi; ++depth) {
    if (tokens_[lo].text.size() == depth) best = &tokens_[lo];
    while (lo < hi && tokens_[lo].text.size() == depth) ++lo;
    if (pos + depth >= text.size()) break;
    const auto wanted = static_cast<uint8_t>(text[pos + depth]);
    const auto byte = [&](const AddedToken& t) { return static_cast<uint8_t>(t.text[depth]); };
    const auto first = tokens_.begin() + lo, last = tokens_.begin() + hi;
    const auto from =
        std::partition_point(first, last, [&](const AddedToken& t) { return byte(t) < wanted; });
    const auto to =
        std::partition_point(from, last, [&](const AddedToken& t) { return byte(t) == wanted; });
    lo = static_cast<uint32_t>(from - tokens_.begin());
    hi = static_cast<uint32_t>(to - tokens_.begin());
  }
  return best;
}

void AddedTokenFinder::split(std::string_view text,
                             FunctionRef<void(std::string_view, const AddedToken*)> part) const {
  size_t done = 0;
  for (size_t pos = 0; pos < text.size() && !tokens_.empty();) {
    const AddedToken* token = longest_at(text, pos);
    if (!token) {
      ++pos;
      continue;
    }
    size_t begin = pos, end = pos + token->text.size();
    pos = end;
    if (token->lstrip) {
      while (begin > done) {
        const size_t before = last_char(text.substr(0, begin));
        if (before < done || char_at(text, before).cls != CharClass::space) break;
        begin = before;
      }
    }
    if (token->rstrip) {
      while (end < text.size()) {
        const Char c = char_at(text, end);
        if (c.cls != CharClass::space) break;
        end += c.bytes;
      }
    }
    if (begin < done) begin = done;  // blanks that the token before has taken
    if (done < begin) part(text.substr(done, begin - done), nullptr);
    part(text.substr(begin, end - begin), token);
    done = std::max(done, end);
    pos = std::max(pos, end);
  }
  if (done < text.size()) part(text.substr(done), nullptr);
}

}  // namespace hadal::tokenizer
