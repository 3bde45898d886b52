#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/internal/json_text.h"
#include "grammar/internal/merged_schema.h"
#include "json/json.h"

namespace hadal::grammar::internal {

/// Which values of a schema, and how they are written.
struct Form {
  uint32_t types = kAllTypes;
  bool bare = false;  ///< strings without quotes and escapes

  auto operator<=>(const Form&) const = default;
};

/// A document, and what its schemas may cost.
struct SchemaSource {
  const json::Value& root;
  std::string place;     ///< stands in front of places in messages
  std::string bare_end;  ///< what must not stand in a bare string
  size_t& work;          ///< steps that are left
};

/// Turns the schemas of one document into rules. Each is a rule of its own, written when all that
/// use it are: so neither depth nor recursion of schemas matters.
class SchemaCompiler {
 public:
  /// All must outlive it.
  SchemaCompiler(Grammar& grammar, JsonText& text, const Limits& limits, SchemaSource source);

  SchemaReader& reader() { return reader_; }
  /// The rule for a value; finish() defines it.
  Result<Expr> use(const Conjunction& schemas, const Form& form = {});
  Status finish();

 private:
  struct Pending {
    RuleId rule;
    Conjunction schemas;
    Form form;
  };

  Result<Expr> write(const Conjunction& schemas, const Form& form);
  Result<Expr> write_alternatives(const Conjunction& all, const MergedSchema& m, const Form& form);
  Status check_exclusive(const std::vector<Conjunction>& branches, const std::string& place);
  Result<Expr> write_values(const MergedSchema& m, const Form& form);
  Result<bool> fits(const MergedSchema& m, const json::Value& value) const;
  Result<Expr> write_string(const MergedSchema& m, bool bare);
  Result<Expr> write_shared(const std::string& what, const std::function<Result<Expr>()>& make);
  Expr write_length(const Counts& length, bool bare);
  Result<Expr> write_pattern(std::string_view pattern, bool bare);
  Result<Expr> write_number(const MergedSchema& m, bool integers);
  Result<Expr> write_array(const MergedSchema& m);
  Result<Expr> write_list(const MergedSchema& m, bool closed);
  Result<Expr> write_object(const MergedSchema& m);
  Result<Expr> write_map(const MergedSchema& m);
  Result<Expr> write_properties(const MergedSchema& m, bool closed);
  Result<Expr> write_property(const MergedSchema::Property& property);
  Result<Expr> write_other(const MergedSchema& m);
  Result<Expr> name_unlike(const std::vector<MergedSchema::Property>& properties);
  Expr one_or_more_by_comma(Expr first, Expr next, Counts counts);
  Expr bare_character(const CharSet& set);
  Expr nothing() { return g_.choice({}); }

  Grammar& g_;
  JsonText& text_;
  const Limits& limits_;
  SchemaReader reader_;
  const std::string bare_end_;
  std::map<std::pair<Conjunction, Form>, RuleId> rules_;
  std::map<std::string, RuleId> shared_;  ///< kinds of strings that have a rule already
  std::vector<Pending> pending_;
  size_t written_ = 0;
};

/// The types of the values that a schema means: those it names, or those its keywords speak of.
uint32_t types_meant(const MergedSchema& m);
/// Whether some schema of a conjunction is false.
bool is_never(const Conjunction& schemas);

}  // namespace hadal::grammar::internal
