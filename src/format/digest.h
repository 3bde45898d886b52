#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace hadal::format {

using Sha256Digest = std::array<std::byte, 32>;

/// SHA-256 of bytes that come in pieces. Source: FIPS 180-4, by OpenSSL.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  /// The digest of everything; starts anew afterwards.
  Sha256Digest finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Lower-case hexadecimal.
std::string to_hex(std::span<const std::byte> bytes);
/// The digest of a whole file, in hexadecimal. Errors: not_found and other reading errors.
Result<std::string> sha256_of_file(const std::filesystem::path& path);

}  // namespace hadal::format
