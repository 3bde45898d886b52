#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function_ref.h"

namespace hadal::tokenizer {

/// A token that is found by its text, outside of BPE. Flags as in tokenizer.json; of those,
/// single_word is not here: no model of the families sets it.
struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special = false;
  bool normalized = false;  ///< looked for after normalization, not before
  bool lstrip = false;      ///< takes the blanks on its left with it
  bool rstrip = false;      ///< and those on its right
};

/// Finds added tokens in text: leftmost first, of those the longest.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);
  bool empty() const { return tokens_.empty(); }

  /// Calls `part(text, nullptr)` for each stretch without added tokens and `part(text, token)` for
  /// each token, in order.
  void split(std::string_view text,
             FunctionRef<void(std::string_view, const AddedToken*)> part) const;

 private:
  /// The longest token at `pos`, or nullptr.
  const AddedToken* longest_at(std::string_view text, size_t pos) const;

  std::vector<AddedToken> tokens_;  // sorted by text
  // By first byte: where its tokens begin and end.
  std::array<std::pair<uint32_t, uint32_t>, 256> by_byte_{};
};

}  // namespace hadal::tokenizer
