#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"

namespace hadal::format {

/// A whole file mapped for reading. The bytes live as long as this object; a file that another
/// process shortens meanwhile kills this one (SIGBUS), as with every mapping.
/// Threading: any thread after open.
class MappedFile {
 public:
  /// How the pages will be touched, told to the kernel.
  enum class Advice { normal, sequential, random, will_need, dont_need, large_pages };

  /// Errors: not_found, permission_denied, invalid_argument for what is not a regular file.
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile(std::move(other)).swap(*this);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Advises about the pages that lie in [offset, offset + count). Best effort.
  void advise(Advice advice, size_t offset, size_t count) const;
  void advise(Advice advice) const { advise(advice, 0, size_); }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// The text of a small file. Errors: not_found; too_large beyond `bytes_max`.
Result<std::string> read_text_file(const std::filesystem::path& path, size_t bytes_max);

}  // namespace hadal::format
