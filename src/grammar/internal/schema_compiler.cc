#include "grammar/internal/schema_compiler.h"

#include <algorithm>
#include <optional>

#include "base/utf8.h"
#include "grammar/internal/number_range.h"
#include "grammar/internal/regex.h"
#include "grammar/internal/string_formats.h"

namespace hadal::grammar::internal {
namespace {

using json::Value;

constexpr size_t kRulesMax = 8192;
constexpr size_t kExclusiveMax = 64;

bool is_limited(const Counts& c) { return c.min > 0 || c.max != UINT32_MAX; }

}  // namespace

uint32_t types_meant(const MergedSchema& m) {
  if (m.has_types || m.values || m.mentions == 0) return m.types;
  const uint32_t integers = (m.mentions & kNumber) != 0 ? uint32_t{kInteger} : 0;
  return m.types & (m.mentions | integers);
}

bool is_never(const Conjunction& schemas) {
  return std::ranges::any_of(schemas.schemas,
                             [](const Value* s) { return s->is_bool() && !s->as_bool(); });
}

SchemaCompiler::SchemaCompiler(Grammar& grammar, JsonText& text, const Limits& limits,
                               SchemaSource source)
    : g_(grammar),
      text_(text),
      limits_(limits),
      reader_(source.root, std::move(source.place), source.work),
      bare_end_(std::move(source.bare_end)) {}

Result<Expr> SchemaCompiler::use(const Conjunction& schemas, const Form& form) {
  const auto [at, is_new] = rules_.try_emplace({schemas, form});
  if (is_new) {
    if (rules_.size() > kRulesMax) {
      return too_large("the schema has more than " + std::to_string(kRulesMax) +
                       " parts, or its alternatives multiply to more");
    }
    at->second = g_.add_rule("schema");
    pending_.push_back({at->second, schemas, form});
  }
  return g_.rule(at->second);
}

Status SchemaCompiler::finish() {
  for (; written_ < pending_.size(); ++written_) {
    const Pending next = pending_[written_];
    TRY(const Expr body, write(next.schemas, next.form));
    g_.define(next.rule, body);
    TRY_VOID(g_.check_size(limits_));
  }
  return {};
}

Result<Expr> SchemaCompiler::write(const Conjunction& schemas, const Form& form) {
  TRY(const MergedSchema m, reader_.merge(schemas));
  if (m.impossible) return nothing();
  if (m.alternatives != nullptr) return write_alternatives(schemas, m, form);
  if (m.values) return write_values(m, form);
  const uint32_t types = types_meant(m) & form.types;
  if (types == kAllTypes && m.mentions == 0 && !form.bare) return text_.value();
  std::vector<Expr> parts;
  if ((types & kNull) != 0) parts.push_back(text_.null());
  if ((types & kBoolean) != 0) parts.push_back(text_.boolean());
  if ((types & (kNumber | kInteger)) != 0) {
    TRY(const Expr number, write_number(m, (types & kNumber) == 0));
    parts.push_back(number);
  }
  if ((types & kString) != 0) {
    TRY(const Expr string, write_string(m, form.bare));
    parts.push_back(string);
  }
  if ((types & kArray) != 0) {
    TRY(const Expr array, write_array(m));
    parts.push_back(array);
  }
  if ((types & kObject) != 0) {
    TRY(const Expr object, write_object(m));
    parts.push_back(object);
  }
  return g_.choice(std::move(parts));
}

Result<Expr> SchemaCompiler::write_alternatives(const Conjunction& all, const MergedSchema& m,
                                                const Form& form) {
  std::vector<Conjunction> branches;
  for (size_t i = 0; i < m.alternatives->as_array().size(); ++i) {
    TRY(auto branch, reader_.choose(all, *m.alternatives, i));
    if (branch) branches.push_back(*std::move(branch));
  }
  if (m.exclusive) TRY_VOID(check_exclusive(branches, reader_.place_of(*m.alternatives)));
  std::vector<Expr> parts;
  for (const Conjunction& branch : branches) {
    TRY(const Expr part, use(branch, form));
    parts.push_back(part);
  }
  return g_.choice(std::move(parts));
}

// What a oneOf allows must not match two of its alternatives.
Status SchemaCompiler::check_exclusive(const std::vector<Conjunction>& branches,
                                       const std::string& place) {
  if (branches.size() > kExclusiveMax) {
    return too_large(place + ": oneOf has more than " + std::to_string(kExclusiveMax) +
                     " alternatives");
  }
  std::vector<MergedSchema> merged;
  for (const Conjunction& branch : branches) {
    TRY(auto m, reader_.merge(branch));
    merged.push_back(std::move(m));
  }
  for (size_t i = 0; i < merged.size(); ++i) {
    for (size_t j = i + 1; j < merged.size(); ++j) {
      TRY(const bool apart, reader_.are_disjoint(merged[i], merged[j]));
      if (apart) continue;
      return invalid_argument(place + ": alternatives " + std::to_string(i) + " and " +
                              std::to_string(j) + " of oneOf may both match")
          .with_hint(
              "use anyOf, or tell them apart by their types or by a required property "
              "with a const of its own in each");
    }
  }
  return {};
}

Result<Expr> SchemaCompiler::write_values(const MergedSchema& m, const Form& form) {
  std::vector<Expr> parts;
  for (const Value* v : *m.values) {
    if ((m.types & form.types & type_of(*v)) == 0) continue;
    TRY(const bool fitting, fits(m, *v));
    if (!fitting) continue;
    if (form.bare && v->is_string()) {
      if (!bare_end_.empty() && v->as_string().find(bare_end_) != std::string::npos) continue;
      parts.push_back(g_.literal(v->as_string()));
    } else {
      parts.push_back(text_.constant(*v));
    }
    TRY_VOID(g_.check_size(limits_));
  }
  return g_.choice(std::move(parts));
}

// Whether a listed value follows the other keywords too. Errors: invalid_argument where that is not
// looked at.
Result<bool> SchemaCompiler::fits(const MergedSchema& m, const Value& value) const {
  if (value.is_string()) {
    if (m.pattern != nullptr) return invalid_argument(m.place + ": pattern beside enum or const");
    const size_t length = utf8_length(value.as_string());
    return length >= m.length.min && length <= m.length.max;
  }
  if (value.is_number()) {
    const double v = value.as_double();
    const auto inside = [&](const std::optional<Bound>& bound, double sign) {
      if (!bound) return true;
      const double beyond = (v - bound->value.as_double()) * sign;
      return beyond > 0 || (beyond == 0 && !bound->exclusive);
    };
    return inside(m.low, 1) && inside(m.high, -1);
  }
  const uint32_t type = type_of(value);
  if ((type & (kArray | kObject)) != 0 && (m.mentions & type) != 0) {
    return invalid_argument(m.place +
                            ": enum or const with lists or objects, beside keywords for them");
  }
  return true;
}

Expr SchemaCompiler::bare_character(const CharSet& set) {
  // A sign that the end is made of and that texts hardly need: without it none can spell the end.
  for (size_t i = 0; i < bare_end_.size();) {
    const Utf8Char c = decode_utf8(std::string_view(bare_end_).substr(i));
    if (c.code_point >= 0x80) return g_.characters(set.without(CharSet::one(c.code_point)));
    i += c.bytes;
  }
  return g_.characters(set);
}

Result<Expr> SchemaCompiler::write_pattern(std::string_view pattern, bool bare) {
  const RegexOutput output{
      .character =
          [&](const CharSet& set) { return bare ? bare_character(set) : text_.character(set); },
      .any_character =
          [&] { return bare ? bare_character(CharSet::any()) : text_.any_character(); }};
  TRY(const Expr inner, read_regex(g_, pattern, output, limits_));
  return bare ? inner : text_.string(inner);
}

Result<Expr> SchemaCompiler::write_string(const MergedSchema& m, bool bare) {
  if (m.length.min > m.length.max) return nothing();
  if (m.pattern != nullptr) {
    if (is_limited(m.length)) {
      return invalid_argument(m.place +
                              ": pattern beside minLength or maxLength cannot be enforced")
          .with_hint("put the length into the pattern: ^[a-z]{1,20}$");
    }
    auto out = write_pattern(m.pattern->as_string(), bare);
    if (!out) return std::move(out).error().in(m.place + ": pattern");
    return out;
  }
  if (is_limited(m.length)) {
    const std::string what = std::to_string(m.length.min) + " to " + std::to_string(m.length.max);
    return write_shared(what + (bare ? " bare" : ""), [&] { return write_length(m.length, bare); });
  }
  if (m.format != nullptr) {
    const std::string& format = m.format->as_string();
    const std::string_view pattern = format_pattern(format);
    if (!pattern.empty()) {
      return write_shared(format + (bare ? " bare" : ""),
                          [&] { return write_pattern(pattern, bare); });
    }
  }
  if (!bare) return text_.string();
  return bare_end_.empty() ? g_.text_without({}) : g_.text_without({bare_end_});
}

// Strings alike are one rule: their masks are found once.
Result<Expr> SchemaCompiler::write_shared(const std::string& what,
                                          const std::function<Result<Expr>()>& make) {
  const auto [at, is_new] = shared_.try_emplace(what);
  if (is_new) {
    TRY(const Expr body, make());
    at->second = g_.add_rule(what, body);
  }
  return g_.rule(at->second);
}

Expr SchemaCompiler::write_length(const Counts& length, bool bare) {
  const Expr one = bare ? bare_character(CharSet::any()) : text_.any_character();
  const Expr inner = g_.repeat(one, length.min, length.max == UINT32_MAX ? kUnbounded : length.max);
  return bare ? inner : text_.string(inner);
}

Result<Expr> SchemaCompiler::write_number(const MergedSchema& m, bool integers) {
  if (!m.low && !m.high) return integers ? text_.integer() : text_.number();
  auto out = number_range(g_, m.low, m.high, integers);
  if (!out) return std::move(out).error().in(m.place);
  return out;
}

// `first`, then `next` as often as the counts allow; `first` is one of them.
Expr SchemaCompiler::one_or_more_by_comma(Expr first, Expr next, Counts counts) {
  const uint32_t min = std::max(counts.min, 1u) - 1;
  const uint32_t max = counts.max == UINT32_MAX ? kUnbounded : counts.max - 1;
  return g_.sequence({first, g_.repeat(g_.sequence({text_.comma(), next}), min, max)});
}

Result<Expr> SchemaCompiler::write_array(const MergedSchema& m) {
  if (m.item_count.min > m.item_count.max) return nothing();
  const bool closed =
      m.items ? is_never(*m.items) : !m.prefix.empty() && m.item_count.min <= m.prefix.size();
  if (m.item_count.max == 0) return text_.brackets(g_.literal(""), true);
  if (!m.prefix.empty()) return write_list(m, closed);
  if (closed) {
    return m.item_count.min > 0 ? nothing() : text_.brackets(g_.literal(""), true);
  }
  if (!m.items && !is_limited(m.item_count)) return text_.array();
  const Conjunction items = m.items.value_or(Conjunction{});
  TRY(const Expr first, use(items));
  TRY(const Expr next, use(items));
  return text_.brackets(one_or_more_by_comma(first, next, m.item_count), m.item_count.min == 0);
}

// An array whose first items have schemas of their own. Each is a rule that goes on with the next.
Result<Expr> SchemaCompiler::write_list(const MergedSchema& m, bool closed) {
  const auto listed = static_cast<uint32_t>(std::min<size_t>(m.prefix.size(), m.item_count.max));
  const uint32_t min = m.item_count.min;
  if (closed && min > listed) return nothing();
  Expr tail = g_.literal("");
  if (!closed && m.item_count.max > listed) {
    TRY(const Expr item, use(m.items.value_or(Conjunction{})));
    const uint32_t max = m.item_count.max == UINT32_MAX ? kUnbounded : m.item_count.max - listed;
    tail = g_.repeat(g_.sequence({text_.comma(), item}), min > listed ? min - listed : 0, max);
  }
  for (uint32_t i = listed; i-- > 1;) {
    TRY(const Expr item, use(m.prefix[i]));
    const Expr rest = g_.sequence({text_.comma(), item, tail});
    tail = g_.rule(g_.add_rule("items", i >= min ? g_.optional(rest) : rest));
  }
  TRY(const Expr first, use(m.prefix[0]));
  return text_.brackets(g_.sequence({first, tail}), min == 0);
}

Result<Expr> SchemaCompiler::write_object(const MergedSchema& m) {
  if (m.property_count.min > m.property_count.max) return nothing();
  const bool closed = m.additional ? is_never(*m.additional) : !m.properties.empty();
  if (m.properties.empty()) {
    if (closed || m.property_count.max == 0) {
      return m.property_count.min > 0 ? nothing() : text_.braces(g_.literal(""), true);
    }
    return write_map(m);
  }
  const auto required = static_cast<size_t>(
      std::ranges::count_if(m.properties, [](const auto& p) { return p.required; }));
  const bool few = closed && m.property_count.max >= m.properties.size();
  const bool holds =
      m.property_count.min <= required && (m.property_count.max == UINT32_MAX || few);
  if (!holds) {
    return invalid_argument(
        m.place + ": minProperties and maxProperties cannot be enforced beside properties");
  }
  return write_properties(m, closed);
}

// An object of any names, or of such as follow a schema or a pattern.
Result<Expr> SchemaCompiler::write_map(const MergedSchema& m) {
  if (!m.additional && !m.names && !is_limited(m.property_count)) return text_.object();
  const auto pair = [&]() -> Result<Expr> {
    Expr name{};
    if (m.name_pattern != nullptr) {
      auto pattern = write_pattern(*m.name_pattern, false);
      if (!pattern) return std::move(pattern).error().in(m.place + ": patternProperties");
      name = *pattern;
    } else if (m.names) {
      TRY(name, use(*m.names, {.types = kString}));
    } else {
      name = text_.string();
    }
    TRY(const Expr value, use(m.additional.value_or(Conjunction{})));
    return text_.member(name, value);
  };
  TRY(const Expr first, pair());
  TRY(const Expr next, pair());
  return text_.braces(one_or_more_by_comma(first, next, m.property_count),
                      m.property_count.min == 0);
}

Result<Expr> SchemaCompiler::write_property(const MergedSchema::Property& property) {
  TRY(const Expr value, use(property.schema));
  return text_.member(g_.literal(json::dump(property.name)), value);
}

Result<Expr> SchemaCompiler::write_other(const MergedSchema& m) {
  TRY(const Expr value, use(*m.additional));
  TRY(const Expr name, name_unlike(m.properties));
  return text_.member(name, value);
}

// Each property that may be left out begins a rule for all that follow; whichever comes first has
// no comma in front.
Result<Expr> SchemaCompiler::write_properties(const MergedSchema& m, bool closed) {
  Expr tail = g_.literal("");
  std::vector<Expr> firsts;
  const auto n = m.properties.size();
  const size_t last_first = static_cast<size_t>(
      std::ranges::find_if(m.properties, [](const auto& p) { return p.required; }) -
      m.properties.begin());
  if (!closed) {
    TRY(const Expr body, write_other(m));
    const RuleId other = g_.add_rule("other", body);
    const Expr next = g_.sequence({text_.comma(), g_.rule(other)});
    const RuleId others = g_.add_rule("others", g_.repeat(next, 0, kUnbounded));
    tail = g_.rule(others);
    if (last_first == n) firsts.push_back(g_.sequence({g_.rule(other), g_.rule(others)}));
  }
  for (size_t i = n; i-- > 0;) {
    const RuleId after = g_.add_rule("members", tail);
    if (i <= last_first) {
      TRY(const Expr first, write_property(m.properties[i]));
      firsts.push_back(g_.sequence({first, g_.rule(after)}));
    }
    TRY(const Expr property, write_property(m.properties[i]));
    const Expr next = g_.sequence({text_.comma(), property});
    tail = g_.sequence({m.properties[i].required ? next : g_.optional(next), g_.rule(after)});
    TRY_VOID(g_.check_size(limits_));
  }
  std::ranges::reverse(firsts);
  return text_.braces(g_.choice(std::move(firsts)), last_first == n);
}

// A quoted name that is none of these: where it leaves the last that it could still become,
// anything follows. Such names are written without escapes.
Result<Expr> SchemaCompiler::name_unlike(const std::vector<MergedSchema::Property>& properties) {
  struct Place {
    std::map<uint32_t, size_t> next;
    bool is_name = false;
  };
  std::vector<Place> places(1);
  for (const auto& p : properties) {
    size_t at = 0;
    for (size_t i = 0; i < p.name.size();) {
      const Utf8Char c = decode_utf8(std::string_view(p.name).substr(i));
      i += c.bytes;
      const auto [next, is_new] = places[at].next.emplace(c.code_point, places.size());
      at = next->second;
      if (is_new) places.emplace_back();
    }
    places[at].is_name = true;
  }
  const CharSet plain = CharSet{{0x20, CharSet::kLast}}.without({{'"', '"'}, {'\\', '\\'}});
  std::vector<RuleId> rules(places.size());
  for (size_t i = places.size(); i-- > 0;) {
    std::vector<Expr> ways;
    CharSet taken;
    for (const auto& [c, next] : places[i].next) {
      taken.add(c, c);
      const CharSet one = plain.intersect(CharSet::one(c));
      ways.push_back(g_.sequence({g_.characters(one), g_.rule(rules[next])}));
    }
    ways.push_back(g_.sequence(
        {g_.characters(plain.without(taken)), g_.repeat(g_.characters(plain), 0, kUnbounded)}));
    if (!places[i].is_name) ways.push_back(g_.literal(""));
    rules[i] = g_.add_rule("name", g_.choice(std::move(ways)));
    TRY_VOID(g_.check_size(limits_));
  }
  return text_.string(g_.rule(rules[0]));
}

}  // namespace hadal::grammar::internal
