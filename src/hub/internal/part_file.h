#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/hub.h"

namespace hadal::hub::internal {

/// A file that grows in pieces and gets its name when it is complete.
/// Threading: write and piece_done from any thread; the rest from one.
class PartFile {
 public:
  /// Goes on with what an earlier pull left, when it was the same file in the same pieces.
  PartFile(HubFile file, std::filesystem::path target, uint64_t piece_bytes);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  const HubFile& file() const { return file_; }
  /// Whether a file of the right size is there already, whose digest can tell whether it is this
  /// one.
  bool may_be_complete() const;
  /// Whether it is: reads all of it. Errors: those of reading.
  Result<bool> is_complete() const;
  size_t pieces() const { return done_.size(); }
  bool has_piece(size_t i) const { return done_[i]; }
  uint64_t piece_begin(size_t i) const { return i * piece_bytes_; }
  /// Bytes of a piece; nothing when the size of the file is not known.
  std::optional<uint64_t> piece_size(size_t i) const;

  Status write(uint64_t offset, std::string_view bytes);
  /// Remembers that a piece is there. True when it was the last one.
  Result<bool> piece_done(size_t i);
  /// Checks the digest and gives the file its name. Errors: corrupt; the pieces are then forgotten.
  Status finish();

 private:
  Status open();
  Status save_state();
  void load_state();
  void forget();

  const HubFile file_;
  const std::filesystem::path target_;
  const std::filesystem::path part_;
  const std::filesystem::path state_;
  const uint64_t piece_bytes_;
  std::vector<bool> done_;
  std::mutex mutex_;
  int fd_ = -1;
};

}  // namespace hadal::hub::internal
