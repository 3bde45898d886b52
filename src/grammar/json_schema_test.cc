#include "grammar/json_schema.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "grammar/test_grammar.h"
#include "grammar/test_json_check.h"

namespace hadal::grammar {
namespace {

json::Value parsed(const std::string& text) {
  auto value = json::parse(text);
  if (!value) ADD_FAILURE() << text << "\n" << value.error().message;
  return value ? *value : json::Value();
}

struct Case {
  std::string schema;
  std::vector<std::string> good;
  std::vector<std::string> bad;  ///< not valid, or not a way that we write it
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const json::Value schema = parsed(c.schema);
    const JsonCheck valid(schema);
    const auto g = compiled(json_schema_grammar(schema));
    ASSERT_TRUE(g) << c.schema;
    for (const auto& t : c.good) {
      EXPECT_TRUE(matches(g, t)) << c.schema << "\n" << t;
      EXPECT_TRUE(valid(parsed(t))) << c.schema << "\n" << t;
    }
    for (const auto& t : c.bad) EXPECT_FALSE(matches(g, t)) << c.schema << "\n" << t;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto drawn = draw(g, seed, 200);
      if (!drawn) continue;
      const auto value = json::parse(*drawn);
      ASSERT_TRUE(value) << c.schema << "\n" << *drawn;
      EXPECT_TRUE(valid(*value)) << c.schema << "\n" << *drawn;
    }
  }
}

TEST(JsonSchemaTest, Types) {
  check({
      {"{}", {"1", "null", "[]", "{\"a\": [1, {}]}", "\"x\"", "-1.5e3"}, {"", "nul", "[1,]", "01"}},
      {"true", {"1", "{}"}, {"x"}},
      {R"({"type": "null"})", {"null"}, {"0", "nulll"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"True", "1"}},
      {R"({"type": "integer"})", {"0", "-7", "1234567890123456"}, {"1.5", "01", "-", "1e3", "+1"}},
      {R"({"type": "number"})", {"0", "-7.25", "1e10", "0.1E-5"}, {".5", "1.", "1e", "00"}},
      {R"({"type": ["integer", "null"]})", {"3", "null"}, {"true"}},
      {R"({"type": "string"})",
       {R"("")", R"("a\"\\\n\u00e9é中😀")", R"("\ud83d\ude00")"},
       {R"(")", "\"\n\"", R"("\x")", R"("\ud83d")", "\"\xFF\"", "\"\xC3\""}},
      {R"({"type": "object"})", {"{}", R"({"a":1, "b": {}})", "{\n  \"a\": 1\n}"}, {"{,}", "[]"}},
      {R"({"type": "array"})", {"[]", "[1, \"a\", []]"}, {"[1 2]", "{}"}},
      {R"({"title": "T", "description": "d", "default": 1, "examples": [], "$comment": "c",
           "$schema": "x", "unknownWord": {}, "type": "null"})",
       {"null"},
       {"1"}},
  });
}

TEST(JsonSchemaTest, ValuesInEnumAndConst) {
  check({
      {R"({"enum": ["a", "é\n", 1, 2.5, null, true, [1, 2], {"k": "v"}]})",
       {R"("a")", R"("é\n")", "1", "2.5", "null", "true", "[1, 2]", R"({"k": "v"})"},
       {R"("b")", "2", "false", "[1]", "{}"}},
      {R"({"const": "x"})", {R"("x")"}, {R"("y")", "x"}},
      {R"({"const": null})", {"null"}, {"0"}},
      {R"({"type": "integer", "enum": [1, "1", 2.0]})", {"1", "2.0"}, {R"("1")"}},
      {R"({"enum": ["aa", "b", "cccc"], "minLength": 2, "maxLength": 3})", {R"("aa")"}, {R"("b")"}},
      {R"({"enum": [1, 5, 9], "minimum": 2, "exclusiveMaximum": 9})", {"5"}, {"1", "9"}},
      {R"({"const": 1, "enum": [1, 2]})", {"1"}, {"2"}},
      {R"({"enum": [1, 2], "const": 1})", {"1"}, {"2"}},
      {R"({"enum": [1, 2, 3], "allOf": [{"enum": [3, 4, 1]}]})", {"1", "3"}, {"2", "4"}},
  });
}

