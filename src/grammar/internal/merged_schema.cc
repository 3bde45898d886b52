#include "grammar/internal/merged_schema.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace hadal::grammar::internal {
namespace {

using json::Value;

constexpr size_t kSchemasMax = 256;
constexpr int kDisjointDepthMax = 4;
constexpr size_t kStepsPerMember = 6;    // a keyword or a property, against a comparison
constexpr size_t kSegmentBytesMax = 80;  // of a place in a message

// "%7E" and the like in a reference.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t byte = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// One step of a JSON pointer. Source: RFC 6901.
std::string unescaped(std::string_view step) {
  std::string out;
  for (size_t i = 0; i < step.size(); ++i) {
    if (step[i] == '~' && i + 1 < step.size() && (step[i + 1] == '0' || step[i + 1] == '1')) {
      out += step[++i] == '0' ? '~' : '/';
    } else {
      out += step[i];
    }
  }
  return out;
}

}  // namespace

Type type_of(const Value& value) {
  if (value.is_null()) return kNull;
  if (value.is_bool()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  const double number = value.as_double();
  return value.is_int() || number == static_cast<double>(
                                         static_cast<int64_t>(std::clamp(number, -1e18, 1e18)))
             ? kInteger
             : kNumber;
}

void Conjunction::add(const Value& schema) {
  if (std::ranges::find(schemas, &schema) == schemas.end()) schemas.push_back(&schema);
}

SchemaReader::SchemaReader(const Value& root, std::string place, size_t& work)
    : root_(&root), prefix_(std::move(place)), work_(work) {}

Status SchemaReader::spend(size_t steps) {
  if (steps > work_) {
    return too_large(prefix_ + ": the schema takes too long to read")
        .with_hint("use fewer schemas that must hold together, alternatives and enum values");
  }
  work_ -= steps;
  return {};
}

std::string SchemaReader::place_of(const Value& schema) const {
  std::string path;
  for (const Value* at = &schema; at != root_;) {
    const auto found = places_.find(at);
    if (found == places_.end()) break;
    path.insert(0, "/" + found->second.segment);
    at = found->second.parent;
  }
  return prefix_ + (path.empty() ? "" : "#" + path);
}

void SchemaReader::name(const Value& part, const Value& parent, std::string_view keyword,
                        std::string_view rest) {
  if (&part == root_ || places_.contains(&part)) return;
  size_t length = std::min(rest.size(), kSegmentBytesMax);
  while (length < rest.size() && length > 0 && (rest[length] & 0xC0) == 0x80) --length;
  places_.emplace(&part, Place{&parent, std::string(keyword) + std::string(rest, 0, length)});
}

Error SchemaReader::wrong(const Value& schema, std::string_view key, const std::string& why) const {
  return invalid_argument(place_of(schema) + ": " + std::string(key) + " " + why);
}

Result<const Value*> SchemaReader::part(const Value& schema, std::string_view key) {
  const Value* found = schema.find(key);
  if (found == nullptr || !(found->is_object() || found->is_bool())) {
    return wrong(schema, key, "must be a schema: an object, true or false");
  }
  name(*found, schema, key);
  return found;
}

// The schemas themselves, and all that they refer to or include.
Result<SchemaReader::Schemas> SchemaReader::collect(const Conjunction& all) {
  Conjunction found{all.schemas, {}};
  const auto check = [&](const Value& at, size_t more) -> Status {
    if (found.schemas.size() + more <= kSchemasMax) return {};
    return too_large(place_of(at) + ": more than " + std::to_string(kSchemasMax) +
                     " schemas must hold at once");
  };
  for (size_t i = 0; i < found.schemas.size(); ++i) {
    TRY_VOID(check(*found.schemas[i], 0));
    const Value& s = *found.schemas[i];
    if (!s.is_object()) continue;
    TRY_VOID(spend(kStepsPerMember * (1 + s.as_object().size())));
    if (const Value* ref = s.find("$ref")) {
      if (!ref->is_string()) return wrong(s, "$ref", "must be a string");
      TRY(const Value* target, resolve(s, ref->as_string()));
      found.add(*target);
    }
    const Value* list = s.find("allOf");
    if (list == nullptr) continue;
    if (!list->is_array() || list->as_array().empty()) {
      return wrong(s, "allOf", "must be a list of schemas");
    }
    TRY_VOID(check(s, list->as_array().size()));
    for (size_t j = 0; j < list->as_array().size(); ++j) {
      name(list->as_array()[j], s, "allOf/", std::to_string(j));
      found.add(list->as_array()[j]);
    }
  }
  return std::move(found.schemas);
}

Result<const Value*> SchemaReader::resolve(const Value& schema, const std::string& reference) {
  if (!reference.starts_with('#')) {
    return wrong(schema, "$ref", "must point into this schema: \"#/$defs/name\"");
  }
  const std::string pointer = percent_decoded(std::string_view(reference).substr(1));
  if (!pointer.empty() && pointer[0] != '/') {
    return wrong(schema, "$ref", "must be a JSON pointer: \"#/$defs/name\"; anchors are not known");
  }
  const Value* at = root_;
  for (size_t i = 0; i < pointer.size();) {
    const size_t end = std::min(pointer.find('/', i + 1), pointer.size());
    const std::string step = unescaped(std::string_view(pointer).substr(i + 1, end - i - 1));
    if (at->is_object()) TRY_VOID(spend(at->as_object().size()));
    const Value* next = at->find(step);
    size_t index = 0;
    if (at->is_array() &&
        std::from_chars(step.data(), step.data() + step.size(), index).ec == std::errc() &&
        index < at->as_array().size()) {
      next = &at->as_array()[index];
    }
    if (next == nullptr) return wrong(schema, "$ref", "points to nothing in this schema");
    at = next;
    i = end;
  }
  if (!at->is_object() && !at->is_bool()) return wrong(schema, "$ref", "points to no schema");
  if (!pointer.empty()) name(*at, *root_, "", std::string_view(pointer).substr(1));
  return at;
}

Result<MergedSchema> SchemaReader::merge(const Conjunction& all) {
  MergedSchema out;
  out.place = all.schemas.empty() ? prefix_ : place_of(*all.schemas[0]);
  TRY(const Schemas schemas, collect(all));
  for (const Value* s : schemas) TRY_VOID(read(*s, out, all));
  if (out.impossible) return out;
  TRY_VOID(merge_arrays(schemas, out));
  TRY_VOID(merge_objects(schemas, out));
  TRY_VOID(merge_names(schemas, out));
  return out;
}

Status SchemaReader::read(const Value& schema, MergedSchema& out, const Conjunction& all) {
  if (schema.is_bool()) {
    out.impossible |= !schema.as_bool();
    return {};
  }
  if (!schema.is_object()) {
    return invalid_argument(place_of(schema) + ": a schema must be an object, true or false");
  }
  TRY_VOID(check_keywords(schema, out));
  TRY_VOID(read_types(schema, out));
  TRY_VOID(read_values(schema, out));
  TRY_VOID(read_strings(schema, out));
  TRY_VOID(read_numbers(schema, out));
  TRY_VOID(read_alternatives(schema, out, all));
  TRY_VOID(read_count(schema, "minItems", "maxItems", out.item_count));
  return read_count(schema, "minProperties", "maxProperties", out.property_count);
}

Status SchemaReader::merge_arrays(const Schemas& schemas, MergedSchema& out) {
  struct List {
    const json::Array* first = nullptr;
    const Value* rest = nullptr;
    std::string key;
    const Value* schema;
  };
  std::vector<List> lists;
  for (const Value* s : schemas) {
    if (!s->is_object()) continue;
    List list{.key = "prefixItems", .schema = s};
    const Value* items = s->find("items");
    const char* rest_key = "items";
    const Value* prefix = s->find("prefixItems");
    if (items != nullptr && items->is_array()) {  // draft 7
      prefix = items;
      list.key = "items";
      rest_key = "additionalItems";
    }
    if (prefix != nullptr && !prefix->is_array()) return wrong(*s, list.key, "must be a list");
    if (prefix != nullptr) list.first = &prefix->as_array();
    if (s->find(rest_key) != nullptr) {
      TRY(list.rest, part(*s, rest_key));
    }
    lists.push_back(std::move(list));
  }
  size_t length = 0;
  for (const List& l : lists) length = std::max(length, l.first ? l.first->size() : 0);
  TRY_VOID(spend(lists.size() * length));
  out.prefix.resize(length);
  for (const List& l : lists) {
    for (size_t i = 0; i < length; ++i) {
      if (l.first != nullptr && i < l.first->size()) {
        name((*l.first)[i], *l.schema, l.key, "/" + std::to_string(i));
        out.prefix[i].add((*l.first)[i]);
      } else if (l.rest != nullptr) {
        out.prefix[i].add(*l.rest);
      }
    }
    if (l.rest == nullptr) continue;
    if (!out.items) out.items.emplace();
    out.items->add(*l.rest);
  }
  return {};
}

Status SchemaReader::merge_objects(const Schemas& schemas, MergedSchema& out) {
  std::map<std::string, size_t, std::less<>> index;
  std::vector<std::vector<const Value*>> listed_by;
  const auto property = [&](const std::string& key) {
    const auto [at, is_new] = index.emplace(key, out.properties.size());
    if (is_new) {
      out.properties.push_back({.name = key});
      listed_by.emplace_back();
    }
    return at->second;
  };
  for (const Value* s : schemas) {
    const Value* properties = s->find("properties");
    if (properties == nullptr) continue;
    if (!properties->is_object()) return wrong(*s, "properties", "must be an object");
    TRY_VOID(spend(kStepsPerMember * properties->as_object().size()));
    for (const auto& [key, schema] : properties->as_object()) {
      const size_t i = property(key);
      name(schema, *s, "properties/", key);
      out.properties[i].schema.add(schema);
      listed_by[i].push_back(s);
    }
  }
  for (const Value* s : schemas) {
    const Value* required = s->find("required");
    if (required == nullptr) continue;
    if (!required->is_array()) return wrong(*s, "required", "must be a list of names");
    TRY_VOID(spend(required->as_array().size()));
    for (const Value& key : required->as_array()) {
      if (!key.is_string()) return wrong(*s, "required", "must be a list of names");
      out.properties[property(key.as_string())].required = true;
    }
  }
  for (const Value* s : schemas) {
    if (s->find("additionalProperties") == nullptr) continue;
    TRY(const Value* rest, part(*s, "additionalProperties"));
    TRY_VOID(spend(out.properties.size() * (1 + schemas.size() / 8)));
    for (size_t i = 0; i < out.properties.size(); ++i) {
      const bool listed = std::ranges::find(listed_by[i], s) != listed_by[i].end();
      if (!listed) out.properties[i].schema.add(*rest);
    }
    if (!out.additional) out.additional.emplace();
    out.additional->add(*rest);
  }
  return {};
}

// Rules for the names of properties are known where no property has a name of its own.
Status SchemaReader::merge_names(const Schemas& schemas, MergedSchema& out) {
  for (const Value* s : schemas) {
    const bool has_names = s->find("propertyNames") != nullptr;
    const Value* patterns = s->find("patternProperties");
    if (!has_names && patterns == nullptr) continue;
    const char* key = has_names ? "propertyNames" : "patternProperties";
    if (!out.properties.empty()) return wrong(*s, key, "cannot be enforced beside properties");
    if (has_names) {
      TRY(const Value* names, part(*s, "propertyNames"));
      if (!out.names) out.names.emplace();
      out.names->add(*names);
    }
    if (patterns == nullptr) continue;
    if (!patterns->is_object()) return wrong(*s, "patternProperties", "must be an object");
    const bool is_only = patterns->as_object().size() == 1 && out.name_pattern == nullptr;
    const Value* rest = s->find("additionalProperties");
    const bool closed = rest == nullptr || (rest->is_bool() && !rest->as_bool());
    if (!is_only || has_names || !closed || schemas.size() > 1) {
      return wrong(*s, "patternProperties",
                   "is known with one pattern, without propertyNames, allOf and other additional "
                   "properties");
    }
    const auto& [pattern, schema] = patterns->as_object()[0];
    name(schema, *s, "patternProperties/", pattern);
    out.name_pattern = &pattern;
    out.additional.emplace();
    out.additional->add(schema);
  }
  return {};
}

Result<std::optional<Conjunction>> SchemaReader::choose(const Conjunction& all,
                                                        const Value& alternatives, size_t index) {
  const Value& chosen = alternatives.as_array()[index];
  name(chosen, alternatives, "", std::to_string(index));
  TRY_VOID(spend(1 + (all.schemas.size() + all.decided.size()) / 8));
  Conjunction out = all;
  out.decided.push_back(&alternatives);
  TRY(const Schemas included, collect({{&chosen}, {}}));
  for (const Value* s : included) {
    for (const char* key : {"anyOf", "oneOf"}) {
      const Value* list = s->find(key);
      if (list != nullptr && std::ranges::find(out.decided, list) != out.decided.end()) {
        return std::optional<Conjunction>();
      }
    }
  }
  out.add(chosen);
  return std::optional(std::move(out));
}

Result<bool> SchemaReader::are_disjoint(const MergedSchema& a, const MergedSchema& b, int depth) {
  if (a.impossible || b.impossible) return true;
  const auto allows = [](const MergedSchema& m, const Value& v) {
    return (m.types & type_of(v)) != 0 && (!m.values || contains_value(*m.values, v));
  };
  for (const auto& [one, other] : {std::pair{&a, &b}, {&b, &a}}) {
    if (!one->values) continue;
    TRY_VOID(spend(one->values->size() * (1 + (other->values ? other->values->size() : 0))));
    if (std::ranges::none_of(
            *one->values, [&](const Value* v) { return allows(*one, *v) && allows(*other, *v); })) {
      return true;
    }
  }
  const uint32_t shared = a.types & b.types;
  if (shared == 0) return true;
  if (shared != kObject || depth >= kDisjointDepthMax) return false;
  TRY_VOID(spend(a.properties.size() * (b.properties.size() + 1)));
  for (const auto& p : a.properties) {
    const auto q = std::ranges::find(b.properties, p.name, &MergedSchema::Property::name);
    if (q == b.properties.end() || !p.required || !q->required) continue;
    TRY(const MergedSchema left, merge(p.schema));
    TRY(const MergedSchema right, merge(q->schema));
    TRY(const bool apart, are_disjoint(left, right, depth + 1));
    if (apart) return true;
  }
  for (const auto& [one, other] : {std::pair{&a, &b}, {&b, &a}}) {
    if (!other->additional) continue;
    TRY(const MergedSchema rest, merge(*other->additional));
    if (!rest.impossible) continue;
    for (const auto& p : one->properties) {
      const bool listed =
          std::ranges::find(other->properties, p.name, &MergedSchema::Property::name) !=
          other->properties.end();
      if (p.required && !listed) return true;
    }
  }
  return false;
}

}  // namespace hadal::grammar::internal
