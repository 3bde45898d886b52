// Whatever an image says, opening it as a model and reading its tokenizer ends, and every accepted
// tensor can be read to its last byte.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "format/checkpoint.h"
#include "format/gguf.h"
#include "format/tensor_list.h"

namespace {
volatile unsigned sink;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const auto image = std::as_bytes(std::span(data, size));
  if (const auto parsed = format::Gguf::parse(image)) {
    for (const format::GgufPair& p : parsed->pairs()) {
      sink = sink + static_cast<unsigned>(p.value.as_int().has_value()) +
             static_cast<unsigned>(p.value.as_doubles().has_value()) +
             static_cast<unsigned>(p.value.as_strings().has_value());
    }
    for (const format::GgufTensor& t : parsed->tensors()) {
      CHECK(t.bytes.data() >= image.data() &&
            t.bytes.data() + t.bytes.size() <= image.data() + image.size());
    }
  }
  const auto checkpoint = format::Checkpoint::open_image(image, "image");
  if (!checkpoint) return 0;
  for (const format::CheckpointTensor& t : (*checkpoint)->tensors()) {
    if (t.view.bytes() == 0) continue;
    sink = sink + static_cast<unsigned>(t.view.data[0]) +
           static_cast<unsigned>(t.view.data[t.view.bytes() - 1]);
  }
  const auto tokenizer = (*checkpoint)->tokenizer_source();
  if (tokenizer) CHECK(tokenizer->tokens.size() == tokenizer->token_types.size());
  const auto problems = format::tensor_problems(**checkpoint);
  sink = sink + static_cast<unsigned>(problems.has_value());
  return 0;
}
