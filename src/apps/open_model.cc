#include "apps/open_model.h"

#include <cstdlib>

// The demo model as bytes of the executable's read-only data. The include path of the build finds
// the file.
__asm__(
    ".section .rodata\n"
    ".balign 64\n"
    "hadal_demo_begin:\n"
    ".incbin \"models/demo/demo.gguf\"\n"
    "hadal_demo_end:\n"
    ".byte 0\n"
    ".previous\n");

extern "C" const std::byte hadal_demo_begin[];
extern "C" const std::byte hadal_demo_end[];

namespace hadal::apps {

std::span<const std::byte> demo_image() { return {hadal_demo_begin, hadal_demo_end}; }

Result<std::unique_ptr<const format::Checkpoint>> open_checkpoint(const std::string& path) {
  if (path.empty() || path == "demo")
    return format::Checkpoint::open_image(demo_image(), kDemoName);
  return format::Checkpoint::open(path);
}

Result<std::unique_ptr<kernels::Device>> open_device(std::string_view isa,
                                                     kernels::CpuOptions options) {
  if (isa == "ref") options.isa = kernels::CpuIsa::ref;
  if (isa == "avx2") options.isa = kernels::CpuIsa::avx2;
  if (isa == "avx512") options.isa = kernels::CpuIsa::avx512;
  return kernels::open_cpu(options);
}

std::filesystem::path user_cache_directory() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return std::filesystem::path(cache) / "hadal";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') return {};
  return std::filesystem::path(home) / ".cache" / "hadal";
}

}  // namespace hadal::apps
