// Schemas from clients: what their grammars write is JSON, of a type that the schema names.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "grammar/json_schema.h"
#include "grammar_walk.h"
#include "json/json.h"

namespace {

using hadal::json::Value;

bool has_type(const Value& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  return value.is_number();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal::grammar;
  const auto schema = hadal::json::parse({reinterpret_cast<const char*>(data), size});
  if (!schema) return 0;
  const auto grammar = json_schema_grammar(*schema, "schema", kFuzzLimits);
  if (!grammar) {
    CHECK(!grammar.error().message.empty());
    return 0;
  }
  const auto compiled = CompiledGrammar::create(*grammar, fuzz_vocabulary(), kFuzzLimits);
  if (!compiled) return 0;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const Walk out = walk(*compiled, seed, 16);
    if (!out.whole) continue;
    const auto value = hadal::json::parse(out.text);
    CHECK(value.has_value(), "what a schema's grammar writes is no JSON");
    const Value* type = schema->is_object() ? schema->find("type") : nullptr;
    if (type != nullptr && type->is_string()) CHECK(has_type(*value, type->as_string()));
  }
  return 0;
}
