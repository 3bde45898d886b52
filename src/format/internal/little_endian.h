#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <type_traits>

namespace hadal::format {

// Both formats store little-endian numbers; no big-endian machine is supported.
static_assert(std::endian::native == std::endian::little);

/// The number stored at `data`, at any alignment.
template <class T>
T load(const std::byte* data) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

/// Stores `value` at `data`, at any alignment.
template <class T>
void store(std::byte* data, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(data, &value, sizeof(T));
}

}  // namespace hadal::format
