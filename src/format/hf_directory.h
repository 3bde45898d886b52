#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace hadal::format {

/// A Hugging Face checkpoint while it is written: one weights file and the small files beside it.
/// Unless keep() is called, what create() made is removed again.
class HfDirectory {
 public:
  /// `out` is a directory, which gets model.safetensors, or the path of a .safetensors file, whose
  /// folder gets the small files. Errors: conflict when another checkpoint lives there; what
  /// making a folder can give.
  static Result<HfDirectory> create(const std::filesystem::path& out);
  HfDirectory(HfDirectory&& other) noexcept;
  HfDirectory& operator=(HfDirectory&&) = delete;
  ~HfDirectory();

  const std::filesystem::path& weights() const { return weights_; }
  /// Writes a small file, whole or not at all; nothing when `text` is empty.
  Status write_text(std::string_view name, std::string_view text) const;
  void keep() { made_ = false; }

 private:
  HfDirectory(std::filesystem::path directory, std::filesystem::path weights)
      : directory_(std::move(directory)), weights_(std::move(weights)) {}

  std::filesystem::path directory_;
  std::filesystem::path weights_;
  bool made_ = false;  ///< the folder is ours to remove
};

}  // namespace hadal::format
