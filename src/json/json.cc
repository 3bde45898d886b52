#include "json/json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/src.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace hadal::json {
namespace {

namespace bj = boost::json;

/// Frames deeper than this would risk the parser's own stack, whatever the caller asks for.
constexpr size_t kDepthCap = 1000;

/// Gives each key of an object once: the first place, the last value. By sorting: a hash table's
/// worst case is a peer's to choose.
void drop_repeated_keys(Object& object) {
  if (object.size() < 2) return;
  std::vector<size_t> order(object.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return std::string_view(object[i].first); });
  std::vector<bool> dead(object.size(), false);
  bool any = false;
  for (size_t i = 0; i < order.size();) {
    const size_t first = order[i];
    size_t end = i + 1;
    while (end < order.size() && object[order[end]].first == object[first].first) ++end;
    for (size_t j = i + 1; j < end; ++j) dead[order[j]] = any = true;
    if (end > i + 1) object[first].second = std::move(object[order[end - 1]].second);
    i = end;
  }
  if (!any) return;
  Object kept;
  for (size_t i = 0; i < object.size(); ++i) {
    if (!dead[i]) kept.push_back(std::move(object[i]));
  }
  object = std::move(kept);
}

/// Receives the parser's events and builds a Value, holding the limits.
struct Builder {
  // The parser's interface: no limit here, the text's size is limited before it starts.
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  explicit Builder(const Limits& l) : limits(l) {}

  bool add(Value value, bj::error_code& ec) {
    if (++values > limits.values_max) {
      too_many = true;
      ec = bj::error::array_too_large;
      return false;
    }
    if (open.empty()) {
      root = std::move(value);
    } else if (open.back().is_array()) {
      open.back().as_array().push_back(std::move(value));
    } else {
      open.back().as_object().back().second = std::move(value);
    }
    return true;
  }
  bool begin(Value container, bj::error_code& ec) {
    if (open.size() >= limits.depth_max) {
      ec = bj::error::too_deep;
      return false;
    }
    open.push_back(std::move(container));
    return true;
  }
  bool end(bj::error_code& ec) {
    Value done = std::move(open.back());
    open.pop_back();
    return add(std::move(done), ec);
  }
  std::string take(std::string& part, bj::string_view last) {
    part.append(last.data(), last.size());
    return std::exchange(part, {});
  }

  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code& ec) { return begin(Object{}, ec); }
  bool on_object_end(size_t, bj::error_code& ec) {
    drop_repeated_keys(open.back().as_object());
    return end(ec);
  }
  bool on_array_begin(bj::error_code& ec) { return begin(Array{}, ec); }
  bool on_array_end(size_t, bj::error_code& ec) { return end(ec); }
  bool on_key_part(bj::string_view s, size_t, bj::error_code&) {
    text.append(s.data(), s.size());
    return true;
  }
  bool on_key(bj::string_view s, size_t, bj::error_code&) {
    open.back().as_object().emplace_back(take(text, s), Value());
    return true;
  }
  bool on_string_part(bj::string_view s, size_t, bj::error_code&) {
    text.append(s.data(), s.size());
    return true;
  }
  bool on_string(bj::string_view s, size_t, bj::error_code& ec) {
    return add(Value(take(text, s)), ec);
  }
  bool on_number_part(bj::string_view s, bj::error_code&) {
    number.append(s.data(), s.size());
    return true;
  }
  bool on_int64(int64_t i, bj::string_view, bj::error_code& ec) {
    number.clear();
    return add(Value(i), ec);
  }
  bool on_uint64(uint64_t u, bj::string_view, bj::error_code& ec) {
    number.clear();
    if (u <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return add(Value(static_cast<int64_t>(u)), ec);
    }
    return add(Value(static_cast<double>(u)), ec);
  }
  // The parser's own conversion may be off by one unit in the last place, so the text is read
  // again.
  bool on_double(double approximate, bj::string_view s, bj::error_code& ec) {
    const std::string all = take(number, s);
    double exact = 0;
    const auto r = std::from_chars(all.data(), all.data() + all.size(), exact);
    if (r.ec == std::errc::result_out_of_range) {
      if (!(std::fabs(approximate) < 1)) {
        ec = bj::error::exponent_overflow;
        return false;
      }
      exact = 0;
    }
    return add(Value(exact), ec);
  }
  bool on_bool(bool b, bj::error_code& ec) { return add(Value(b), ec); }
  bool on_null(bj::error_code& ec) { return add(Value(), ec); }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }

  Limits limits;
  std::vector<Value> open;  ///< containers that have begun and not ended
  Value root;
  std::string text, number;  ///< what came in parts
  size_t values = 0;
  bool too_many = false;
};

