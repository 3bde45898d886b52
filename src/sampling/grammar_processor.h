#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "grammar/matcher.h"
#include "sampling/sampler.h"

namespace hadal::sampling {

/// Holds an answer to a grammar: only tokens that can go on in it, and an end only where it is
/// whole. Threading: one thread at a time.
class GrammarProcessor final : public LogitProcessor {
 public:
  /// `end_ids`: the tokens that end an answer.
  GrammarProcessor(grammar::Matcher matcher, std::span<const int32_t> end_ids);

  /// Errors: resource_exhausted (see Matcher); unsupported when no token of the vocabulary can go
  /// on.
  Status apply(std::span<float> logits) override;
  void accept(int32_t token) override;
  /// Whether the answer is whole and nothing can follow.
  bool is_over() const { return matcher_.is_over(); }

 private:
  grammar::Matcher matcher_;
  std::vector<int32_t> end_ids_;
  std::vector<uint64_t> bits_;
  Status accepted_;  ///< why the last token was not taken
};

}  // namespace hadal::sampling