TEST(JsonSchemaTest, Strings) {
  check({
      {R"({"type": "string", "minLength": 2, "maxLength": 4})",
       {R"("ab")", R"("é中😀x")", R"("\n\"")"},
       {R"("a")", R"("abcde")"}},
      {R"({"minLength": 300})", {"\"" + std::string(300, 'x') + "\""}, {R"("short")"}},
      {R"({"maxLength": 0})", {R"("")"}, {R"("a")"}},
      {R"({"pattern": "^[a-c]+(-\\d{2})?$"})", {R"("abc")", R"("a-12")"}, {R"("d")", R"("a-1")"}},
      {R"({"pattern": "b+"})", {R"("b")", R"("abbc")"}, {R"("ac")"}},
      {R"({"pattern": "^a|z$"})", {R"("abc")", R"("xyz")"}, {R"("ba")", R"("zx")"}},
      {R"({"pattern": "^(?:x|y)\\.\\w [^a-z]$"})", {R"("x.1 A")"}, {R"("x.1 a")", R"("xx1 A")"}},
      {R"({"pattern": "^\\u0041\\x42\\t\"\\\\$"})", {R"("AB\t\"\\")"}, {R"("AB")"}},
      {R"({"pattern": "^[\"\\\\]{2}?$"})", {R"("\"\\")"}, {R"("\"")"}},
      {R"({"pattern": "^.$"})", {R"("a")", R"("😀")"}, {R"("\n")", R"("ab")"}},
  });
}

TEST(JsonSchemaTest, Formats) {
  const auto format = [](const std::string& name, std::vector<std::string> good,
                         std::vector<std::string> bad) {
    for (auto* list : {&good, &bad}) {
      for (auto& t : *list) t = json::dump(t);
    }
    return Case{R"({"type": "string", "format": ")" + name + "\"}", good, bad};
  };
  check({
      format("date", {"2024-02-28", "1999-12-31"}, {"2024-02-30", "2024-13-01", "24-01-01"}),
      format("time", {"23:59:59Z", "00:00:00.123+02:00"}, {"24:00:00Z", "12:00"}),
      format("date-time", {"2024-01-31T10:00:00Z"}, {"2024-01-31 10:00:00Z", "2024-01-31"}),
      format("duration", {"P3D", "PT1H30M", "P1Y2M3DT4S", "P2W"}, {"P", "PT", "3D", "P1Y3D4"}),
      format("uuid", {"123e4567-e89b-12d3-a456-426614174000"}, {"123e4567-e89b-12d3-a456"}),
      format("email", {"a.b@example.org", "x@y"}, {"a@", "@b", "a b@c"}),
      format("hostname", {"example.org", "a-b.c"}, {"-a.b", "a..b", ""}),
      format("ipv4", {"127.0.0.1", "255.255.255.0"}, {"256.1.1.1", "1.2.3"}),
      format("ipv6", {"2001:db8:0:0:0:0:0:1"}, {"2001:db8"}),
      format("uri", {"https://example.org:8080/a%20b?q=1#f", "http://h"},
             {"example.org", "http:/"}),
      format("no-such-format", {"anything"}, {}),
  });
}

TEST(JsonSchemaTest, Numbers) {
  check({
      {R"({"type": "integer", "minimum": 5, "maximum": 123})",
       {"5", "9", "10", "99", "100", "123"},
       {"4", "124", "0", "-5", "200", "05"}},
      {R"({"type": "integer", "minimum": -12, "maximum": 3})",
       {"-12", "-1", "0", "3", "-9"},
       {"-13", "4", "-20"}},
      {R"({"type": "integer", "exclusiveMinimum": 0})", {"1", "10", "999"}, {"0", "-1"}},
      {R"({"type": "integer", "exclusiveMaximum": -9})", {"-10", "-100"}, {"-9", "0", "5"}},
      {R"({"type": "integer", "minimum": 1.5, "maximum": 3.5})", {"2", "3"}, {"1", "4"}},
      {R"({"type": "integer", "minimum": 99, "maximum": 100})", {"99", "100"}, {"98", "101"}},
      {R"({"type": "integer", "multipleOf": 1})", {"7"}, {"7.5"}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "1", "0.5", "0.0", "1.000", "0.999"},
       {"1.1", "-0.1", "2", "1.0001", "1e-1"}},
      {R"({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})",
       {"0.5", "0.001"},
       {"0", "1", "0.0", "1.0", "0.00"}},
      {R"({"type": "number", "minimum": -1.25, "maximum": 10.5})",
       {"-1.25", "-1.2", "-1", "0", "9.99", "10.5", "10.50", "10.49", "3"},
       {"-1.26", "-1.251", "10.51", "11", "-2"}},
      {R"({"type": "number", "exclusiveMinimum": -1.5})",
       {"-1.4", "-1", "0", "77.7"},
       {"-1.5", "-2"}},
      {R"({"minimum": 3})", {"3", "3.5", "1000"}, {"2.9", "\"x\""}},
  });
}

