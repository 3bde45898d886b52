#include "format/fingerprint.h"

#include <algorithm>

#include "format/digest.h"

namespace hadal::format {
namespace {

constexpr size_t kEndBytes = 2048;

void add(Sha256& digest, std::string_view text) {
  // Lengths keep "ab" "c" and "a" "bc" apart.
  const auto size = static_cast<uint64_t>(text.size());
  digest.update(std::as_bytes(std::span(&size, 1)));
  digest.update(std::as_bytes(std::span(text)));
}

}  // namespace

std::string fingerprint(const Checkpoint& checkpoint) {
  Sha256 digest;
  add(digest, json::dump(checkpoint.config()));
  for (const CheckpointTensor& t : checkpoint.tensors()) {
    add(digest, t.name);
    add(digest, dtype_name(t.view.dtype));
    for (int i = 0; i < t.view.shape.rank(); ++i) add(digest, std::to_string(t.view.shape[i]));
    const auto bytes = std::span(t.view.data, static_cast<size_t>(t.view.bytes()));
    const size_t end = std::min(bytes.size(), kEndBytes);
    digest.update(bytes.first(end));
    digest.update(bytes.last(end));
  }
  return to_hex(digest.finish());
}

}  // namespace hadal::format
