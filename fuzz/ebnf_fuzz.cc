// Grammars from clients: masks are what the matcher takes, and no text ends in a dead end.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "grammar/ebnf.h"
#include "grammar_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal::grammar;
  const auto grammar = read_ebnf({reinterpret_cast<const char*>(data), size}, kFuzzLimits);
  if (!grammar) {
    CHECK(!grammar.error().message.empty());
    return 0;
  }
  const auto compiled = CompiledGrammar::create(*grammar, fuzz_vocabulary(), kFuzzLimits);
  if (compiled) walk(*compiled, size, 12);
  return 0;
}
