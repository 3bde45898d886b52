#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine_api/backend.h"

namespace hadal::engine {

/// Makes the embedding of a text of the final states of its tokens. Threading: the engine's thread.
class Pooler {
 public:
  /// `width`: elements of a state.
  Pooler(engine_api::Pooling pooling, int64_t width);

  /// Whether it needs the state of every token, so that none can come from a cache.
  bool needs_all() const { return pooling_ == engine_api::Pooling::mean; }
  /// Of how many of the last tokens of a piece it needs the states; `ends`: the text ends with it.
  int64_t wanted(int64_t tokens, bool ends) const;
  /// The states that were wanted of the next piece. Shapes: [n, width].
  void add(std::span<const float> states);
  /// The text is computed again from its beginning.
  void restart();

  /// The embedding, scaled to length 1. Errors: internal when the states are not numbers.
  Result<std::vector<float>> result() const;

 private:
  engine_api::Pooling pooling_;
  std::vector<double> sum_;
};

}  // namespace hadal::engine
