#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace hadal::tokenizer {

/// Turns tokens into text as they come. What it has given out is valid UTF-8 and never changes: a
/// character that is still incomplete waits, and bytes that can no longer become one turn into
/// U+FFFD. The concatenation equals Tokenizer::decode of all ids.
///
/// Threading: one thread at a time; `tokenizer` must outlive it.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}

  /// The text that became certain with this token; often the token's own, sometimes empty.
  std::string push(int32_t id);
  /// The text of bytes that did not come from a token.
  std::string push_bytes(std::string_view bytes);
  /// The rest: U+FFFD for an incomplete character. Afterwards it is as new.
  std::string flush();
  /// Bytes that wait for the rest of their character: 0 to 3.
  size_t pending_bytes() const { return pending_.size(); }

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;
};

}  // namespace hadal::tokenizer