TEST(JsonSchemaTest, Arrays) {
  check({
      {R"({"items": {"type": "integer"}})", {"[]", "[1, 2,3]", "[\n  1\n]"}, {"[true]", "[,1]"}},
      {R"({"items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
       {"[1]", "[1, 2, 3]"},
       {"[]", "[1,2,3,4]"}},
      {R"({"type": "array", "minItems": 2})", {"[1, null]"}, {"[1]"}},
      {R"({"items": false})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 1})",
       {R"(["a"])", R"(["a", 1])"},
       {"[]", R"(["a", "b"])", R"(["a", 1, 2])"}},
      {R"({"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2, "maxItems": 4})",
       {"[1, 2]", "[1, 2, 2, 2]"},
       {"[1]", "[2, 2]", "[1, 2, 2, 2, 2]"}},
      {R"({"prefixItems": [{"const": 1}, {"const": 2}], "items": true, "maxItems": 1})",
       {"[]", "[1]"},
       {"[1, 2]"}},
      {R"({"items": {"items": {"type": "boolean"}}})", {"[[true], []]"}, {"[true]"}},
      {R"({"items": {"const": 0}, "minItems": 200, "maxItems": 300})",
       {"[0" +
        [] {
          std::string s;
          for (int i = 0; i < 249; ++i) s += ", 0";
          return s;
        }() +
        "]"},
       {"[0, 0]"}},
  });
}

TEST(JsonSchemaTest, Objects) {
  check({
      {R"({"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]})",
       {R"({"a": 1})", R"({"a":1,"b":"x"})", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
       {"{}", R"({"b": "x"})", R"({"a": 1, "c": 2})", R"({"b": "x", "a": 1})"}},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}})",
       {"{}", R"({"a": 1})", R"({"b": 1})", R"({"a": 1, "c": 2})", R"({"a": 1, "b": 2, "c": 3})"},
       {R"({"c": 1, "a": 2})", R"({"a": 1,})"}},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "required": ["b"],
           "additionalProperties": false})",
       {R"({"b": 1})", R"({"a": 1, "b": 2})", R"({"b": 1, "c": 2})"},
       {"{}", R"({"a": 1})", R"({"b": 1, "d": 2})"}},
      {R"({"properties": {"ab": {"const": 1}, "abc": {"const": 2}},
           "additionalProperties": {"type": "null"}})",
       {R"({"ab": 1, "x": null})", R"({"a": null, "abcd": null, "": null})", "{}",
        R"({"abc": 2, "abx": null})"},
       {R"({"ab": null})", R"({"x": 1})", R"({"abc": null})"}},
      {R"({"additionalProperties": {"type": "integer"}})",
       {"{}", R"({"x": 1, "y": 2})"},
       {R"({"x": "a"})"}},
      {R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"a": 1})"}},
      {R"({"additionalProperties": {"const": 1}, "minProperties": 1, "maxProperties": 2})",
       {R"({"a": 1})", R"({"a": 1, "b": 1})"},
       {"{}", R"({"a": 1, "b": 1, "c": 1})"}},
      {R"({"propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "integer"}})",
       {R"({"a": 1})"},
       {R"({"A": 1})"}},
      {R"({"type": "object", "patternProperties": {"^x-": {"type": "string"}},
           "additionalProperties": false})",
       {R"({"x-a": "1"})"},
       {R"({"y": "1"})", R"({"x-a": 1})"}},
      {R"({"required": ["k"]})", {R"({"k": [1]})"}, {"{}"}},
      {R"({"properties": {"a\"b\\é": {"const": 1}}, "required": ["a\"b\\é"]})",
       {R"({"a\"b\\é": 1})"},
       {"{}"}},
      {R"({"properties": {"a": false, "b": {"const": 1}}})",
       {"{}", R"({"b": 1})"},
       {R"({"a": 1})"}},
  });
}

