#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "json/json.h"

namespace hadal::protocol::internal {

/// Reads the members of a JSON object and names the place of what is wrong: "messages[1].role".
/// An absent member and null are the same. Errors of all: invalid_argument with param.
class ObjectReader {
 public:
  /// `object` must outlive the reader and be an object; `path` is its place, empty for the body.
  ObjectReader(const json::Value& object, std::string path);
  /// As the constructor, for a value that may be something else.
  static Result<ObjectReader> of(const json::Value& value, std::string path);

  const json::Value* find(std::string_view key) const { return object_->find(key); }
  std::string place(std::string_view key) const;

  Result<double> number(std::string_view key, double fallback, double min, double max) const;
  Result<std::optional<int64_t>> integer(std::string_view key, int64_t min, int64_t max) const;
  Result<bool> boolean(std::string_view key, bool fallback) const;
  Result<std::string> string(std::string_view key, std::string_view fallback = "") const;
  /// The member, which must be an object or an array when it is there.
  Result<const json::Value*> object(std::string_view key) const;
  Result<const json::Value*> array(std::string_view key, size_t size_max) const;

  /// "`place` must be an integer, not a string".
  Error wrong_kind(std::string_view key, std::string_view wanted) const;
  /// "`place` <why>".
  Error bad(std::string_view key, std::string_view why) const;

 private:
  const json::Value* object_;
  std::string path_;
};

/// "path[i]".
std::string element(std::string_view path, size_t index);
/// "`place` <why>", about `place`.
Error bad_at(const std::string& place, std::string_view why);
/// The integer in a value, also when it is written 5.0.
std::optional<int64_t> as_integer(const json::Value& value);

}  // namespace hadal::protocol::internal
