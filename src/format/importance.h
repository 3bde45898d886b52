#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal::format {

/// What the input of one linear layer was, over a text: the sum of squares of every channel. The
/// weight is seen as `blocks` equal blocks of rows with an input each: the experts of a stack, the
/// heads or groups of a block-diagonal product, one otherwise.
struct ImportanceEntry {
  int64_t blocks = 1;
  int64_t channels = 0;
  std::vector<float> sums;    ///< [blocks, channels]
  std::vector<float> counts;  ///< [blocks], the tokens that each block met

  /// Adds one token's input of block `b`.
  void add(int64_t b, std::span<const float> input);
  /// The mean squares, positive, so that no error is free: [blocks, channels]. A block that met no
  /// token has ones.
  std::vector<float> means() const;
};

/// An importance matrix: entries by the GGUF name of the weight, as `hadal imatrix` and llama.cpp's
/// llama-imatrix write it, so that either program can use the other's file.
/// Source: llama.cpp, tools/imatrix (GGUF files).
class ImportanceMatrix {
 public:
  /// The entry of `name`, made with zeros when it is new.
  ImportanceEntry& entry(const std::string& name, int64_t blocks, int64_t channels);
  const ImportanceEntry* find(std::string_view name) const;
  const std::map<std::string, ImportanceEntry, std::less<>>& entries() const { return entries_; }

  /// Where the text came from, and in how many pieces of how many tokens it was read.
  std::vector<std::string> datasets;
  uint32_t chunks = 0;
  uint32_t chunk_tokens = 0;

  /// Errors: corrupt for another kind of file, sums without counts, wrong shapes, and numbers that
  /// are negative or not finite.
  static Result<ImportanceMatrix> parse(std::span<const std::byte> image);
  static Result<ImportanceMatrix> open(const std::filesystem::path& path);
  /// Errors: what writing a file can give; invalid_argument for names that GGUF cannot hold.
  Status write(const std::filesystem::path& path) const;

 private:
  std::map<std::string, ImportanceEntry, std::less<>> entries_;
};

}  // namespace hadal::format
