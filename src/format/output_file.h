#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal::format {

/// A file being written. It has a temporary name beside its own until commit() renames it; one that
/// is not committed goes with this object, so nobody ever sees half a model.
/// Threading: one thread.
class OutputFile {
 public:
  /// `bytes`: how many will be written; 0: not known. Errors: resource_exhausted when the disk has
  /// less; what creating a file in that directory can give.
  static Result<OutputFile> create(const std::filesystem::path& path, uint64_t bytes = 0);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  /// Appends bytes. Errors: resource_exhausted when the disk is full, and others.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) {
    return write(std::as_bytes(std::span(text.data(), text.size())));
  }
  /// Appends zeros until the size is a multiple of `alignment`.
  Status pad(uint64_t alignment);
  uint64_t bytes() const { return flushed_ + buffer_.size(); }
  /// Flushes to the disk and gives the file its name.
  Status commit();

 private:
  OutputFile() = default;
  Status flush();
  Status write_all(std::span<const std::byte> bytes);

  int fd_ = -1;
  std::filesystem::path path_, temporary_;
  std::vector<std::byte> buffer_;
  uint64_t flushed_ = 0;
};

}  // namespace hadal::format
