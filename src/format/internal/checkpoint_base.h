#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "format/checkpoint.h"
#include "format/mapped_file.h"

namespace hadal::format {

/// What both kinds of checkpoint keep.
class CheckpointBase : public Checkpoint {
 public:
  const std::string& name() const override { return name_; }
  const json::Value& config() const override { return config_; }
  const json::Value& generation_config() const override { return generation_config_; }
  std::span<const CheckpointTensor> tensors() const override { return tensors_; }
  const CheckpointTensor* find(std::string_view name) const override;
  std::vector<std::filesystem::path> files() const override { return files_; }
  uint64_t bytes() const override;

 protected:
  /// Sorts the tensors. Errors: corrupt when two have one name.
  Status index_tensors();

  std::string name_;
  json::Value config_;
  json::Value generation_config_;
  std::vector<CheckpointTensor> tensors_;
  std::vector<std::filesystem::path> files_;
  std::vector<MappedFile> maps_;  ///< what the tensors point into
};

/// A directory or one .safetensors file, with config.json.
Result<std::unique_ptr<const Checkpoint>> open_hf(const std::filesystem::path& path);
/// A .gguf file with its sister splits.
Result<std::unique_ptr<const Checkpoint>> open_gguf(const std::filesystem::path& path);
/// A GGUF image in memory.
Result<std::unique_ptr<const Checkpoint>> open_gguf_image(std::span<const std::byte> image,
                                                          std::string_view name);

}  // namespace hadal::format
