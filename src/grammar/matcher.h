#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/vocabulary.h"

namespace hadal::grammar {

/// A grammar compiled for one vocabulary, with what was found out so far about its masks.
/// Threading: any thread; many matchers share it.
class CompiledGrammar {
 public:
  /// Errors: invalid_argument for a grammar that nothing matches or whose rules are not all
  /// defined; too_large beyond `limits`.
  static Result<std::shared_ptr<const CompiledGrammar>> create(
      const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary,
      const Limits& limits = {});
  ~CompiledGrammar();

  const Vocabulary& vocabulary() const;
  /// Memory, which grows with use up to a limit.
  size_t bytes() const;

 private:
  friend class Matcher;
  struct Impl;
  explicit CompiledGrammar(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// How far a text has come in a grammar. Threading: one thread at a time.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<const CompiledGrammar> grammar);
  Matcher(Matcher&&) noexcept;
  ~Matcher();

  /// Sets the bit of every token that may come next, and no other. Shapes: bits [ceil(V / 64)].
  /// Errors: resource_exhausted when the grammar is so ambiguous that its share of time is used up.
  Status allowed(std::span<uint64_t> bits);
  /// Whether the text so far is whole.
  bool may_end() const;
  /// Whether it is whole and nothing can follow.
  bool is_over() const;

  /// Takes a token. False when it may not come next: then nothing has changed.
  /// Errors: resource_exhausted as in allowed().
  Result<bool> accept(int32_t token);
  /// Takes bytes of text, special tokens excepted. As accept().
  Result<bool> accept_text(std::string_view bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::grammar
