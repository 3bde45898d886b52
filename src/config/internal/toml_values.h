#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hadal::config {

/// One key of a TOML file, its value as text, or as a list of texts.
struct TomlValue {
  std::string key;
  std::vector<std::string> values;
  bool is_list = false;
  int line = 0;
};

/// The keys of a flat TOML file. Errors: not_found, too_large, invalid_argument with line and
/// column; tables and other nested values are refused.
Result<std::vector<TomlValue>> read_toml(const std::string& path);

}  // namespace hadal::config
