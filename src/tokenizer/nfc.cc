// Canonical composition: decompose, order by combining class, compose. Source: UAX #15; the Hangul
// arithmetic is in section 3.12 of the Unicode standard.
#include <algorithm>
#include <utility>
#include <vector>

#include "tokenizer/internal/unicode.h"
#include "tokenizer/internal/unicode_tables.h"

namespace hadal::tokenizer {
namespace {

constexpr uint32_t kSBase = 0xAC00, kLBase = 0x1100, kVBase = 0x1161, kTBase = 0x11A7;
constexpr uint32_t kLCount = 19, kVCount = 21, kTCount = 28, kSCount = kLCount * kVCount * kTCount;
constexpr uint32_t kNone = 0xFFFFFFFF;
// Ill-formed bytes travel as code points of their own beyond Unicode: inert starters.
constexpr uint32_t kByteBase = kInvalidByte;

uint8_t combining_class(uint32_t cp) {
  const uint32_t* end = kCombiningStarts + kCombiningStartsSize;
  const uint32_t* it = std::upper_bound(kCombiningStarts, end, cp << 8 | 0xFF);
  return it == kCombiningStarts ? 0 : static_cast<uint8_t>(it[-1] & 0xFF);
}

// The index of `cp` among rows of `width` words that start with a sorted code point, or kNone.
size_t row_of(const uint32_t* table, size_t size, size_t width, uint32_t cp) {
  size_t lo = 0, hi = size / width;
  while (lo < hi) {
    const size_t mid = (lo + hi) / 2;
    if (table[mid * width] < cp) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo < size / width && table[lo * width] == cp ? lo * width : kNone;
}

// Every pair that composes: first << 32 | second, and what it becomes. Sorted.
const std::vector<std::pair<uint64_t, uint32_t>>& compositions() {
  static const auto table = [] {
    std::vector<std::pair<uint64_t, uint32_t>> out;
    for (size_t i = 0; i < kPairsSize; i += 3) {
      if (std::binary_search(kNotComposed, kNotComposed + kNotComposedSize, kPairs[i])) continue;
      out.emplace_back(static_cast<uint64_t>(kPairs[i + 1]) << 32 | kPairs[i + 2], kPairs[i]);
    }
    std::sort(out.begin(), out.end());
    return out;
  }();
  return table;
}

uint32_t compose(uint32_t a, uint32_t b) {
  if (a - kLBase < kLCount && b - kVBase < kVCount) {
    return kSBase + ((a - kLBase) * kVCount + (b - kVBase)) * kTCount;
  }
  if (a - kSBase < kSCount && (a - kSBase) % kTCount == 0 && b > kTBase && b - kTBase < kTCount) {
    return a + (b - kTBase);
  }
  const uint64_t key = static_cast<uint64_t>(a) << 32 | b;
  const auto& table = compositions();
  const auto it =
      std::lower_bound(table.begin(), table.end(), key,
                       [](const auto& row, uint64_t wanted) { return row.first < wanted; });
  return it != table.end() && it->first == key ? it->second : kNone;
}

struct Mark {
  uint32_t code_point;
  uint8_t combining;
};

void decompose(uint32_t cp, std::vector<Mark>& out) {
  if (cp - kSBase < kSCount) {
    const uint32_t s = cp - kSBase;
    out.push_back({kLBase + s / (kVCount * kTCount), 0});
    out.push_back({kVBase + s % (kVCount * kTCount) / kTCount, 0});
    if (s % kTCount != 0) out.push_back({kTBase + s % kTCount, 0});
    return;
  }
  if (const size_t row = row_of(kSingletons, kSingletonsSize, 2, cp); row != kNone) {
    return decompose(kSingletons[row + 1], out);
  }
  if (const size_t row = row_of(kPairs, kPairsSize, 3, cp); row != kNone) {
    decompose(kPairs[row + 1], out);  // at most four levels deep: the table is fixed
    return decompose(kPairs[row + 2], out);
  }
  out.push_back({cp, cp >= kByteBase ? uint8_t{0} : combining_class(cp)});
}

void append(std::string& out, uint32_t cp) {
  if (cp >= kByteBase) {
    out += static_cast<char>(cp - kByteBase);
  } else {
    append_utf8(out, cp);
  }
}

// Composes marks[0..), which starts with a starter (or is the head of a text), and writes it out.
void compose_all(std::vector<Mark>& marks, std::string& out) {
  size_t starter = kNone;
  size_t kept = 0;
  uint8_t last = 0;  // combining class of the last mark kept after the starter
  for (size_t i = 0; i < marks.size(); ++i) {
    const Mark m = marks[i];
    if (starter != kNone && (kept == starter + 1 || (last != 0 && last < m.combining))) {
      const uint32_t joined = compose(marks[starter].code_point, m.code_point);
      if (joined != kNone) {
        marks[starter].code_point = joined;
        continue;
      }
    }
    if (m.combining == 0) starter = kept;
    last = m.combining;
    marks[kept++] = m;
  }
  for (size_t i = 0; i < kept; ++i) append(out, marks[i].code_point);
}

}  // namespace

bool is_nfc_quick(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    if (static_cast<uint8_t>(text[pos]) < 0x80) {
      ++pos;
      continue;
    }
    const Utf8Char c = decode_utf8(text.substr(pos, 4));
    if (c.valid && !nfc_inert(c.code_point)) return false;
    pos += c.valid ? c.bytes : 1;
  }
  return true;
}

std::string to_nfc(std::string_view text) {
  std::vector<Mark> marks;
  std::string out;
  out.reserve(text.size());
  size_t run = 0;  // where the marks after the last starter begin
  const auto order_run = [&](size_t end) {
    if (end < run + 2) return;
    std::stable_sort(marks.begin() + static_cast<std::ptrdiff_t>(run),
                     marks.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Mark& a, const Mark& b) { return a.combining < b.combining; });
  };
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(pos, 4));
    const uint32_t cp = c.valid ? c.code_point : kByteBase + static_cast<uint8_t>(text[pos]);
    pos += c.valid ? c.bytes : 1;
    // An inert character ends everything before it: nothing later can join what is earlier.
    if (c.valid && cp < kByteBase && nfc_inert(cp) && !marks.empty()) {
      order_run(marks.size());
      compose_all(marks, out);
      marks.clear();
      run = 0;
    }
    const size_t before = marks.size();
    decompose(cp, marks);
    for (size_t i = before; i < marks.size(); ++i) {
      if (marks[i].combining != 0) continue;
      order_run(i);  // the marks up to this starter are complete
      run = i + 1;
    }
  }
  order_run(marks.size());
  compose_all(marks, out);
  return out;
}

}  // namespace hadal::tokenizer
