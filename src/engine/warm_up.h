#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "engine/loaded_model.h"

namespace hadal::engine {

/// Computes the prompt `ids` and keeps its full pages for everybody, until the model goes.
/// `progress` is told the tokens that each step computed; false stops.
/// Threading: before a backend takes the model.
/// Errors: context_length_exceeded, resource_exhausted, cancelled, unsupported for a model whose
/// cache cannot be shared.
Status warm_prompt(LoadedModel& model, std::span<const int32_t> ids,
                   const std::function<bool(int64_t)>& progress = {});

/// Writes what was warmed to an image, and signs it when `private_key` is not empty.
Status save_warm_image(const LoadedModel& model, const std::filesystem::path& path,
                       const std::filesystem::path& private_key = {});

/// Takes an image's prompts; returns their pages. With `public_key` the image must be signed by it.
/// Errors: those of vault::verify_file and kvcache::read_warm_image.
Result<int64_t> load_warm_image(LoadedModel& model, const std::filesystem::path& path,
                                const std::filesystem::path& public_key = {});

}  // namespace hadal::engine
