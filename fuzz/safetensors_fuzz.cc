// Whatever the header says, every accepted tensor lies inside the file.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  const auto file = std::as_bytes(std::span(data, size));
  const auto parsed = format::parse_safetensors(file);
  if (!parsed) return 0;
  for (const format::SafetensorsTensor& t : parsed->tensors) {
    CHECK(t.view.data >= file.data() && t.view.bytes() >= 0 &&
          t.view.data + t.view.bytes() <= file.data() + file.size());
  }
  return 0;
}