TEST(JsonSchemaTest, Combinations) {
  check({
      {R"({"anyOf": [{"type": "integer"}, {"type": "null"}]})", {"1", "null"}, {"true"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"1", "\"a\""}, {"null"}},
      {R"({"oneOf": [
            {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}},
             "required": ["kind", "x"], "type": "object"},
            {"properties": {"kind": {"enum": ["b", "c"]}}, "required": ["kind"],
             "type": "object"}]})",
       {R"({"kind": "a", "x": 1})", R"({"kind": "c"})"},
       {R"({"kind": "a"})", R"({"kind": "b", "x": 1})"}},
      {R"({"oneOf": [
            {"type": "object", "properties": {"a": {}}, "required": ["a"],
             "additionalProperties": false},
            {"type": "object", "properties": {"b": {}}, "required": ["b"],
             "additionalProperties": false}]})",
       {R"({"a": 1})", R"({"b": 1})"},
       {"{}"}},
      {R"({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                     {"properties": {"b": {"type": "null"}}, "required": ["b"]}]})",
       {R"({"a": 1, "b": null})"},
       {R"({"a": 1})"}},
      {R"({"allOf": [{"type": "integer", "minimum": 3}], "maximum": 5})", {"3", "5"}, {"2", "6"}},
      {R"({"allOf": [{"properties": {"a": {"minimum": 2}}}],
           "properties": {"a": {"type": "integer", "maximum": 3}}, "required": ["a"]})",
       {R"({"a": 2})", R"({"a": 3})"},
       {R"({"a": 1})", R"({"a": 4})"}},
      {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}},
           "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})",
       {R"({"a": 1})", R"({"b": 2})", R"({"a": 1, "b": 2})"},
       {"{}"}},
      {R"({"anyOf": [{"minimum": 1}, {"minimum": 5}], "allOf": [{"anyOf": [{"maximum": 3}]}],
           "type": "integer"})",
       {"1", "3"},
       {"4", "0"}},
      {R"({"anyOf": [{"type": "integer"}, false]})", {"1"}, {"null"}},
  });
}

TEST(JsonSchemaTest, References) {
  check({
      {R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})", {"1"}, {"null"}},
      {R"({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"const": 1}}})", {"1"}, {"2"}},
      {R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
           "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"},
           {"type": "null"}]}}, "required": ["v", "next"]}}})",
       {R"({"v": 1, "next": null})", R"({"v": 1, "next": {"v": 2, "next": null}})"},
       {R"({"v": 1})", R"({"v": 1, "next": {}})"}},
      {R"({"type": "object", "properties": {"children": {"type": "array",
           "items": {"$ref": "#"}}}})",
       {"{}", R"({"children": [{}, {"children": []}]})"},
       {R"({"children": [1]})"}},
      {R"({"$ref": "#/$defs/n", "maximum": 5, "$defs": {"n": {"type": "integer", "minimum": 3}}})",
       {"4"},
       {"2", "6"}},
  });
}

