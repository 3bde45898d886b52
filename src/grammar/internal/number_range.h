#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "grammar/grammar.h"
#include "json/json.h"

namespace hadal::grammar::internal {

/// A bound of a range of numbers.
struct Bound {
  json::Value value;
  bool exclusive = false;
};

/// The JSON numbers between two bounds, of which at least one is there; integers only, or with up
/// to 16 digits after the point. Numbers have at most 16 digits before it and no exponent. An empty
/// range matches nothing. Errors: invalid_argument for a bound with more digits than that.
Result<Expr> number_range(Grammar& grammar, const std::optional<Bound>& low,
                          const std::optional<Bound>& high, bool integers);

}  // namespace hadal::grammar::internal
