#include "json/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace hadal::json {
namespace {

TEST(JsonParseTest, ReadsEveryKind) {
  const auto v =
      parse(R"( {"a":[1,-2,3.5,1e3,true,false,null],"s":"\u00e9\ud83d\ude00\n","o":{}} )");
  ASSERT_TRUE(v) << v.error().message;
  const Array& a = v->find("a")->as_array();
  EXPECT_EQ(a[0].as_int(), 1);
  EXPECT_EQ(a[1].as_int(), -2);
  EXPECT_EQ(a[2].as_double(), 3.5);
  EXPECT_FALSE(a[3].is_int());
  EXPECT_EQ(a[3].as_double(), 1000);
  EXPECT_TRUE(a[4].as_bool());
  EXPECT_TRUE(a[6].is_null());
  EXPECT_EQ(v->find("s")->as_string(), "é😀\n");
  EXPECT_TRUE(v->find("o")->as_object().empty());
  EXPECT_EQ(v->find("nothing"), nullptr);
}

TEST(JsonParseTest, NumbersAreExact) {
  EXPECT_EQ(parse("9223372036854775807")->as_int(), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(parse("-9223372036854775808")->as_int(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(parse("9223372036854775808")->as_double(), 9223372036854775808.0);
  EXPECT_EQ(parse("0.1")->as_double(), 0.1);
  EXPECT_EQ(parse("2.2250738585072014e-308")->as_double(), 2.2250738585072014e-308);
  EXPECT_EQ(parse("1.7976931348623157e308")->as_double(), std::numeric_limits<double>::max());
  EXPECT_EQ(parse("8.41e21")->as_double(), 8.41e21);
  EXPECT_EQ(parse("1e-400")->as_double(), 0.0);
}

TEST(JsonParseTest, LastOfRepeatedKeysStays) {
  const auto v = parse(R"({"a":1,"b":2,"a":3})");
  ASSERT_EQ(v->as_object().size(), 2u);
  EXPECT_EQ(*v->int_at("a"), 3);
}

struct BadText {
  std::string text;
  ErrorCode code;
  std::string message_part;
};

TEST(JsonParseTest, RefusesWithLineAndColumn) {
  const BadText cases[] = {
      {"", ErrorCode::invalid_argument, "line 1, column 1"},
      {"{\n \"a\": nul}", ErrorCode::invalid_argument, "line 2"},
      {"[1,]", ErrorCode::invalid_argument, "line 1, column 4"},
      {"[NaN]", ErrorCode::invalid_argument, "column 2"},
      {"[Infinity]", ErrorCode::invalid_argument, "column 2"},
      {"1e999", ErrorCode::invalid_argument, "line 1"},
      {"-1e999", ErrorCode::invalid_argument, "line 1"},
      {"1e99999999999999", ErrorCode::invalid_argument, "line 1"},
      {"\"\xff\"", ErrorCode::invalid_argument, "column 2"},
      {"\"\\ud800\"", ErrorCode::invalid_argument, "line 1"},
      {"\"a\nb\"", ErrorCode::invalid_argument, "line 1"},
      {"1 2", ErrorCode::invalid_argument, "column 3"},
      {"// c\n1", ErrorCode::invalid_argument, "line 1"},
      {"01", ErrorCode::invalid_argument, "line 1"},
      {"\"open", ErrorCode::invalid_argument, "column 6"},
      {std::string(10000, '['), ErrorCode::too_large, "deeper than 64"},
      {std::string(10000, '[') + std::string(10000, ']'), ErrorCode::too_large, "column 65"},
      {std::string((8u << 20) + 1, ' '), ErrorCode::too_large, "bytes"},
  };
  for (const BadText& c : cases) {
    const auto v = parse(c.text);
    ASSERT_FALSE(v) << c.text.substr(0, 40);
    EXPECT_EQ(v.error().code, c.code) << c.text.substr(0, 40) << v.error().message;
    EXPECT_NE(v.error().message.find(c.message_part), std::string::npos) << v.error().message;
  }
}

TEST(JsonParseTest, HoldsItsOwnLimits) {
  EXPECT_TRUE(parse("[[1]]", {.depth_max = 2}));
  EXPECT_FALSE(parse("[[1]]", {.depth_max = 1}));
  EXPECT_TRUE(parse("[1,2]", {.values_max = 3}));
  EXPECT_EQ(parse("[1,2]", {.values_max = 2}).error().code, ErrorCode::too_large);
  const std::string deep = std::string(100000, '[');
  EXPECT_EQ(parse(deep, {.depth_max = 1u << 30}).error().code, ErrorCode::too_large);
}

TEST(JsonValueTest, RequiredAndOptionalMembersNameWhatIsWrong) {
  const Value v = *parse(R"({"i":3,"d":0.5,"s":"x","b":true,"n":null})");
  EXPECT_EQ(*v.int_at("i"), 3);
  EXPECT_EQ(*v.double_at("i"), 3.0);
  EXPECT_EQ(*v.string_or("n", "fallback"), "fallback");
  EXPECT_EQ(v.int_at("s").error().message, "'s' must be an integer, found string");
  EXPECT_EQ(v.int_at("s").error().param, "s");
  EXPECT_EQ(v.bool_at("gone").error().message, "'gone' must be true or false, found nothing");
  EXPECT_FALSE(v.int_or("d", 1));
}

TEST(JsonValueTest, SetReplacesOrAdds) {
  Value v;
  v.set("a", 1);
  v.set("b", "x");
  v.set("a", 2.5);
  EXPECT_EQ(dump(v), R"({"a":2.5,"b":"x"})");
}

TEST(JsonDumpTest, Styles) {
  const Value v = *parse(R"({"a":1,"b":[2,{}],"c":[]})");
  EXPECT_EQ(dump(v), R"({"a":1,"b":[2,{}],"c":[]})");
  EXPECT_EQ(dump(v, Style::spaced), R"({"a": 1, "b": [2, {}], "c": []})");
  EXPECT_EQ(dump(v, Style::pretty),
            "{\n  \"a\": 1,\n  \"b\": [\n    2,\n    {}\n  ],\n  \"c\": []\n}");
}

TEST(JsonDumpTest, NumbersReadBack) {
  EXPECT_EQ(dump(Value(1.0)), "1.0");
  EXPECT_EQ(dump(Value(0.1)), "0.1");
  EXPECT_EQ(dump(Value(1e300)), "1e+300");
  EXPECT_EQ(dump(Value(std::nan(""))), "null");
  for (const double d : {1.0 / 3, 5e-324, -0.0, 123456789.125}) {
    EXPECT_EQ(parse(dump(Value(d)))->as_double(), d);
  }
}

TEST(JsonDumpTest, StringsAreQuotedAndRepaired) {
  std::string out;
  append_quoted(out, std::string("a\"\\\x01\n\x7f") + "é" + "\xff");
  EXPECT_EQ(out, std::string("\"a\\\"\\\\\\u0001\\n\x7f") + "é" + "\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace hadal::json
