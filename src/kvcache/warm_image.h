#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/result.h"
#include "kvcache/kv_cache.h"
#include "kvcache/prefix_cache.h"

namespace hadal::kvcache {

/// Writes the prefixes that all may use, tokens and cached rows, to a file. `model` names what
/// computed them: another one cannot read the image.
/// It is a safetensors file: "tokens" [N, P] and "parents" [N] as i32, "stream.K" [N, bytes of a
/// page] for every growing stream; the rest is in its metadata.
/// Errors: those of writing a file; invalid_argument when there is nothing to write.
Status write_warm_image(const std::filesystem::path& path, const KvCache& kv,
                        const PrefixCache& prefixes, kernels::Device& device,
                        std::string_view model);

/// Takes the prefixes of an image into the cache, for all and for good; returns their pages.
/// Errors: corrupt; conflict when another model or cache dtype computed it; resource_exhausted when
/// it would fill more than half of the cache.
Result<int64_t> read_warm_image(std::span<const std::byte> image, KvCache& kv,
                                PrefixCache& prefixes, kernels::Device& device,
                                std::string_view model);

}  // namespace hadal::kvcache
