#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"

namespace hadal::grammar {

/// Reads a grammar in llama.cpp's notation (GBNF):
///
///     root   ::= "yes" | "no" reason?     # the rule that a whole text must match
///     reason ::= ": " [a-z ,.]+ | "\u2026" {1,3}
///
/// A rule is a name (letters, digits, - and _), ::= and alternatives between |. Items are literals
/// "...", characters [a-z] and [^"\n], any character ., names and groups (...), each with ?, *, +,
/// {n}, {n,}, {,n} or {n,m}. Escapes: \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH. A rule
/// ends where the next begins; line breaks are blanks. # begins a comment.
///
/// Errors: invalid_argument with line and column; too_large beyond `limits`.
/// Source: llama.cpp, grammars/README.md.
Result<Grammar> read_ebnf(std::string_view text, const Limits& limits = {});

}  // namespace hadal::grammar
