#pragma once

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace hadal {

/// The folders of the golden checkpoints, sorted: those of this repository, or those below
/// $HADAL_GOLDEN_DIR.
inline std::vector<std::string> golden_paths() {
  namespace fs = std::filesystem;
  const char* extra = std::getenv("HADAL_GOLDEN_DIR");
  const fs::path root =
      extra != nullptr ? fs::path(extra) : fs::path(HADAL_SOURCE_DIR) / "tests/golden";
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (fs::exists(entry.path() / "golden.safetensors")) paths.push_back(entry.path().string());
  }
  std::ranges::sort(paths);
  return paths;
}

/// A golden's folder as the name of its test: letters, digits and underscores.
inline std::string golden_test_name(const std::string& path) {
  std::string name = std::filesystem::path(path).filename().string();
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

}  // namespace hadal
