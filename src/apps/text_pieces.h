#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"

namespace hadal::apps {

/// The tokens of a text file, cut into pieces of `piece_tokens` that each begin as a prompt does;
/// the last may be shorter. At most `tokens_max` tokens in all; 0: the whole file. Special tokens
/// count where the file spells them.
/// Errors: not_found; too_large (over 1 GiB); invalid_argument (fewer than two tokens); what the
/// model's tokenizer can give.
Result<std::vector<std::vector<int32_t>>> text_pieces(const format::Checkpoint& checkpoint,
                                                      const std::string& path, int64_t piece_tokens,
                                                      int64_t tokens_max);

}  // namespace hadal::apps
