#pragma once

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "json/json.h"

/// Whether a JSON value follows a schema, by walking both: written without a look at the compiler,
/// for its tests. Knows the keywords that they use.
namespace hadal::grammar {

class JsonCheck {
 public:
  explicit JsonCheck(const json::Value& root) : root_(root) {}
  bool operator()(const json::Value& v) const { return valid(v, root_); }

 private:
  using Value = json::Value;

  static bool equal(const Value& a, const Value& b) {
    return a.is_number() && b.is_number() ? a.as_double() == b.as_double() : a == b;
  }
  static bool has_type(const Value& v, const std::string& type) {
    if (type == "number") return v.is_number();
    if (type == "integer") return v.is_number() && std::floor(v.as_double()) == v.as_double();
    if (type == "boolean") return v.is_bool();
    return v.kind() == type;
  }
  const Value& resolve(const std::string& ref) const {
    const Value* at = &root_;
    for (size_t i = 1; i < ref.size();) {
      const size_t end = std::min(ref.find('/', i + 1), ref.size());
      std::string step = ref.substr(i + 1, end - i - 1);
      if (const size_t slash = step.find("~1"); slash != std::string::npos) {
        step.replace(slash, 2, "/");
      }
      at = at->find(step);
      i = end;
    }
    return *at;
  }
  size_t matching(const Value& v, const Value& list) const {
    return static_cast<size_t>(
        std::ranges::count_if(list.as_array(), [&](const Value& s) { return valid(v, s); }));
  }

  bool valid(const Value& v, const Value& s) const {
    if (s.is_bool()) return s.as_bool();
    if (const Value* r = s.find("$ref"); r && !valid(v, resolve(r->as_string()))) return false;
    if (const Value* t = s.find("type")) {
      if (t->is_string() && !has_type(v, t->as_string())) return false;
      if (t->is_array() && std::ranges::none_of(t->as_array(), [&](const Value& one) {
            return has_type(v, one.as_string());
          })) {
        return false;
      }
    }
    for (const auto& [key, k] : s.as_object()) {
      if (key == "const" && !equal(v, k)) return false;
      if (key == "enum" && std::ranges::none_of(k.as_array(), [&, &value = v](const Value& one) {
            return equal(value, one);
          })) {
        return false;
      }
      if (key == "allOf" && matching(v, k) != k.as_array().size()) return false;
      if (key == "anyOf" && matching(v, k) == 0) return false;
      if (key == "oneOf" && matching(v, k) != 1) return false;
    }
    if (v.is_string()) return valid_string(v.as_string(), s);
    if (v.is_number()) return valid_number(v.as_double(), s);
    if (v.is_array()) return valid_array(v.as_array(), s);
    return !v.is_object() || valid_object(v, s);
  }

  static bool valid_string(const std::string& text, const Value& s) {
    const auto length = static_cast<double>(utf8_length(text));
    if (const Value* k = s.find("minLength"); k && length < k->as_double()) return false;
    if (const Value* k = s.find("maxLength"); k && length > k->as_double()) return false;
    const Value* k = s.find("pattern");
    return !k || found(text, k->as_string());
  }
  static std::wstring wide(std::string_view text) {
    std::wstring out;
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = decode_utf8(text.substr(i));
      out += static_cast<wchar_t>(c.code_point);
      i += c.bytes;
    }
    return out;
  }
  static bool found(std::string_view text, std::string_view pattern) {
    return std::regex_search(wide(text), std::wregex(wide(pattern)));
  }

  static bool valid_number(double v, const Value& s) {
    if (const Value* k = s.find("minimum"); k && v < k->as_double()) return false;
    if (const Value* k = s.find("maximum"); k && v > k->as_double()) return false;
    if (const Value* k = s.find("exclusiveMinimum"); k && v <= k->as_double()) return false;
    const Value* k = s.find("exclusiveMaximum");
    return !k || v < k->as_double();
  }

  bool valid_array(const json::Array& v, const Value& s) const {
    const auto size = static_cast<double>(v.size());
    if (const Value* k = s.find("minItems"); k && size < k->as_double()) return false;
    if (const Value* k = s.find("maxItems"); k && size > k->as_double()) return false;
    const Value* prefix = s.find("prefixItems");
    const Value* items = s.find("items");
    const size_t listed = prefix ? prefix->as_array().size() : 0;
    for (size_t i = 0; i < v.size(); ++i) {
      if (i < listed && !valid(v[i], prefix->as_array()[i])) return false;
      if (i >= listed && items && !valid(v[i], *items)) return false;
    }
    return true;
  }

  bool valid_object(const Value& v, const Value& s) const {
    const auto size = static_cast<double>(v.as_object().size());
    if (const Value* k = s.find("minProperties"); k && size < k->as_double()) return false;
    if (const Value* k = s.find("maxProperties"); k && size > k->as_double()) return false;
    const Value* properties = s.find("properties");
    const Value* others = s.find("additionalProperties");
    const Value* names = s.find("propertyNames");
    const Value* patterns = s.find("patternProperties");
    for (const auto& [name, value] : v.as_object()) {
      if (names && !valid(Value(name), *names)) return false;
      const Value* own = properties ? properties->find(name) : nullptr;
      bool known = own != nullptr;
      if (own && !valid(value, *own)) return false;
      for (const auto& [pattern, schema] : patterns ? patterns->as_object() : json::Object{}) {
        if (!found(name, pattern)) continue;
        known = true;
        if (!valid(value, schema)) return false;
      }
      if (!known && others && !valid(value, *others)) return false;
    }
    const Value* required = s.find("required");
    if (!required) return true;
    return std::ranges::all_of(required->as_array(), [&](const Value& name) {
      return std::ranges::any_of(v.as_object(),
                                 [&](const auto& m) { return m.first == name.as_string(); });
    });
  }

  const Value& root_;
};

}  // namespace hadal::grammar
