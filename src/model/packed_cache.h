#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "format/mapped_file.h"
#include "kernels/device.h"

namespace hadal::model {

/// Where the packed weights of a checkpoint may lie, in the order of preference: beside it, and in
/// `fallback` when that is not empty. None for a checkpoint without files.
std::vector<std::filesystem::path> packed_cache_paths(const format::Checkpoint& checkpoint,
                                                      const std::filesystem::path& fallback);

/// Lets the device read its weights from a file in which they lie in its own order, so that a
/// second start packs nothing and processes share the pages. Where no path has a file that fits,
/// writes one to the first path that can be written. Called once, after Model::load and before any
/// step; the mapping must outlive the model, and is empty when the device packs nothing.
///
/// The file is in safetensors format: its header, which follows from the checkpoint's fingerprint,
/// the device's layout and the weights' names and sizes, must be the expected one byte for byte,
/// and so must the file's size and some tiles of the weights. Nothing in the file is trusted.
/// Errors: what writing can give; the model then packs in memory.
Result<format::MappedFile> map_packed_weights(const format::Checkpoint& checkpoint,
                                              kernels::Device& device,
                                              const std::vector<std::filesystem::path>& paths);

}  // namespace hadal::model
