#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"
#include "json/json.h"

namespace hadal::grammar {

/// Writes JSON values into a grammar: any, or those that a JSON Schema allows. Every text that
/// matches is valid; not every valid one matches: properties come in the order of the schema, and
/// see the list in docs/guides/local.md.
///
/// Known: type, enum, const, anyOf, oneOf (where its alternatives exclude each other), allOf, $ref
/// into the same schema, recursion too; properties, required, additionalProperties, propertyNames
/// and patternProperties (for objects without listed properties), min/maxProperties; items,
/// prefixItems, min/maxItems; min/maxLength, pattern, format; minimum, maximum and their exclusive
/// forms. What else restricts values is refused with its place; annotations are passed over.
/// Threading: one thread at a time.
class JsonGrammar {
 public:
  /// `grammar` must outlive it.
  JsonGrammar(Grammar& grammar, const Limits& limits = {});
  ~JsonGrammar();

  /// An object with any members.
  Expr any_object();
  /// Any value but a string.
  Expr any_value_but_string();

  /// A value of the schema. `place` stands in front of places in messages. `schema` must outlive
  /// this. Errors: invalid_argument for what is no schema or cannot be enforced; too_large.
  Result<Expr> value(const json::Value& schema, const std::string& place);

  /// The members of an object of the schema, for formats that do not write objects as JSON.
  struct Member {
    std::string name;
    bool required = false;
    Expr text{};   ///< its value as bare text; matches nothing where it cannot be a string
    Expr value{};  ///< its value as JSON; matches nothing where it can only be a string
  };
  struct Members {
    std::vector<Member> members;  ///< in the order of the schema
    bool others_allowed = false;  ///< any, besides those listed
  };
  /// `end`: what a bare text must not contain, as it stands behind it. Errors: as value();
  /// invalid_argument for a schema that is more than one list of properties.
  Result<Members> members(const json::Value& schema, const std::string& place,
                          std::string_view end);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The grammar of a JSON object, and of the values of a schema. Errors: as JsonGrammar::value.
Grammar json_object_grammar();
Result<Grammar> json_schema_grammar(const json::Value& schema, const std::string& place = "schema",
                                    const Limits& limits = {});

}  // namespace hadal::grammar
