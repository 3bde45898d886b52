#include "tokenizer/detokenizer.h"

#include <utility>

#include "base/utf8.h"

namespace hadal::tokenizer {

std::string Detokenizer::push(int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  return push_bytes(tokenizer_->token_bytes(id));
}

std::string Detokenizer::push_bytes(std::string_view bytes) {
  pending_ += bytes;
  const size_t tail = incomplete_utf8_tail(pending_);
  std::string ready = pending_.substr(0, pending_.size() - tail);
  pending_.erase(0, ready.size());
  return is_utf8(ready) ? ready : to_valid_utf8(ready);
}

std::string Detokenizer::flush() { return to_valid_utf8(std::exchange(pending_, {})); }

}  // namespace hadal::tokenizer