TEST(JsonSchemaTest, AChoiceThatLeadsBackToItselfAddsNothing) {
  const json::Value schema = parsed(R"({"anyOf": [{"$ref": "#"}, {"type": "integer"}]})");
  const auto g = compiled(json_schema_grammar(schema));
  EXPECT_TRUE(matches(g, "1"));
  EXPECT_FALSE(matches(g, "null"));
}

TEST(JsonSchemaTest, SaysWhatItCannotDoAndWhere) {
  struct Bad {
    std::string schema;
    std::string message;
  };
  const Bad cases[] = {
      {R"({"properties": {"a": {"not": {}}}})", "schema#/properties/a: not"},
      {R"({"if": {}})", "schema: if cannot be enforced"},
      {R"({"items": {"contains": {}}})", "schema#/items: contains"},
      {R"({"uniqueItems": true})", "uniqueItems"},
      {R"({"type": "number", "multipleOf": 0.5})", "multipleOf"},
      {R"({"$ref": "other.json"})", "$ref must point into this schema"},
      {R"({"$ref": "#/$defs/x"})", "$ref points to nothing"},
      {R"({"$ref": "#anchor"})", "anchors"},
      {R"s({"pattern": "^(?=a)"})s", "schema: pattern: look-around"},
      {R"({"pattern": "a\\1"})", "the escape \\1 is not known"},
      {R"s({"pattern": "(a"})s", "a group has no end"},
      {R"s({"pattern": "a(b$)"})s", "^ and $"},
      {R"({"pattern": "a", "maxLength": 3})", "pattern beside minLength"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})",
       "schema#/oneOf: alternatives 0 and 1 of oneOf may both match"},
      {R"({"properties": {"a": {}}, "minProperties": 1})", "minProperties"},
      {R"({"properties": {"a": {}}, "patternProperties": {"b": {}}})", "patternProperties"},
      {R"({"dependentRequired": {}})", "dependentRequired"},
      {R"({"type": "object", "unevaluatedProperties": {"type": "null"}})", "unevaluatedProperties"},
      {R"({"minimum": 12345678901234567890})", "16 digits"},
      {R"({"type": "thing"})", "schema: type must be"},
      {R"({"type": 7})", "schema: type must be"},
      {R"({"enum": 7})", "enum must be a list"},
      {R"({"properties": []})", "properties must be an object"},
      {R"({"properties": {"a": 7}})", "schema#/properties/a: a schema must be"},
      {R"({"required": [1]})", "required must be a list of names"},
      {R"({"minLength": -1})", "minLength must be an integer"},
      {R"({"maximum": "x"})", "maximum must be a number"},
      {R"({"anyOf": []})", "anyOf must be a list"},
      {R"({"items": 3})", "items must be a schema"},
      {R"(7)", "schema: a schema must be an object"},
  };
  for (const Bad& c : cases) {
    const json::Value schema = parsed(c.schema);
    const auto g = json_schema_grammar(schema);
    ASSERT_FALSE(g) << c.schema;
    EXPECT_EQ(g.error().code, ErrorCode::invalid_argument) << c.schema << "\n" << g.error().message;
    EXPECT_NE(g.error().message.find(c.message), std::string::npos) << c.schema << "\n"
                                                                    << g.error().message;
  }
  for (const char* text : {"false", R"({"type": "string", "minLength": 3, "maxLength": 2})",
                           R"({"type": "object", "properties": {"a": false}, "required": ["a"]})",
                           R"({"allOf": [{"type": "string"}, {"type": "null"}]})",
                           R"({"anyOf": [{"$ref": "#"}]})", R"({"minimum": 5, "maximum": 4})",
                           R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})"}) {
    const json::Value schema = parsed(text);
    const auto g = json_schema_grammar(schema);
    ASSERT_TRUE(g) << text;
    const auto c = CompiledGrammar::create(*g, small_vocabulary().shared);
    ASSERT_FALSE(c) << text;
    EXPECT_EQ(c.error().code, ErrorCode::invalid_argument);
  }
}

TEST(JsonSchemaTest, HostileSchemasEndSoon) {
  std::string wide = R"({"properties": {)";
  std::string choices = R"({"allOf": [)";
  std::string chain = R"({"$ref": "#/$defs/d0", "$defs": {)";
  std::string values = R"({"enum": [)";
  std::string one_of = R"({"oneOf": [)";
  for (int i = 0; i < 3000; ++i) {
    const std::string n = std::to_string(i);
    wide += (i ? ",\"p" : "\"p") + n + R"(": {"type": "string", "maxLength": 9})";
    chain += (i ? ",\"d" : "\"d") + n + R"(": {"allOf": [{"$ref": "#/$defs/d)" +
             std::to_string((i + 1) % 3000) + R"("}, {"minimum": )" + n + "}]}";
    values += (i ? ",\"value" : "\"value") + n + "\"";
    if (i >= 60) continue;
    choices +=
        (i ? "," : "") + std::string(R"({"anyOf": [{"minimum": )") + n + R"(}, {"maximum": 100}]})";
    one_of += (i ? "," : "") + std::string(R"({"type": "object", "properties": {"k": {"const": )") +
              n + R"(}}, "required": ["k"]})";
  }
  const std::string schemas[] = {wide + "}}",
                                 wide + R"(}, "additionalProperties": true})",
                                 choices + "]}",
                                 chain + "}}",
                                 values + "]}",
                                 one_of + "]}",
                                 R"({"minItems": 1000000000, "items": {"maxLength": 1000000000}})",
                                 R"({"pattern": "^(((a{1000}){1000}){1000}){1000}$"})",
                                 R"({"pattern": "(a|a)*(a|aa)*b([ab]*a[ab]{60})*c"})",
                                 R"({"type": "array", "prefixItems": [)" +
                                     [] {
                                       std::string s = "1";
                                       s = "true";
                                       for (int i = 0; i < 3000; ++i) s += ",true";
                                       return s;
                                     }() +
                                     "]}"};
  for (const std::string& text : schemas) {
    const json::Value schema = parsed(text);
    const double begin = cpu_seconds();
    const auto grammar = json_schema_grammar(schema);
    if (grammar) {
      const auto g = CompiledGrammar::create(*grammar, small_vocabulary().shared);
      EXPECT_TRUE(g || g.error().code == ErrorCode::too_large) << g.error().message;
    } else {
      EXPECT_EQ(grammar.error().code, ErrorCode::too_large) << grammar.error().message;
    }
    const double took = cpu_seconds() - begin;
    EXPECT_LT(took, 2.0) << text.substr(0, 80);
  }
}

