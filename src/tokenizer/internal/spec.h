#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "tokenizer/internal/added_tokens.h"
#include "tokenizer/internal/bpe.h"
#include "tokenizer/internal/pretokenizer.h"

namespace hadal::tokenizer {

/// What a tokenizer is made of, whichever file it came from.
struct Spec {
  TokenTable tokens;  ///< finished
  Bpe bpe;
  std::vector<AddedToken> added;
  std::vector<SplitRule> rules;
  bool nfc = false;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
  bool add_bos = false;
};

/// Source: the JSON that Hugging Face's tokenizers library writes, version "1.0".
Result<Spec> read_tokenizer_json(const format::TokenizerSource& source);
/// Source: tokenizer.ggml.* keys of GGUF.
Result<Spec> read_tokenizer_gguf(const format::TokenizerSource& source);

}  // namespace hadal::tokenizer
