#pragma once

#include <string_view>

namespace hadal::grammar::internal {

/// A regular expression for the strings of a JSON Schema format; empty for a format that is not
/// known, which is an annotation then. Some ways to write a value are left out: none is wrong.
std::string_view format_pattern(std::string_view format);

}  // namespace hadal::grammar::internal
