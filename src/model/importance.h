#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "format/importance.h"
#include "kernels/device.h"

namespace hadal::model {

/// What a text says of a model's weights.
struct Importance {
  format::ImportanceMatrix matrix;
  int64_t experts_unseen = 0;  ///< that no token of the text chose
};

/// Runs a model over pieces of text, each from its beginning, and sums up the squared inputs of its
/// linear layers. `device` should compute exactly. `go_on(tokens)` is told how many tokens are done
/// and may stop the work.
/// Errors: what loading can give; invalid_argument for pieces longer than the context; cancelled.
Result<Importance> measure_importance(const format::Checkpoint& checkpoint, kernels::Device& device,
                                      std::span<const std::vector<int32_t>> pieces,
                                      const std::function<bool(int64_t tokens)>& go_on);

}  // namespace hadal::model
