#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

/// One decoded character: its code point and how many bytes it took (at least 1).
struct Utf8Char {
  uint32_t code_point;  ///< kUtf8Replacement for a byte that is not well-formed UTF-8
  uint32_t bytes;
  bool valid;
};

inline constexpr uint32_t kUtf8Replacement = 0xFFFD;

/// The character that starts at `text[0]`. `text` is not empty. An ill-formed sequence takes its
/// maximal subpart, as the Unicode standard recommends. Source: Unicode 15, section 3.9, table 3-7.
Utf8Char decode_utf8(std::string_view text);
/// Appends the UTF-8 form of `code_point` (U+FFFD for surrogates and numbers beyond U+10FFFF).
void append_utf8(std::string& out, uint32_t code_point);
/// Whether every byte belongs to a well-formed sequence.
bool is_utf8(std::string_view text);
/// The text with each ill-formed maximal subpart replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);
/// Characters of well-formed text.
size_t utf8_length(std::string_view text);
/// The text with everything that could steer a terminal or hide written as <1B>: control characters
/// but for line breaks and tabs, the C1 range, and the marks that turn the direction of writing.
std::string for_terminal(std::string_view text);
/// How many bytes at the end of `text` begin a character that more bytes could complete: 0, 1, 2
/// or 3.
size_t incomplete_utf8_tail(std::string_view text);

}  // namespace hadal
