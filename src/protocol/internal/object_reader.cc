#include "protocol/internal/object_reader.h"

#include <cmath>
#include <cstdio>

#include "base/check.h"

namespace hadal::protocol::internal {
namespace {

std::string text_of(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", v);
  return text;
}

}  // namespace

std::string element(std::string_view path, size_t index) {
  return std::string(path) + "[" + std::to_string(index) + "]";
}

Error bad_at(const std::string& place, std::string_view why) {
  return invalid_argument(place + " " + std::string(why)).about(place);
}

std::optional<int64_t> as_integer(const json::Value& value) {
  if (value.is_int()) return value.as_int();
  if (!value.is_number()) return std::nullopt;
  const double d = value.as_double();
  if (!(std::fabs(d) < 9e15) || d != std::floor(d)) return std::nullopt;
  return static_cast<int64_t>(d);
}

ObjectReader::ObjectReader(const json::Value& object, std::string path)
    : object_(&object), path_(std::move(path)) {
  CHECK(object.is_object());
}

Result<ObjectReader> ObjectReader::of(const json::Value& value, std::string path) {
  if (!value.is_object()) {
    const std::string what = path.empty() ? "the body" : path;
    return invalid_argument(what + " must be a JSON object, not " + std::string(value.kind()))
        .about(path);
  }
  return ObjectReader(value, std::move(path));
}

std::string ObjectReader::place(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

Error ObjectReader::bad(std::string_view key, std::string_view why) const {
  return bad_at(place(key), why);
}

Error ObjectReader::wrong_kind(std::string_view key, std::string_view wanted) const {
  const json::Value* v = find(key);
  return bad(key, "must be " + std::string(wanted) + ", not " +
                      std::string(v == nullptr ? "absent" : v->kind()));
}

Result<double> ObjectReader::number(std::string_view key, double fallback, double min,
                                    double max) const {
  const json::Value* v = find(key);
  if (v == nullptr) return fallback;
  if (!v->is_number()) return wrong_kind(key, "a number");
  const double d = v->as_double();
  if (!(d >= min && d <= max)) {
    return bad(key,
               "must be between " + text_of(min) + " and " + text_of(max) + ", not " + text_of(d));
  }
  return d;
}

Result<std::optional<int64_t>> ObjectReader::integer(std::string_view key, int64_t min,
                                                     int64_t max) const {
  const json::Value* v = find(key);
  if (v == nullptr) return std::optional<int64_t>();
  const auto i = as_integer(*v);
  if (!i) return wrong_kind(key, "an integer");
  if (*i < min || *i > max) {
    return bad(key, "must be between " + std::to_string(min) + " and " + std::to_string(max) +
                        ", not " + std::to_string(*i));
  }
  return i;
}

Result<bool> ObjectReader::boolean(std::string_view key, bool fallback) const {
  const json::Value* v = find(key);
  if (v == nullptr) return fallback;
  if (!v->is_bool()) return wrong_kind(key, "true or false");
  return v->as_bool();
}

Result<std::string> ObjectReader::string(std::string_view key, std::string_view fallback) const {
  const json::Value* v = find(key);
  if (v == nullptr) return std::string(fallback);
  if (!v->is_string()) return wrong_kind(key, "a string");
  return v->as_string();
}

Result<const json::Value*> ObjectReader::object(std::string_view key) const {
  const json::Value* v = find(key);
  if (v != nullptr && !v->is_object()) return wrong_kind(key, "an object");
  return v;
}

Result<const json::Value*> ObjectReader::array(std::string_view key, size_t size_max) const {
  const json::Value* v = find(key);
  if (v == nullptr) return v;
  if (!v->is_array()) return wrong_kind(key, "an array");
  if (v->as_array().size() > size_max) {
    return bad(key, "must have at most " + std::to_string(size_max) + " elements, not " +
                        std::to_string(v->as_array().size()));
  }
  return v;
}

}  // namespace hadal::protocol::internal
