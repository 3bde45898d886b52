#pragma once

#include <cstdint>

namespace hadal {

/// One output of SplitMix64 for state `x`: a good 64-bit mixing function.
/// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
constexpr uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

/// A counter-based generator: the n-th number depends on the seed and n only, so the same seed
/// gives the same text on every machine and compiler. Not for secrets.
class Rng {
 public:
  explicit constexpr Rng(uint64_t seed) : key_(splitmix64(seed)) {}

  constexpr uint64_t next_u64() { return splitmix64(key_ ^ splitmix64(counter_++)); }
  /// Uniform in [0, 1), 53 bits.
  constexpr double next_double() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }
  /// Uniform in [0, n). `n` > 0. The bias for n < 2^32 is below 2^-32.
  constexpr uint64_t next_below(uint64_t n) { return next_u64() % n; }

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace hadal
