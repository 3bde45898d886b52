#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hadal::tokenizer {

inline constexpr int32_t kNoToken = -1;
/// No model's vocabulary is larger; ids beyond it are taken for damage.
inline constexpr int32_t kTokenIdMax = (1 << 20) - 1;

/// The bytes that a token of the byte-level alphabet spells, or nothing if a character of it does
/// not belong to that alphabet. Source: GPT-2's bytes_to_unicode.
std::optional<std::string> unspell(std::string_view spelled);
/// The reverse.
std::string spell(std::string_view bytes);

/// Byte strings by token id, and back. Ids may have holes.
class TokenTable {
 public:
  /// Sets what an id stands for. `searchable` tokens are found by find(). Errors: corrupt when the
  /// id is out of range or set already.
  Status add(int32_t id, std::string_view bytes, bool searchable);
  /// Takes a token out of what find() will find, so that no merge can lead to it.
  void hide(int32_t id) { entries_[static_cast<size_t>(id)].searchable = false; }
  /// Makes find() work; call once after the last add().
  void finish();
  std::string_view bytes(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= entries_.size()) return {};
    const Entry& e = entries_[static_cast<size_t>(id)];
    return std::string_view(arena_).substr(e.offset, e.size);
  }
  bool has(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < entries_.size() &&
           entries_[static_cast<size_t>(id)].present;
  }
  size_t size() const { return entries_.size(); }
  /// The searchable token with exactly these bytes, or kNoToken.
  int32_t find(std::string_view bytes) const;

 private:
  struct Entry {
    uint64_t offset = 0;
    uint32_t size = 0;
    bool present = false;
    bool searchable = false;
  };
  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<int32_t> slots_;  // open addressing; kNoToken is free
};

/// The merge rules of byte-pair encoding. Rules are tried lowest rank first, leftmost first.
///
/// Threading: immutable after build.
class Bpe {
 public:
  using Merge = std::pair<std::string_view, std::string_view>;  ///< spelled
  /// Errors: corrupt for a merge of or to a token that does not exist.
  static Result<Bpe> build(const TokenTable& tokens, const std::vector<Merge>& merges,
                           bool ignore_merges);

  /// Appends the ids of one word. A byte for which no token exists is left out, as the reference
  /// does. n log n in the length of the word.
  void encode_word(const TokenTable& tokens, std::string_view word,
                   std::vector<int32_t>& out) const;

 private:
  struct Rule {
    uint64_t pair = kFree;  // left << 32 | right
    uint32_t rank = 0;
    int32_t merged = 0;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};

  const Rule* find(int32_t left, int32_t right) const;
  void put(const Rule& rule);
  void merge_short(int32_t* ids, size_t count, std::vector<int32_t>& out) const;
  void merge_long(const std::vector<int32_t>& ids, std::vector<int32_t>& out) const;

  std::array<int32_t, 256> byte_ids_{};
  std::vector<Rule> rules_;  // open addressing
  bool ignore_merges_ = false;
};

}  // namespace hadal::tokenizer
