#include "grammar/json_schema.h"

#include <algorithm>
#include <utility>

#include "grammar/internal/json_text.h"
#include "grammar/internal/merged_schema.h"
#include "grammar/internal/schema_compiler.h"

namespace hadal::grammar {

using internal::Conjunction;
using internal::kString;
using internal::MergedSchema;
using internal::SchemaCompiler;

struct JsonGrammar::Impl {
  Impl(Grammar& g, const Limits& l) : grammar(g), limits(l), work(l.work_max), text(g) {}

  Status check(const json::Value& schema, const std::string& place) const {
    if (json::dump(schema).size() <= limits.text_bytes_max) return {};
    return too_large(place + ": a schema has at most " + std::to_string(limits.text_bytes_max) +
                     " bytes");
  }

  Grammar& grammar;
  const Limits limits;
  size_t work;  ///< that the schemas may still cost, all together
  internal::JsonText text;
};

JsonGrammar::JsonGrammar(Grammar& grammar, const Limits& limits)
    : impl_(std::make_unique<Impl>(grammar, limits)) {}
JsonGrammar::~JsonGrammar() = default;

Expr JsonGrammar::any_object() { return impl_->text.object(); }

Expr JsonGrammar::any_value_but_string() {
  internal::JsonText& t = impl_->text;
  return impl_->grammar.choice({t.object(), t.array(), t.number(), t.boolean(), t.null()});
}

Result<Expr> JsonGrammar::value(const json::Value& schema, const std::string& place) {
  TRY_VOID(impl_->check(schema, place));
  SchemaCompiler compiler(impl_->grammar, impl_->text, impl_->limits,
                          {schema, place, "", impl_->work});
  TRY(const Expr out, compiler.use({{&schema}, {}}));
  TRY_VOID(compiler.finish());
  return out;
}

Result<JsonGrammar::Members> JsonGrammar::members(const json::Value& schema,
                                                  const std::string& place, std::string_view end) {
  TRY_VOID(impl_->check(schema, place));
  SchemaCompiler compiler(impl_->grammar, impl_->text, impl_->limits,
                          {schema, place, std::string(end), impl_->work});
  TRY(const MergedSchema m, compiler.reader().merge({{&schema}, {}}));
  const bool counted = m.property_count.min > 0 || m.property_count.max != UINT32_MAX;
  if (m.alternatives != nullptr || m.values || m.names || m.name_pattern != nullptr || counted ||
      (types_meant(m) & internal::kObject) == 0) {
    return invalid_argument(
        place +
        ": this model's tool calls need parameters that are one object with listed "
        "properties: no anyOf, oneOf, enum, propertyNames or numbers of properties "
        "at its top");
  }
  Members out;
  out.others_allowed = m.properties.empty() && !m.additional;
  if (m.additional && !is_never(*m.additional)) {
    TRY(const MergedSchema rest, compiler.reader().merge(*m.additional));
    const bool any = rest.types == internal::kAllTypes && rest.mentions == 0 && !rest.values &&
                     rest.alternatives == nullptr && !rest.impossible;
    if (!any) {
      return invalid_argument(place +
                              ": this model's tool calls know additionalProperties as true or "
                              "false only");
    }
    out.others_allowed = true;
  }
  for (const MergedSchema::Property& p : m.properties) {
    Member member{.name = p.name, .required = p.required};
    TRY(member.text, compiler.use(p.schema, {.types = kString, .bare = true}));
    TRY(member.value, compiler.use(p.schema, {.types = internal::kAllTypes & ~kString}));
    out.members.push_back(std::move(member));
  }
  TRY_VOID(compiler.finish());
  return out;
}

Grammar json_object_grammar() {
  Grammar g;
  JsonGrammar json(g);
  g.set_root(g.add_rule("root", json.any_object()));
  return g;
}

Result<Grammar> json_schema_grammar(const json::Value& schema, const std::string& place,
                                    const Limits& limits) {
  Grammar g;
  JsonGrammar json(g, limits);
  TRY(const Expr value, json.value(schema, place));
  g.set_root(g.add_rule("root", value));
  return g;
}

}  // namespace hadal::grammar