// n parts of a list, each made from its number.
std::string list_of(int n, const std::function<std::string(int)>& part) {
  std::string out;
  for (int i = 0; i < n; ++i) out += (i > 0 ? "," : "") + part(i);
  return out;
}

// Each part of these is small; only their products are large.
TEST(JsonSchemaTest, ProductsOfPartsAreCountedBeforeTheyAreMade) {
  const auto number = [](int i) { return std::to_string(i); };
  const auto property = [](int i) { return "\"p" + std::to_string(i) + "\":{}"; };
  const auto sign = [](int i) {
    std::string name;
    append_utf8(name, 0x4E00 + static_cast<uint32_t>(i));
    return "\"" + name + "\":{}";
  };
  const auto same = [](const char* text) { return [=](int) { return std::string(text); }; };
  const std::string many = list_of(20000, number);
  const std::string definitions = ",\"$defs\":{" + list_of(6000, property) + "}";
  const std::string schemas[] = {
      R"({"type":"string","properties":{)" + list_of(8000, property) + R"(},"anyOf":[)" +
          list_of(8000, same("{}")) + "]}",
      R"({"allOf":[{"enum":[)" + many + R"(]},{"enum":[)" + many + "]}]}",
      R"({"oneOf":[{"enum":[)" + many + R"(]},{"enum":[)" + many + "]}]}",
      R"({"allOf":[)" + list_of(30000, same("true")) + "]}",
      R"({"properties":{)" + list_of(20000, sign) + R"(},"additionalProperties":true})",
      R"({"allOf":[)" + list_of(200, same(R"({"$ref":"#/$defs/p5999"})")) + R"(],"anyOf":[)" +
          list_of(5000, same("{}")) + "]" + definitions + "}",
      "{\"description\":\"" + std::string(300'000, 'x') + "\"}",
  };
  for (const std::string& text : schemas) {
    const json::Value schema = parsed(text);
    const double begin = cpu_seconds();
    const auto grammar = json_schema_grammar(schema);
    EXPECT_LT(cpu_seconds() - begin, 1.0) << text.substr(0, 80);
    ASSERT_FALSE(grammar) << text.substr(0, 80);
    EXPECT_EQ(grammar.error().code, ErrorCode::too_large) << grammar.error().message;
  }
}

TEST(JsonSchemaTest, PlacesInMessagesAreShort) {
  const json::Value schema =
      parsed("{\"properties\":{\"" + std::string(100'000, 'k') + "\":{\"not\":{}}}}");
  const auto grammar = json_schema_grammar(schema);
  ASSERT_FALSE(grammar);
  EXPECT_LT(grammar.error().message.size(), 200u);
}

}  // namespace
}  // namespace hadal::grammar
