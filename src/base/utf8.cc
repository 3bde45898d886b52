#include "base/utf8.h"

#include <cstdio>

#include <algorithm>

namespace hadal {
namespace {

// What a lead byte allows: total length, and the range of the second byte. Length 0: not a lead
// byte.
struct Lead {
  uint32_t length;
  uint8_t second_min;
  uint8_t second_max;
};

Lead lead_of(uint8_t b) {
  if (b < 0x80) return {1, 0, 0};
  if (b < 0xC2) return {0, 0, 0};
  if (b < 0xE0) return {2, 0x80, 0xBF};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};
  if (b < 0xF0) return {3, 0x80, 0xBF};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b < 0xF4) return {4, 0x80, 0xBF};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes from text[0] follow table 3-7, at most lead.length.
uint32_t well_formed_prefix(std::string_view text, Lead lead) {
  const uint32_t limit = std::min<uint32_t>(lead.length, static_cast<uint32_t>(text.size()));
  uint32_t i = 1;
  for (; i < limit; ++i) {
    const auto b = static_cast<uint8_t>(text[i]);
    const uint8_t lo = i == 1 ? lead.second_min : 0x80;
    const uint8_t hi = i == 1 ? lead.second_max : 0xBF;
    if (b < lo || b > hi) break;
  }
  return i;
}

}  // namespace

Utf8Char decode_utf8(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const Lead lead = lead_of(first);
  if (lead.length == 0) return {kUtf8Replacement, 1, false};
  if (lead.length == 1) return {first, 1, true};
  const uint32_t have = well_formed_prefix(text, lead);
  if (have < lead.length) return {kUtf8Replacement, have, false};
  uint32_t cp = first & (0x7Fu >> lead.length);
  for (uint32_t i = 1; i < lead.length; ++i) cp = cp << 6 | (static_cast<uint8_t>(text[i]) & 0x3Fu);
  return {cp, lead.length, true};
}

void append_utf8(std::string& out, uint32_t cp) {
  if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) cp = kUtf8Replacement;
  if (cp < 0x80) {
    out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    out += static_cast<char>(0xC0 | cp >> 6);
    out += static_cast<char>(0x80 | (cp & 0x3F));
  } else if (cp < 0x10000) {
    out += static_cast<char>(0xE0 | cp >> 12);
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (cp & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | cp >> 18);
    out += static_cast<char>(0x80 | (cp >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (cp >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (cp & 0x3F));
  }
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (!c.valid) return false;
    text.remove_prefix(c.bytes);
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (c.valid) {
      out.append(text.substr(0, c.bytes));
    } else {
      append_utf8(out, kUtf8Replacement);
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

size_t utf8_length(std::string_view text) {
  // Every character has one byte that does not continue another.
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string for_terminal(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    const uint32_t p = c.code_point;
    const bool control = (p < 0x20 && p != '\n' && p != '\t') || (p >= 0x7F && p < 0xA0);
    const bool turns = (p >= 0x202A && p <= 0x202E) || (p >= 0x2066 && p <= 0x2069);
    if (control || turns || !c.valid) {
      char shown[16];
      std::snprintf(shown, sizeof shown, "<%02X>",
                    c.valid ? p : static_cast<uint32_t>(static_cast<unsigned char>(text[0])));
      out += shown;
    } else {
      out += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.valid ? c.bytes : 1);
  }
  return out;
}

size_t incomplete_utf8_tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const Lead lead = lead_of(static_cast<uint8_t>(tail[0]));
    if (lead.length <= 1) {
      if (lead.length == 1) return 0;
      continue;
    }
    return lead.length > back && well_formed_prefix(tail, lead) == back ? back : 0;
  }
  return 0;
}

}  // namespace hadal
