#include "grammar/vocabulary.h"

#include <algorithm>

namespace hadal::grammar {
namespace {

constexpr size_t kTokenBytesMax = 255;  // a depth is one byte

size_t shared_bytes(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

Vocabulary::Vocabulary(std::span<const Token> tokens, size_t size) : size_(size) {
  const size_t count = std::min(tokens.size(), size);
  special_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const Token& t = tokens[i];
    const auto id = static_cast<int32_t>(i);
    text_begin_.push_back(static_cast<uint32_t>(text_.size()));
    if (t.special) {
      special_[i] = true;
      special_ids_.emplace(t.bytes, id);
    } else if (!t.bytes.empty() && t.bytes.size() <= kTokenBytesMax) {
      text_ += t.bytes;
      ids_.push_back(id);
      depth_max_ = std::max(depth_max_, t.bytes.size());
    }
  }
  text_begin_.push_back(static_cast<uint32_t>(text_.size()));
  std::ranges::stable_sort(ids_, {}, [&](int32_t id) { return bytes(id); });

  std::vector<uint32_t> open;  // the nodes whose end is not known yet
  const auto close_to = [&](size_t depth) {
    for (; open.size() > depth; open.pop_back()) {
      nodes_[open.back()].end = static_cast<uint32_t>(nodes_.size());
    }
  };
  const auto add = [&](size_t first, uint8_t byte) {
    const auto depth = static_cast<uint8_t>(open.size());
    open.push_back(static_cast<uint32_t>(nodes_.size()));
    nodes_.push_back(
        {.end = 0, .first = static_cast<uint32_t>(first), .byte = byte, .depth = depth});
  };
  add(0, 0);
  std::string_view last;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const std::string_view text = bytes(ids_[i]);
    const size_t shared = shared_bytes(last, text);
    close_to(1 + shared);
    for (size_t d = shared; d < text.size(); ++d) add(i, static_cast<uint8_t>(text[d]));
    last = text;
  }
  close_to(0);
  nodes_.push_back({.end = static_cast<uint32_t>(nodes_.size()),
                    .first = static_cast<uint32_t>(ids_.size()),
                    .byte = 0,
                    .depth = 0});
}

std::optional<int32_t> Vocabulary::special(std::string_view text) const {
  const auto at = special_ids_.find(std::string(text));
  if (at == special_ids_.end()) return std::nullopt;
  return at->second;
}

bool Vocabulary::is_special(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < special_.size() && special_[static_cast<size_t>(id)];
}

std::string_view Vocabulary::bytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) + 1 >= text_begin_.size()) return {};
  const auto i = static_cast<size_t>(id);
  return std::string_view(text_).substr(text_begin_[i], text_begin_[i + 1] - text_begin_[i]);
}

}  // namespace hadal::grammar
