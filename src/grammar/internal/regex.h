#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace hadal::grammar::internal {

/// How a regular expression's characters are written where it is used.
struct RegexOutput {
  std::function<Expr(const CharSet&)> character;
  std::function<Expr()> any_character;  ///< of what stands around an expression without ^ or $
};

/// The texts in which `pattern` is found, as ECMA 262 reads it: alternatives, groups (capturing,
/// (?:...), named), sets, ., \d \D \w \W \s \S, ? * + {n} {n,} {n,m}, greedy or not, ^ and $ at
/// the begin and end of alternatives that are not in a group, escapes \t \n \r \f \v \0 \xHH \uHHHH
/// \u{H} and of signs. What it says is as ASCII as there: \d is 0 to 9.
///
/// Errors: invalid_argument with the place, also for what is not known: look-around, back
/// references, \b, \p{...}, anchors elsewhere; too_large.
Result<Expr> read_regex(Grammar& grammar, std::string_view pattern, const RegexOutput& output,
                        const Limits& limits);

}  // namespace hadal::grammar::internal
