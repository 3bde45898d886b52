// What one schema's own keywords say.

#include <algorithm>
#include <span>

#include "grammar/internal/merged_schema.h"

namespace hadal::grammar::internal {
namespace {

using json::Value;

constexpr int64_t kCountMax = 1'000'000'000;

// What keywords speak of; everything else is an annotation or has a place of its own below.
constexpr std::pair<std::string_view, uint32_t> kMentions[] = {
    {"minLength", kString},
    {"maxLength", kString},
    {"pattern", kString},
    {"format", kString},
    {"minimum", kNumber},
    {"maximum", kNumber},
    {"exclusiveMinimum", kNumber},
    {"exclusiveMaximum", kNumber},
    {"multipleOf", kNumber},
    {"items", kArray},
    {"prefixItems", kArray},
    {"additionalItems", kArray},
    {"minItems", kArray},
    {"maxItems", kArray},
    {"uniqueItems", kArray},
    {"properties", kObject},
    {"required", kObject},
    {"additionalProperties", kObject},
    {"patternProperties", kObject},
    {"propertyNames", kObject},
    {"minProperties", kObject},
    {"maxProperties", kObject},
    {"unevaluatedProperties", kObject},
};

// What restricts values in ways that a grammar cannot follow, or only at a great cost.
constexpr std::string_view kUnknown[] = {
    "not",           "if",          "dependentRequired", "dependentSchemas",
    "dependencies",  "contains",    "unevaluatedItems",  "$dynamicRef",
    "$recursiveRef", "minContains", "maxContains",
};

bool same(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  return a == b;
}

}  // namespace

bool contains_value(const std::vector<const Value*>& values, const Value& value) {
  return std::ranges::any_of(values, [&](const Value* v) { return same(*v, value); });
}

Status SchemaReader::check_keywords(const Value& schema, MergedSchema& out) {
  for (const auto& [key, value] : schema.as_object()) {
    for (const auto& [known, types] : kMentions) {
      if (key == known) out.mentions |= types;
    }
    if (std::ranges::find(kUnknown, key) != std::end(kUnknown)) {
      return wrong(schema, key, "cannot be enforced");
    }
  }
  if (const Value* unique = schema.find("uniqueItems")) {
    if (!unique->is_bool()) return wrong(schema, "uniqueItems", "must be true or false");
    if (unique->as_bool()) return wrong(schema, "uniqueItems", "cannot be enforced");
  }
  if (const Value* multiple = schema.find("multipleOf")) {
    const Value* type = schema.find("type");
    const bool all_integers =
        type != nullptr && type->is_string() && type->as_string() == "integer";
    if (!multiple->is_number()) return wrong(schema, "multipleOf", "must be a number");
    if (multiple->as_double() != 1 || !all_integers) {
      return wrong(schema, "multipleOf", "cannot be enforced, but for 1 and integers");
    }
  }
  if (const Value* rest = schema.find("unevaluatedProperties")) {
    // Properties that are not listed are left out anyway, unless something says otherwise.
    if (!rest->is_bool() || schema.find("additionalProperties") != nullptr) {
      return wrong(schema, "unevaluatedProperties",
                   "must be true or false, without additionalProperties");
    }
  }
  return {};
}

Status SchemaReader::read_types(const Value& schema, MergedSchema& out) {
  const Value* type = schema.find("type");
  if (type == nullptr) return {};
  constexpr std::pair<std::string_view, uint32_t> kNames[] = {
      {"null", kNull},   {"boolean", kBoolean},          {"integer", kInteger}, {"string", kString},
      {"array", kArray}, {"number", kNumber | kInteger}, {"object", kObject},
  };
  const auto listed =
      type->is_array() ? std::span<const Value>(type->as_array()) : std::span(type, 1);
  if (listed.size() > std::size(kNames)) return wrong(schema, "type", "lists a type twice");
  uint32_t types = 0;
  for (const Value& t : listed) {
    const auto known = std::ranges::find_if(
        kNames, [&](const auto& n) { return t.is_string() && t.as_string() == n.first; });
    if (known == std::end(kNames)) {
      return wrong(schema, "type",
                   "must be null, boolean, integer, number, string, array, object or a list of "
                   "these");
    }
    types |= known->second;
  }
  out.types &= types;
  out.has_types = true;
  return {};
}

// Both enum and const must hold, of all schemas.
Status SchemaReader::read_values(const Value& schema, MergedSchema& out) {
  // By a loop, since find() takes null for nothing.
  for (const auto& [key, value] : schema.as_object()) {
    if (key == "const") TRY_VOID(narrow({&value}, out.values));
  }
  const Value* list = schema.find("enum");
  if (list == nullptr) return {};
  if (!list->is_array()) return wrong(schema, "enum", "must be a list");
  Schemas listed;
  for (const Value& v : list->as_array()) listed.push_back(&v);
  return narrow(std::move(listed), out.values);
}

// Leaves the values that are in both.
Status SchemaReader::narrow(Schemas listed, std::optional<Schemas>& values) {
  if (!values) {
    values = std::move(listed);
    return spend(values->size());
  }
  TRY_VOID(spend(values->size() * (listed.size() + 1)));
  std::erase_if(*values, [&](const Value* v) { return !contains_value(listed, *v); });
  return {};
}

Status SchemaReader::read_strings(const Value& schema, MergedSchema& out) {
  TRY_VOID(read_count(schema, "minLength", "maxLength", out.length));
  for (const auto& [key, slot] : {std::pair{"pattern", &out.pattern}, {"format", &out.format}}) {
    const Value* v = schema.find(key);
    if (v == nullptr) continue;
    if (!v->is_string()) return wrong(schema, key, "must be a string");
    if (*slot != nullptr && **slot != *v) {
      return wrong(schema, key, "cannot be enforced beside another one");
    }
    *slot = v;
  }
  return {};
}

Status SchemaReader::read_numbers(const Value& schema, MergedSchema& out) {
  const auto tighten = [&](std::string_view key, bool is_low, bool exclusive) -> Status {
    const Value* v = schema.find(key);
    if (v == nullptr) return {};
    if (!v->is_number()) return wrong(schema, key, "must be a number");
    std::optional<Bound>& bound = is_low ? out.low : out.high;
    const double now = v->as_double();
    const double before = bound ? bound->value.as_double() : now;
    if (!bound || (is_low ? now > before : now < before)) {
      bound = Bound{*v, exclusive};
    } else if (now == before) {
      bound->exclusive |= exclusive;
    }
    return {};
  };
  TRY_VOID(tighten("minimum", true, false));
  TRY_VOID(tighten("maximum", false, false));
  TRY_VOID(tighten("exclusiveMinimum", true, true));
  return tighten("exclusiveMaximum", false, true);
}

Status SchemaReader::read_alternatives(const Value& schema, MergedSchema& out,
                                       const Conjunction& all) {
  for (const char* key : {"anyOf", "oneOf"}) {
    const Value* list = schema.find(key);
    if (list == nullptr || out.alternatives != nullptr) continue;
    if (std::ranges::find(all.decided, list) != all.decided.end()) continue;
    if (!list->is_array() || list->as_array().empty()) {
      return wrong(schema, key, "must be a list of schemas");
    }
    name(*list, schema, key);
    out.alternatives = list;
    out.exclusive = std::string_view(key) == "oneOf";
  }
  return {};
}

Status SchemaReader::read_count(const Value& schema, std::string_view min, std::string_view max,
                                Counts& out) {
  for (const auto key : {min, max}) {
    const Value* v = schema.find(key);
    if (v == nullptr) continue;
    if (!v->is_number() || type_of(*v) != kInteger || v->as_double() < 0) {
      return wrong(schema, key, "must be an integer that is not negative");
    }
    if (v->as_double() > kCountMax) return wrong(schema, key, "is too large");
    const auto count = static_cast<uint32_t>(v->as_double());
    if (key == min) out.min = std::max(out.min, count);
    if (key == max) out.max = std::min(out.max, count);
  }
  return {};
}

}  // namespace hadal::grammar::internal
