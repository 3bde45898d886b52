#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace hadal {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

/// a * b, or nothing when it does not fit. Every size that comes from a file or a request goes
/// through these.
constexpr std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

/// a + b, or nothing when it does not fit.
constexpr std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

/// ceil(a / b) for b > 0, without overflow.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }
/// The smallest multiple of b that is >= a.
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

/// "1.50 GiB": bytes for people.
std::string format_bytes(uint64_t bytes);
/// "1.78 B": a count for people.
std::string format_count(uint64_t count);

}  // namespace hadal
