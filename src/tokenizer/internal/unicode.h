#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace hadal::tokenizer {

/// The classes that pre-tokenizers tell apart: general categories L*, M*, N*, P*, S*, and
/// White_Space (what \s matches). Source: Unicode 16.0, the version of the reference.
enum class CharClass : uint8_t { other, letter, mark, number, punct, symbol, space };

/// Stands for a byte that is not part of well-formed UTF-8; its class is `other`.
inline constexpr uint32_t kInvalidByte = 0x110000;

/// A decoded character of a text.
struct Char {
  uint32_t code_point;
  uint32_t bytes;
  CharClass cls;
};

/// What the table says about a code point up to U+10FFFF.
CharClass class_of(uint32_t code_point);
/// Whether NFC may change a text because of this code point: it decomposes for good, may compose
/// with what is before it, or has a combining class.
bool nfc_inert(uint32_t code_point);
/// The classes of ASCII.
extern const std::array<CharClass, 128> kAsciiClasses;

/// The character at `pos`, which must lie inside `text`. An ill-formed byte is a character of its
/// own.
inline Char char_at(std::string_view text, size_t pos) {
  const auto b = static_cast<uint8_t>(text[pos]);
  if (b < 0x80) return {b, 1, kAsciiClasses[b]};
  const Utf8Char c = decode_utf8(text.substr(pos, 4));
  if (!c.valid) return {kInvalidByte, 1, CharClass::other};
  return {c.code_point, c.bytes, class_of(c.code_point)};
}

/// Canonical composition (NFC). Ill-formed bytes stay as they are.
/// Source: UAX #15 with the data of Unicode 9.0, the version of the reference.
std::string to_nfc(std::string_view text);
/// Whether to_nfc certainly changes nothing; cheap.
bool is_nfc_quick(std::string_view text);

}  // namespace hadal::tokenizer