std::string place(std::string_view text, size_t offset) {
  size_t line = 1, start = 0;
  offset = std::min(offset, text.size());
  for (size_t i = 0; i < offset; ++i) {
    if (text[i] == '\n') {
      ++line;
      start = i + 1;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(offset - start + 1);
}

Error syntax_error(std::string_view text, size_t offset, const bj::error_code& ec) {
  return invalid_argument("JSON " + place(text, offset) + ": " + ec.message());
}

Error wrong_kind(std::string_view key, std::string_view wanted, const Value* found) {
  std::string message("'");
  message.append(key).append("' must be ").append(wanted).append(", found ");
  message.append(found == nullptr ? "nothing" : found->kind());
  return invalid_argument(std::move(message)).about(key);
}

}  // namespace

Result<Value> parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes_max) {
    return too_large("JSON text of " + std::to_string(text.size()) + " bytes; at most " +
                     std::to_string(limits.bytes_max) + " are accepted");
  }
  Limits held = limits;
  held.depth_max = std::min(limits.depth_max, kDepthCap);
  bj::parse_options options;
  options.max_depth = held.depth_max;
  bj::basic_parser<Builder> parser(options, held);
  bj::error_code ec;
  const size_t used = parser.write_some(false, text.data(), text.size(), ec);
  const Builder& builder = parser.handler();
  if (builder.too_many) {
    return too_large("JSON with more than " + std::to_string(held.values_max) + " values");
  }
  if (ec == bj::error::too_deep) {
    return too_large("JSON " + place(text, used) + ": nested deeper than " +
                     std::to_string(held.depth_max));
  }
  if (ec) return syntax_error(text, used, ec);
  if (used < text.size()) return syntax_error(text, used, bj::error::extra_data);
  return std::move(parser.handler().root);
}

std::string_view Value::kind() const {
  constexpr std::string_view kNames[] = {"null",   "boolean", "integer", "number",
                                         "string", "array",   "object"};
  return kNames[data_.index()];
}

bool Value::as_bool() const {
  CHECK(is_bool());
  return std::get<bool>(data_);
}
int64_t Value::as_int() const {
  CHECK(is_int());
  return std::get<int64_t>(data_);
}
double Value::as_double() const {
  CHECK(is_number());
  return is_int() ? static_cast<double>(std::get<int64_t>(data_)) : std::get<double>(data_);
}
const std::string& Value::as_string() const {
  CHECK(is_string());
  return std::get<std::string>(data_);
}
const Array& Value::as_array() const {
  CHECK(is_array());
  return std::get<Array>(data_);
}
Array& Value::as_array() {
  CHECK(is_array());
  return std::get<Array>(data_);
}
const Object& Value::as_object() const {
  CHECK(is_object());
  return std::get<Object>(data_);
}
Object& Value::as_object() {
  CHECK(is_object());
  return std::get<Object>(data_);
}

const Value* Value::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : std::get<Object>(data_)) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

void Value::set(std::string_view key, Value value) {
  if (is_null()) data_ = Object{};
  CHECK(is_object());
  auto& object = std::get<Object>(data_);
  for (auto& [name, old] : object) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  object.emplace_back(std::string(key), std::move(value));
}

Result<int64_t> Value::int_at(std::string_view key) const {
  const Value* v = find(key);
  if (v == nullptr || !v->is_int()) return wrong_kind(key, "an integer", v);
  return v->as_int();
}
Result<double> Value::double_at(std::string_view key) const {
  const Value* v = find(key);
  if (v == nullptr || !v->is_number()) return wrong_kind(key, "a number", v);
  return v->as_double();
}
Result<bool> Value::bool_at(std::string_view key) const {
  const Value* v = find(key);
  if (v == nullptr || !v->is_bool()) return wrong_kind(key, "true or false", v);
  return v->as_bool();
}
Result<std::string> Value::string_at(std::string_view key) const {
  const Value* v = find(key);
  if (v == nullptr || !v->is_string()) return wrong_kind(key, "a string", v);
  return v->as_string();
}
Result<int64_t> Value::int_or(std::string_view key, int64_t fallback) const {
  if (find(key) == nullptr) return fallback;
  return int_at(key);
}
Result<double> Value::double_or(std::string_view key, double fallback) const {
  if (find(key) == nullptr) return fallback;
  return double_at(key);
}
Result<bool> Value::bool_or(std::string_view key, bool fallback) const {
  if (find(key) == nullptr) return fallback;
  return bool_at(key);
}
Result<std::string> Value::string_or(std::string_view key, std::string_view fallback) const {
  if (find(key) == nullptr) return std::string(fallback);
  return string_at(key);
}

}  // namespace hadal::json
