#pragma once

#include <cstddef>
#include <cstdint>

// The generated tables (tools/make_unicode_tables.py): sorted, packed into 32-bit words.
namespace hadal::tokenizer {

extern const uint32_t kClassStarts[];  ///< code point << 3 | CharClass, where the class changes
extern const size_t kClassStartsSize;
extern const uint32_t kCombiningStarts[];  ///< code point << 8 | combining class, where it changes
extern const size_t kCombiningStartsSize;
extern const uint32_t kSingletons[];  ///< code point, the one it decomposes into
extern const size_t kSingletonsSize;
extern const uint32_t kPairs[];  ///< code point, first and second of its decomposition
extern const size_t kPairsSize;
extern const uint32_t kNotComposed[];  ///< pairs that NFC does not compose
extern const size_t kNotComposedSize;

}  // namespace hadal::tokenizer
