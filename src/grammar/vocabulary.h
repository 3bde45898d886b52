#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hadal::grammar {

/// The tokens of a model, as a tree of their bytes. Threading: immutable; any thread.
class Vocabulary {
 public:
  /// What a token id stands for.
  struct Token {
    std::string_view bytes;  ///< any; empty: no token
    bool special = false;    ///< markup: never a part of text
  };

  /// `size`: how many logits there are; ids beyond `tokens` are never allowed. The bytes are
  /// copied. A token of more than 255 bytes is never allowed.
  Vocabulary(std::span<const Token> tokens, size_t size);

  size_t size() const { return size_; }
  /// The special token of that text.
  std::optional<int32_t> special(std::string_view text) const;
  bool is_special(int32_t id) const;
  /// The bytes of an ordinary token; empty for any other id.
  std::string_view bytes(int32_t id) const;

  /// A beginning that tokens share. Nodes lie in the order of their bytes, a node before its
  /// longer ones; the first is the empty beginning.
  struct Node {
    uint32_t end;    ///< the first node that does not begin with this one
    uint32_t first;  ///< ids()[first] to that of the next node are the tokens of just these bytes
    uint8_t byte;    ///< the last
    uint8_t depth;   ///< how many bytes
  };
  /// The last entry only ends the one before it.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> ids() const { return ids_; }
  /// Bytes of the longest ordinary token.
  size_t depth_max() const { return depth_max_; }

 private:
  size_t size_;
  std::string text_;                  ///< of all ordinary tokens
  std::vector<uint32_t> text_begin_;  ///< per id
  std::unordered_map<std::string, int32_t> special_ids_;
  std::vector<bool> special_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;
  size_t depth_max_ = 0;
};

}  // namespace hadal::grammar
