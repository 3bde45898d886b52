#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"
#include "engine_api/backend.h"
#include "grammar/matcher.h"
#include "prompt/prompt_format.h"
#include "tokenizer/tokenizer.h"

namespace hadal::engine {

struct PromptTokens;

/// Compiles what a request asks of its answer, and keeps the grammars that were used last for
/// whoever asks for the same. Threading: any thread.
class Constraints {
 public:
  /// `tokenizer` must outlive it; `format` may be null. `vocab`: how many logits there are.
  Constraints(const tokenizer::Tokenizer& tokenizer, const prompt::PromptFormat* format,
              size_t vocab, size_t bytes_max = 128 << 20);

  /// The answer's place in its grammar, past a prefix that the request gave; none when any answer
  /// will do. Errors: invalid_argument for a schema, a grammar or a prefix that does not match;
  /// too_large; unsupported.
  Result<std::optional<grammar::Matcher>> start(const engine_api::Request& request,
                                                const PromptTokens& prompt);

  /// Memory of the grammars that are kept.
  size_t bytes() const;

 private:
  using Compiled = std::shared_ptr<const grammar::CompiledGrammar>;
  struct Entry {
    std::string key;
    Compiled grammar;
  };

  Result<Compiled> find(const engine_api::Request& request, const PromptTokens& prompt);
  Result<Compiled> compile(const engine_api::Request& request, const PromptTokens& prompt);
  Compiled kept(const std::string& key);
  void keep(std::string key, Compiled grammar);
  size_t bytes_locked() const;
  std::shared_ptr<const grammar::Vocabulary> vocabulary();

  const tokenizer::Tokenizer& tokenizer_;
  const prompt::PromptFormat* format_;
  const size_t vocab_;
  const size_t bytes_max_;
  std::once_flag vocabulary_made_;
  std::shared_ptr<const grammar::Vocabulary> vocabulary_;  ///< made when first needed
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  ///< the last used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;
};

}  // namespace hadal::engine
