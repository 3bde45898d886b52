#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/gguf_types.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// A metadata value: its type and its bytes in the image. Nothing is copied, so that a hostile
/// count costs nothing.
class GgufValue {
 public:
  GgufValue() = default;
  GgufValue(GgufType type, GgufType element, uint64_t count, std::span<const std::byte> bytes)
      : type_(type), element_(element), count_(count), bytes_(bytes) {}

  GgufType type() const { return type_; }
  /// Of an array: its elements' type and how many there are.
  GgufType element_type() const { return element_; }
  uint64_t count() const { return count_; }

  /// The scalar, when it is one and fits: integers of any width, numbers, booleans, strings.
  std::optional<int64_t> as_int() const;
  std::optional<double> as_double() const;
  std::optional<bool> as_bool() const;
  std::optional<std::string_view> as_string() const;
  /// The elements of an array. Nothing for another type. Errors of count are found by parse.
  std::optional<std::vector<int64_t>> as_ints() const;
  std::optional<std::vector<double>> as_doubles() const;
  std::optional<std::vector<std::string_view>> as_strings() const;

 private:
  GgufType type_ = GgufType::u8;
  GgufType element_ = GgufType::u8;
  uint64_t count_ = 0;
  std::span<const std::byte> bytes_;
};

struct GgufPair {
  std::string_view key;
  GgufValue value;
};

/// A tensor's entry. `shape` is outermost first (the file stores innermost first).
struct GgufTensor {
  std::string_view name;
  uint32_t type = 0;  ///< a row of gguf_types.h
  Shape shape;
  std::span<const std::byte> bytes;
};

/// A parsed GGUF image, version 2 or 3, little-endian. It borrows the image.
///
/// Everything is checked before it is used: counts against the bytes that remain, sums and products
/// against overflow, offsets against alignment, overlap and the end of the file, names and keys
/// against repetition. Parsing is linear in the size of the header.
/// Errors: corrupt with the place; unsupported for other versions and unknown tensor types.
/// Source: ggml's docs/gguf.md.
class Gguf {
 public:
  static Result<Gguf> parse(std::span<const std::byte> image);

  uint32_t version() const { return version_; }
  std::span<const GgufPair> pairs() const { return pairs_; }
  std::span<const GgufTensor> tensors() const { return tensors_; }
  /// Adds the tensors of another part of a split model.
  void append_tensors(const Gguf& part) {
    tensors_.insert(tensors_.end(), part.tensors_.begin(), part.tensors_.end());
  }
  /// The value of `key`, or nullptr.
  const GgufValue* find(std::string_view key) const;

  /// A value of a kind, or `fallback` when the key is absent.
  /// Errors: corrupt for another type, or out of [min, max].
  Result<int64_t> int_or(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  Result<double> double_or(std::string_view key, double fallback) const;
  Result<bool> bool_or(std::string_view key, bool fallback) const;
  Result<std::string> string_or(std::string_view key, std::string_view fallback) const;
  /// The same, required.
  Result<int64_t> int_at(std::string_view key, int64_t min, int64_t max) const;
  Result<std::string> string_at(std::string_view key) const;

 private:
  uint32_t version_ = 0;
  std::vector<GgufPair> pairs_;      ///< sorted by key
  std::vector<GgufTensor> tensors_;  ///< in the order of the file
};

}  // namespace hadal::format
