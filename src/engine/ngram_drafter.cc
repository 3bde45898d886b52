#include "engine/ngram_drafter.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/rng.h"

namespace hadal::engine {
namespace {

// Longer matches tell no more, and longer tables only remember what lies further back.
constexpr size_t kCompared = 32;
constexpr size_t kEntriesMax = size_t{1} << 16;

size_t hash_of(std::span<const int32_t> ngram) {
  uint64_t h = 0;
  for (const int32_t t : ngram) h = splitmix64(h ^ static_cast<uint32_t>(t));
  return static_cast<size_t>(h);
}

// How many tokens before `a` equal those before `b`.
size_t common_suffix(std::span<const int32_t> tokens, size_t a, size_t b) {
  size_t n = 0;
  while (n < kCompared && n < a && tokens[a - 1 - n] == tokens[b - 1 - n]) ++n;
  return n;
}

}  // namespace

NgramDrafter::NgramDrafter(int64_t tokens_max) {
  CHECK(tokens_max >= 0);
  const size_t entries = std::min(kEntriesMax, std::bit_ceil(static_cast<size_t>(tokens_max) + 1));
  for (auto& table : tables_) table.assign(entries, 0);
}

void NgramDrafter::read(std::span<const int32_t> tokens) {
  CHECK(tokens.size() >= read_);
  while (read_ < tokens.size()) {
    const int32_t token = tokens[read_++];
    if (match_ > 0 && tokens[place_] == token) {
      ++match_;
      ++place_;
    } else {
      match_ = 0;
    }
    look_up(tokens.first(read_));
  }
}

// Notes where the last tokens go on, and finds a place for them if the one it has is a short match.
void NgramDrafter::look_up(std::span<const int32_t> tokens) {
  for (size_t i = 0; i < kLengths.size(); ++i) {
    const size_t length = kLengths[i];
    if (tokens.size() < length) continue;
    int32_t& entry = tables_[i][hash_of(tokens.last(length)) & (tables_[i].size() - 1)];
    const auto known = static_cast<size_t>(entry);
    entry = static_cast<int32_t>(tokens.size());
    if (known == 0 || match_ >= static_cast<int64_t>(length)) continue;
    // Other tokens may share an entry.
    const size_t common = common_suffix(tokens, known, tokens.size());
    if (common < length) continue;
    match_ = static_cast<int64_t>(common);
    place_ = known;
  }
}

void NgramDrafter::draft(std::span<const int32_t> tokens, std::span<int32_t> out) const {
  CHECK(match_ > 0 && place_ < tokens.size());
  for (size_t i = 0; i < out.size(); ++i) {
    // The place may be so near that the guess repeats itself.
    const size_t at = place_ + i;
    out[i] = at < tokens.size() ? tokens[at] : out[at - tokens.size()];
  }
}

}  // namespace hadal::engine
