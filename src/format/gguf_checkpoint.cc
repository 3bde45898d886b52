#include "format/internal/checkpoint_base.h"

namespace hadal::format {

Result<std::unique_ptr<const Checkpoint>> open_gguf(const std::filesystem::path& path) {
  return unsupported(path.string() + ": GGUF");
}
Result<std::unique_ptr<const Checkpoint>> open_gguf_image(std::span<const std::byte>,
                                                          std::string_view name) {
  return unsupported(std::string(name) + ": GGUF");
}

}  // namespace hadal::format
