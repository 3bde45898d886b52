#include "format/checkpoint.h"

#include <algorithm>
#include <system_error>

#include "format/internal/checkpoint_base.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

bool has_safetensors(const fs::path& directory) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(directory, ec)) {
    if (entry.path().extension() == ".safetensors") return true;
  }
  return fs::exists(directory / "model.safetensors.index.json", ec);
}

/// The .gguf of a directory, when there is exactly one model in it.
Result<fs::path> lone_gguf(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(directory, ec)) {
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  const bool split = found.size() > 1 && found[0].string().find("-00001-of-") != std::string::npos;
  if (found.size() == 1 || split) return found[0];
  if (found.empty()) {
    return not_found(directory.string() + ": holds neither config.json nor a .gguf file");
  }
  return invalid_argument(directory.string() + ": holds " + std::to_string(found.size()) +
                          " .gguf files; name one of them");
}

}  // namespace

Result<std::unique_ptr<const Checkpoint>> Checkpoint::open(const fs::path& path) {
  std::error_code ec;
  const fs::file_status status = fs::status(path, ec);
  if (!fs::exists(status)) {
    return not_found(path.string() + ": no such file or directory");
  }
  if (fs::is_directory(status)) {
    // A repository of GGUF files may carry the original's config.json along.
    const auto gguf = lone_gguf(path);
    const bool has_gguf = gguf || gguf.error().code != ErrorCode::not_found;
    if (fs::exists(path / "config.json", ec) && (has_safetensors(path) || !has_gguf)) {
      return open_hf(path);
    }
    if (!gguf) return gguf.error();
    return open_gguf(*gguf);
  }
  if (path.extension() == ".gguf") return open_gguf(path);
  if (path.extension() == ".safetensors") {
    // One shard stands for the whole model.
    const bool shard = path.filename().string().find("-of-") != std::string::npos &&
                       fs::exists(path.parent_path() / "model.safetensors.index.json", ec);
    return open_hf(shard ? path.parent_path() : path);
  }
  return unsupported(path.string() + ": not a model directory, a .gguf or a .safetensors file");
}

Result<std::unique_ptr<const Checkpoint>> Checkpoint::open_image(std::span<const std::byte> image,
                                                                 std::string_view name) {
  return open_gguf_image(image, name);
}

const CheckpointTensor* CheckpointBase::find(std::string_view name) const {
  const auto it =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const CheckpointTensor& t, std::string_view n) { return t.name < n; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

uint64_t CheckpointBase::bytes() const {
  uint64_t sum = 0;
  for (const MappedFile& m : maps_) sum += m.bytes().size();
  return sum;
}

Status CheckpointBase::index_tensors() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const CheckpointTensor& a, const CheckpointTensor& b) { return a.name < b.name; });
  const auto twin = std::adjacent_find(
      tensors_.begin(), tensors_.end(),
      [](const CheckpointTensor& a, const CheckpointTensor& b) { return a.name == b.name; });
  if (twin != tensors_.end()) return corrupt(name_ + ": tensor '" + twin->name + "' appears twice");
  for (CheckpointTensor& t : tensors_) {
    t.mapped = std::any_of(maps_.begin(), maps_.end(), [&](const MappedFile& map) {
      const auto bytes = map.bytes();
      return std::less_equal<>()(bytes.data(), t.view.data) &&
             std::less<>()(t.view.data, bytes.data() + bytes.size());
    });
  }
  return {};
}

}  // namespace hadal::format
