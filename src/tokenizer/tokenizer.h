#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"

namespace hadal::tokenizer {

/// A stretch of a prompt that a prompt format assembled.
struct Piece {
  bool special = false;   ///< names one special token; otherwise it is text
  std::string_view text;  ///< borrowed
};

/// The byte-level BPE of one model: text to token ids and back, with the same ids as Hugging Face's
/// tokenizers library. A string that is not valid UTF-8 is encoded byte by byte all the same (the
/// reference has no answer there), so that decoding gives back the bytes.
///
/// Threading: immutable after open; any thread.
class Tokenizer {
 public:
  /// Builds the tokenizer of a checkpoint from tokenizer.json or from GGUF's lists.
  /// Errors: corrupt (what does not fit together, and where); unsupported (a model or a
  /// pre-tokenizer that is not known, with its text); too_large.
  static Result<std::unique_ptr<const Tokenizer>> open(const format::TokenizerSource& source);
  ~Tokenizer();

  /// Appends the ids of plain text. The text of a special token in it is only text: no input
  /// produces a special token. Linear in the text, up to a logarithm.
  void encode(std::string_view text, std::vector<int32_t>& out) const;
  std::vector<int32_t> encode(std::string_view text) const;

  /// Appends the ids of a prompt. A special piece is the token of exactly that text, or plain text
  /// where the vocabulary has no such token. Adjacent plain pieces are encoded as one text. Adds no
  /// bos.
  void encode_prompt(std::span<const Piece> pieces, std::vector<int32_t>& out) const;
  std::vector<int32_t> encode_prompt(std::span<const Piece> pieces) const;

  /// Appends the ids of text in which added tokens count wherever they are spelled, as Hugging Face
  /// encodes with add_special_tokens=false. For trusted text only.
  void encode_with_specials(std::string_view text, std::vector<int32_t>& out) const;
  std::vector<int32_t> encode_with_specials(std::string_view text) const;

  /// The id of an added token by its text ("<think>"), or else of the ordinary token with these
  /// bytes.
  std::optional<int32_t> token_id(std::string_view token) const;
  /// What a token stands for: raw bytes, maybe part of a character; an added token's text; empty
  /// for an id without a token.
  std::string_view token_bytes(int32_t id) const;
  /// Whether the file marks this token as special ("special" in tokenizer.json, control in GGUF);
  /// decode's skip_special leaves those out. Markup such as <think> need not be.
  bool is_special(int32_t id) const;
  /// Whether this token is markup, special or not: plain text is never encoded as it.
  bool is_markup(int32_t id) const;

  /// One more than the highest id that has a token. A model's logits may be wider.
  size_t vocab_size() const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  /// Whether the model's own settings put bos in front of every prompt.
  bool add_bos() const;

  /// The text of ids; an ill-formed part of UTF-8 becomes U+FFFD. Unknown ids are empty.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::tokenizer
