#pragma once

#include <string>
#include <variant>

#include "json/json.h"

namespace hadal::engine_api {

/// An answer that is a JSON object.
struct JsonObjectFormat {};
/// An answer that is a JSON value of a schema.
struct JsonSchemaFormat {
  json::Value schema;
};
/// An answer that matches a grammar in llama.cpp's notation (GBNF).
struct GrammarFormat {
  std::string text;
};

/// What the text of an answer must be, after its reasoning. A tool call may stand in its place
/// where the request offers tools.
using AnswerFormat =
    std::variant<std::monostate, JsonObjectFormat, JsonSchemaFormat, GrammarFormat>;

}  // namespace hadal::engine_api
