#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "format/checkpoint.h"
#include "kernels/device.h"

namespace hadal::apps {

/// The name of the model that is built into the executable.
inline constexpr std::string_view kDemoName = "hadal-demo";

/// The GGUF image of the built-in demo model.
std::span<const std::byte> demo_image();
/// The checkpoint at `path`; the built-in demo model when it is empty or "demo".
Result<std::unique_ptr<const format::Checkpoint>> open_checkpoint(const std::string& path);
/// The compute device of the command line: `isa` is "auto", "ref", "avx2" or "avx512"; the rest of
/// the options as they are.
Result<std::unique_ptr<kernels::Device>> open_device(std::string_view isa,
                                                     kernels::CpuOptions options);

/// $XDG_CACHE_HOME/hadal, or ~/.cache/hadal; empty without either.
std::filesystem::path user_cache_directory();

}  // namespace hadal::apps
