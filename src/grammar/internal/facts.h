#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grammar/grammar.h"

namespace hadal::grammar::internal {

/// What the compiler must know about the expressions and rules of a grammar before it builds
/// anything. All of it takes time linear in the grammar.
struct Facts {
  std::vector<bool> nullable;    ///< per expression: whether it matches the empty text
  std::vector<uint64_t> size;    ///< per expression: edges that it becomes, inlined rules included
  std::vector<uint32_t> depth;   ///< per expression: nesting, inlined rules included
  std::vector<bool> is_inlined;  ///< per rule: whether it is written out where it is used

  /// Every rule must be defined.
  explicit Facts(const Grammar& grammar);

  /// Whether a repetition is written out or loops; otherwise it becomes a rule that counts.
  bool is_plain_repeat(const Grammar::Node& node) const;

 private:
  void find_nullable(const Grammar& grammar);
  void measure(const Grammar& grammar);
  void measure(const Grammar& grammar, const std::vector<uint32_t>& exprs);
};

}  // namespace hadal::grammar::internal
