#include "format/hf_directory.h"

#include <utility>

#include "format/output_file.h"

namespace hadal::format {

namespace fs = std::filesystem;

Result<HfDirectory> HfDirectory::create(const fs::path& out) {
  const bool file = out.extension() == ".safetensors";
  fs::path directory = file ? out.parent_path() : out;
  if (directory.empty()) directory = ".";
  HfDirectory made(directory, file ? out : directory / "model.safetensors");
  std::error_code ec;
  if (fs::exists(directory / "config.json", ec) && !fs::exists(made.weights_, ec)) {
    return make_error(ErrorCode::conflict, directory.string() +
                                               " holds another checkpoint's config.json; write to "
                                               "a folder of its own")
        .about("out");
  }
  made.made_ = !fs::exists(directory, ec);
  fs::create_directories(directory, ec);
  if (ec) return errno_error(ec.value(), "create " + directory.string());
  return made;
}

HfDirectory::HfDirectory(HfDirectory&& other) noexcept
    : directory_(std::move(other.directory_)),
      weights_(std::move(other.weights_)),
      made_(std::exchange(other.made_, false)) {}

HfDirectory::~HfDirectory() {
  std::error_code ec;
  if (made_) fs::remove_all(directory_, ec);
}

Status HfDirectory::write_text(std::string_view name, std::string_view text) const {
  if (text.empty()) return {};
  TRY(OutputFile file, OutputFile::create(directory_ / name));
  TRY_VOID(file.write(text));
  return file.commit();
}

}  // namespace hadal::format
