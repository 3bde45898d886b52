#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace hadal::json {

class Value;
using Array = std::vector<Value>;
/// Members in the order of the text. Keys are unique: of a repeated key the last value stays.
using Object = std::vector<std::pair<std::string, Value>>;

/// A JSON value that owns its parts. Numbers without fraction or exponent that fit are int64,
/// others double.
class Value {
 public:
  Value() = default;
  Value(std::nullptr_t) {}                              // NOLINT: implicit like a literal
  Value(bool v) : data_(v) {}                           // NOLINT
  Value(int v) : data_(static_cast<int64_t>(v)) {}      // NOLINT
  Value(int64_t v) : data_(v) {}                        // NOLINT
  Value(double v) : data_(v) {}                         // NOLINT
  Value(const char* v) : data_(std::string(v)) {}       // NOLINT
  Value(std::string_view v) : data_(std::string(v)) {}  // NOLINT
  Value(std::string v) : data_(std::move(v)) {}         // NOLINT
  Value(Array v) : data_(std::move(v)) {}               // NOLINT
  Value(Object v) : data_(std::move(v)) {}              // NOLINT

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_array() const { return std::holds_alternative<Array>(data_); }
  bool is_object() const { return std::holds_alternative<Object>(data_); }
  /// "null", "boolean", "integer", "number", "string", "array" or "object": for error messages.
  std::string_view kind() const;

  /// The content; the kind must have been checked (CHECK otherwise). as_double also takes an
  /// integer.
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  Array& as_array();
  const Object& as_object() const;
  Object& as_object();

  /// The member `key` of an object, or nullptr when it is absent, null, or this is not an object.
  /// Linear.
  const Value* find(std::string_view key) const;
  /// Sets or adds a member; a null value becomes an object first.
  void set(std::string_view key, Value value);

  /// A required member of a kind. Errors: invalid_argument naming the key and what was found.
  Result<int64_t> int_at(std::string_view key) const;
  Result<double> double_at(std::string_view key) const;
  Result<bool> bool_at(std::string_view key) const;
  Result<std::string> string_at(std::string_view key) const;
  /// An optional member of a kind: `fallback` when absent or null. Errors: a value of another kind.
  Result<int64_t> int_or(std::string_view key, int64_t fallback) const;
  Result<double> double_or(std::string_view key, double fallback) const;
  Result<bool> bool_or(std::string_view key, bool fallback) const;
  Result<std::string> string_or(std::string_view key, std::string_view fallback) const;

  bool operator==(const Value&) const = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> data_;
};

/// What parse accepts at most. The default fits requests; a tokenizer.json needs more bytes.
struct Limits {
  size_t bytes_max = 8u << 20;
  size_t depth_max = 64;         ///< held to 1000 at most
  size_t values_max = 4u << 20;  ///< a value takes 40 bytes or more, its text may take two
};

/// The value of a JSON text (RFC 8259, UTF-8, nothing after it).
/// Errors: too_large beyond the limits; invalid_argument with line and column otherwise.
Result<Value> parse(std::string_view text, const Limits& limits = {});

/// How dump separates tokens.
enum class Style {
  compact,  ///< {"a":1,"b":[2]}
  spaced,   ///< {"a": 1, "b": [2]}, as Python's json.dumps: prompt formats need it
  pretty,   ///< two spaces of indentation
};

/// The JSON text of a value. Non-ASCII characters stay as they are; ill-formed UTF-8 becomes
/// U+FFFD. Doubles use the shortest form that reads back; NaN and infinities become null.
std::string dump(const Value& value, Style style = Style::compact);
/// Appends a quoted JSON string.
void append_quoted(std::string& out, std::string_view text);

}  // namespace hadal::json
