#include "grammar/internal/json_text.h"

#include <cstdio>
#include <utility>

namespace hadal::grammar::internal {
namespace {

const CharSet& plain_characters() {
  static const CharSet set = CharSet{{0x20, CharSet::kLast}}.without({{'"', '"'}, {'\\', '\\'}});
  return set;
}

std::string escaped(uint32_t c) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: break;
  }
  char text[8];
  std::snprintf(text, sizeof text, "\\u%04x", c);
  return text;
}

}  // namespace

// The rule is there before its body: values are made of values.
Expr JsonText::use(std::optional<RuleId>& rule, const char* name, Expr (JsonText::*make)()) {
  if (!rule) {
    rule = g_.add_rule(name);
    g_.define(*rule, (this->*make)());
  }
  return g_.rule(*rule);
}

Expr JsonText::space() { return use(space_, "space", &JsonText::make_space); }
Expr JsonText::string() { return use(string_, "string", &JsonText::make_string); }
Expr JsonText::integer() { return use(integer_, "integer", &JsonText::make_integer); }
Expr JsonText::number() { return use(number_, "number", &JsonText::make_number); }
Expr JsonText::object() { return use(object_, "object", &JsonText::make_object); }
Expr JsonText::array() { return use(array_, "array", &JsonText::make_array); }
Expr JsonText::value() { return use(value_, "value", &JsonText::make_value); }
Expr JsonText::boolean() { return g_.choice({g_.literal("true"), g_.literal("false")}); }
Expr JsonText::null() { return g_.literal("null"); }

Expr JsonText::make_space() {
  const Expr blanks = g_.repeat(g_.characters({{' ', ' '}, {'\t', '\t'}}), 0, 24);
  return g_.optional(g_.choice({g_.literal(" "), g_.sequence({g_.literal("\n"), blanks})}));
}

Expr JsonText::any_character() {
  const auto hex = [&](uint32_t n) {
    return g_.repeat(g_.characters({{'0', '9'}, {'a', 'f'}, {'A', 'F'}}), n, n);
  };
  const CharSet d{{'d', 'd'}, {'D', 'D'}};
  const CharSet not_d{{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}};
  const Expr plain = g_.sequence({g_.characters(not_d), hex(3)});
  const Expr low_d = g_.sequence({g_.characters(d), g_.characters({{'0', '7'}}), hex(2)});
  const Expr pair = g_.sequence(
      {g_.characters(d), g_.characters({{'8', '9'}, {'a', 'b'}, {'A', 'B'}}), hex(2),
       g_.literal("\\u"), g_.characters(d), g_.characters({{'c', 'f'}, {'C', 'F'}}), hex(2)});
  const Expr short_form = g_.characters({{'"', '"'},
                                         {'\\', '\\'},
                                         {'/', '/'},
                                         {'b', 'b'},
                                         {'f', 'f'},
                                         {'n', 'n'},
                                         {'r', 'r'},
                                         {'t', 't'}});
  const Expr long_form = g_.sequence({g_.literal("u"), g_.choice({plain, low_d, pair})});
  const Expr escape = g_.sequence({g_.literal("\\"), g_.choice({short_form, long_form})});
  return g_.choice({g_.characters(plain_characters()), escape});
}

Expr JsonText::character(const CharSet& set) {
  std::vector<Expr> parts{g_.characters(set.intersect(plain_characters()))};
  const CharSet others = set.without(plain_characters());
  for (const auto& range : others.ranges()) {
    for (uint32_t c = range.low; c <= range.high; ++c) parts.push_back(g_.literal(escaped(c)));
  }
  return g_.choice(std::move(parts));
}

Expr JsonText::make_string() { return string(g_.repeat(any_character(), 0, kUnbounded)); }

Expr JsonText::string(Expr inner) {
  return g_.sequence({g_.literal("\""), inner, g_.literal("\"")});
}

Expr JsonText::digits(uint32_t min, uint32_t max) {
  return g_.repeat(g_.characters({{'0', '9'}}), min, max);
}

Expr JsonText::make_integer() {
  const Expr more = g_.sequence({g_.characters({{'1', '9'}}), digits(0, 15)});
  return g_.sequence({g_.optional(g_.literal("-")), g_.choice({g_.literal("0"), more})});
}

Expr JsonText::make_number() {
  const Expr whole = make_integer();
  const Expr fraction = g_.optional(g_.sequence({g_.literal("."), digits(1, 16)}));
  const Expr sign = g_.optional(g_.characters({{'+', '+'}, {'-', '-'}}));
  const Expr e = g_.characters({{'e', 'e'}, {'E', 'E'}});
  const Expr exponent = g_.optional(g_.sequence({e, sign, digits(1, 2)}));
  return g_.sequence({whole, fraction, exponent});
}

Expr JsonText::make_object() {
  const Expr first = member(string(), value());
  const Expr next = g_.sequence({comma(), member(string(), value())});
  return braces(g_.sequence({first, g_.repeat(next, 0, kUnbounded)}), true);
}

Expr JsonText::make_array() {
  const Expr next = g_.sequence({comma(), value()});
  return brackets(g_.sequence({value(), g_.repeat(next, 0, kUnbounded)}), true);
}

Expr JsonText::make_value() {
  return g_.choice({object(), array(), string(), number(), boolean(), null()});
}

Expr JsonText::constant(const json::Value& value) {
  if (value.is_array()) {
    std::vector<Expr> items;
    for (const json::Value& v : value.as_array()) {
      if (!items.empty()) items.push_back(comma());
      items.push_back(constant(v));
    }
    const bool empty = items.empty();
    return brackets(g_.sequence(std::move(items)), empty);
  }
  if (value.is_object()) {
    std::vector<Expr> members;
    for (const auto& [name, v] : value.as_object()) {
      if (!members.empty()) members.push_back(comma());
      members.push_back(member(g_.literal(json::dump(name)), constant(v)));
    }
    const bool empty = members.empty();
    return braces(g_.sequence(std::move(members)), empty);
  }
  return g_.literal(json::dump(value));
}

Expr JsonText::enclosed(const char* open, Expr inner, const char* close, bool may_be_empty) {
  const Expr filled = g_.sequence({inner, space()});
  const Expr content = may_be_empty ? g_.optional(filled) : filled;
  return g_.sequence({g_.literal(open), space(), content, g_.literal(close)});
}

Expr JsonText::braces(Expr members, bool may_be_empty) {
  return enclosed("{", members, "}", may_be_empty);
}

Expr JsonText::brackets(Expr items, bool may_be_empty) {
  return enclosed("[", items, "]", may_be_empty);
}

Expr JsonText::comma() { return g_.sequence({g_.literal(","), space()}); }

Expr JsonText::member(Expr name, Expr value) {
  return g_.sequence({name, g_.literal(":"), space(), value});
}

}  // namespace hadal::grammar::internal
