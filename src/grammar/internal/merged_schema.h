#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/internal/number_range.h"
#include "json/json.h"

namespace hadal::grammar::internal {

/// JSON Schema's types as bits; "number" sets two, as every integer is a number.
enum Type : uint32_t {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAllTypes = 127,
};
/// The bit of a value's own type.
Type type_of(const json::Value& value);
/// Whether `value` is among them; 1 and 1.0 are the same.
bool contains_value(const std::vector<const json::Value*>& values, const json::Value& value);

/// Schemas that must all hold, and the lists of alternatives from which one was chosen already.
struct Conjunction {
  std::vector<const json::Value*> schemas;
  std::vector<const json::Value*> decided;

  void add(const json::Value& schema);
  auto operator<=>(const Conjunction&) const = default;
};

/// A range of counts.
struct Counts {
  uint32_t min = 0;
  uint32_t max = UINT32_MAX;
};

/// What the keywords of a conjunction say together.
struct MergedSchema {
  std::string place;        ///< of the first schema
  bool impossible = false;  ///< some schema is false
  uint32_t types = kAllTypes;
  bool has_types = false;  ///< some schema says "type"
  uint32_t mentions = 0;   ///< the types that other keywords speak of
  std::optional<std::vector<const json::Value*>> values;  ///< enum and const

  const json::Value* alternatives = nullptr;  ///< the next anyOf or oneOf to choose from
  bool exclusive = false;                     ///< it is a oneOf

  Counts length;  ///< characters of a string
  const json::Value* pattern = nullptr;
  const json::Value* format = nullptr;
  std::optional<Bound> low;
  std::optional<Bound> high;

  std::vector<Conjunction> prefix;   ///< the first items
  std::optional<Conjunction> items;  ///< those after them, where something is said
  Counts item_count;

  struct Property {
    std::string name;
    Conjunction schema;
    bool required = false;
  };
  std::vector<Property> properties;
  std::optional<Conjunction> additional;      ///< other properties, where something is said
  std::optional<Conjunction> names;           ///< what names of properties must be
  const std::string* name_pattern = nullptr;  ///< of all properties, from patternProperties
  Counts property_count;
};

/// Reads schemas of one document. Nothing that restricts values is passed over: what is not known
/// is refused. Other keywords are annotations, as the standard has it.
/// Source: JSON Schema 2020-12, core and validation; of draft 7 items as a list, additionalItems
/// and definitions.
class SchemaReader {
 public:
  /// `root` and `work`, the steps that it may still take, must outlive it. `place` stands in front
  /// of places in messages.
  SchemaReader(const json::Value& root, std::string place, size_t& work);

  /// Errors: invalid_argument and too_large, with the place.
  Result<MergedSchema> merge(const Conjunction& all);
  /// `all`, whose alternatives these are, with one of them; nothing when that one only leads back
  /// to the choice.
  Result<std::optional<Conjunction>> choose(const Conjunction& all, const json::Value& alternatives,
                                            size_t index);
  /// Whether no value can match both; false where that cannot be told.
  Result<bool> are_disjoint(const MergedSchema& a, const MergedSchema& b, int depth = 0);
  /// "response_format.json_schema.schema#/properties/a".
  std::string place_of(const json::Value& schema) const;

 private:
  struct Place {
    const json::Value* parent = nullptr;
    std::string segment;
  };
  using Schemas = std::vector<const json::Value*>;

  /// Names the place of a part, for messages about it: `keyword`, and what follows it.
  void name(const json::Value& part, const json::Value& parent, std::string_view keyword,
            std::string_view rest = {});
  Status spend(size_t steps);
  Result<Schemas> collect(const Conjunction& all);
  Result<const json::Value*> resolve(const json::Value& schema, const std::string& reference);
  Status read(const json::Value& schema, MergedSchema& out, const Conjunction& all);
  Status check_keywords(const json::Value& schema, MergedSchema& out);
  Status read_types(const json::Value& schema, MergedSchema& out);
  Status read_values(const json::Value& schema, MergedSchema& out);
  Status narrow(Schemas listed, std::optional<Schemas>& values);
  Status read_strings(const json::Value& schema, MergedSchema& out);
  Status read_numbers(const json::Value& schema, MergedSchema& out);
  Status read_alternatives(const json::Value& schema, MergedSchema& out, const Conjunction& all);
  Status read_count(const json::Value& schema, std::string_view min, std::string_view max,
                    Counts& out);
  Status merge_arrays(const Schemas& schemas, MergedSchema& out);
  Status merge_objects(const Schemas& schemas, MergedSchema& out);
  Status merge_names(const Schemas& schemas, MergedSchema& out);
  /// The schema in a member, which is there.
  Result<const json::Value*> part(const json::Value& schema, std::string_view key);
  Error wrong(const json::Value& schema, std::string_view key, const std::string& why) const;

  const json::Value* root_;
  const std::string prefix_;
  size_t& work_;
  std::unordered_map<const json::Value*, Place> places_;
};

}  // namespace hadal::grammar::internal
