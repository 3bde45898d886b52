#include <algorithm>
#include <memory>

#include "tokenizer/internal/unicode.h"
#include "tokenizer/internal/unicode_tables.h"

namespace hadal::tokenizer {
namespace {

constexpr uint8_t kNfcActive = 8;

CharClass class_by_search(uint32_t cp) {
  const uint32_t* end = kClassStarts + kClassStartsSize;
  const uint32_t* it = std::upper_bound(kClassStarts, end, cp << 3 | 7);
  return static_cast<CharClass>(it[-1] & 7);  // the table starts at code point 0
}

// Code points whose presence makes NFC worth running, beyond those with a combining class.
bool active_by_search(uint32_t cp) {
  if ((cp >= 0x1161 && cp <= 0x1175) || (cp >= 0x11A8 && cp <= 0x11C2)) return true;  // jamo V, T
  const uint32_t* end = kCombiningStarts + kCombiningStartsSize;
  const uint32_t* it = std::upper_bound(kCombiningStarts, end, cp << 8 | 0xFF);
  if (it != kCombiningStarts && (it[-1] & 0xFF) != 0) return true;
  for (size_t i = 0; i < kSingletonsSize; i += 2) {
    if (kSingletons[i] == cp) return true;
  }
  for (size_t i = 0; i < kPairsSize; i += 3) {
    if (kPairs[i + 2] == cp) return true;
  }
  return std::find(kNotComposed, kNotComposed + kNotComposedSize, cp) !=
         kNotComposed + kNotComposedSize;
}

// One byte for every code point of the basic plane: CharClass and kNfcActive. Made once, because
// text in other scripts than Latin looks up every character several times.
class BasicPlane {
 public:
  BasicPlane() : bytes_(std::make_unique<uint8_t[]>(0x10000)) {
    for (size_t i = 0; i < kClassStartsSize; ++i) {
      const uint32_t begin = kClassStarts[i] >> 3;
      const uint32_t end = i + 1 < kClassStartsSize ? kClassStarts[i + 1] >> 3 : 0x110000;
      for (uint32_t c = begin; c < end && c < 0x10000; ++c) bytes_[c] = kClassStarts[i] & 7;
    }
    for (size_t i = 0; i + 1 < kCombiningStartsSize; ++i) {
      if ((kCombiningStarts[i] & 0xFF) == 0) continue;
      mark(kCombiningStarts[i] >> 8, kCombiningStarts[i + 1] >> 8);
    }
    for (size_t i = 0; i < kSingletonsSize; i += 2) mark(kSingletons[i], kSingletons[i] + 1);
    for (size_t i = 0; i < kPairsSize; i += 3) mark(kPairs[i + 2], kPairs[i + 2] + 1);
    for (size_t i = 0; i < kNotComposedSize; ++i) mark(kNotComposed[i], kNotComposed[i] + 1);
    mark(0x1161, 0x1176);
    mark(0x11A8, 0x11C3);
  }
  uint8_t operator[](uint32_t cp) const { return bytes_[cp]; }

 private:
  void mark(uint32_t begin, uint32_t end) {
    for (uint32_t c = begin; c < end && c < 0x10000; ++c) bytes_[c] |= kNfcActive;
  }
  std::unique_ptr<uint8_t[]> bytes_;
};

const BasicPlane& basic_plane() {
  static const BasicPlane plane;
  return plane;
}

constexpr std::array<CharClass, 128> ascii_classes() {
  std::array<CharClass, 128> out{};
  for (int c = 0; c < 128; ++c) {
    CharClass k = CharClass::other;
    if (c > ' ' && c < 127) k = CharClass::punct;
    if (c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' || c == '`' ||
        c == '|' || c == '~') {
      k = CharClass::symbol;
    }
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) k = CharClass::letter;
    if (c >= '0' && c <= '9') k = CharClass::number;
    if (c == ' ' || (c >= '\t' && c <= '\r')) k = CharClass::space;
    out[static_cast<size_t>(c)] = k;
  }
  return out;
}

}  // namespace

const std::array<CharClass, 128> kAsciiClasses = ascii_classes();

CharClass class_of(uint32_t cp) {
  if (cp < 0x10000) return static_cast<CharClass>(basic_plane()[cp] & 7);
  return class_by_search(cp);
}

bool nfc_inert(uint32_t cp) {
  if (cp < 0x300) return true;
  if (cp < 0x10000) return (basic_plane()[cp] & kNfcActive) == 0;
  return !active_by_search(cp);
}

}  // namespace hadal::tokenizer
