#pragma once

#include <string>

#include "format/checkpoint.h"

namespace hadal::format {

/// Tells checkpoints apart without reading them whole: the SHA-256 of the configuration and of
/// every tensor's name, dtype, shape, first and last bytes, in hexadecimal. It recognises another
/// model, fine-tune or quantization, not one that was changed to deceive. Threading: any thread. It
/// reads a page or two of each tensor.
std::string fingerprint(const Checkpoint& checkpoint);

}  // namespace hadal::format
