#include <toml++/toml.h>
#include <fstream>
#include <sstream>

#include "config/internal/toml_values.h"

namespace hadal::config {
namespace {

constexpr std::streamoff kConfigBytesMax = 1 << 20;

Result<std::string> scalar_text(const toml::node& node) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* b = node.as_boolean()) return std::string(b->get() ? "true" : "false");
  if (const auto* f = node.as_floating_point()) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", f->get());
    return std::string(text);
  }
  return invalid_argument("only texts, numbers, booleans and lists of them are allowed");
}

Result<TomlValue> read_value(const std::string& path, std::string_view key,
                             const toml::node& node) {
  TomlValue out;
  out.key = key;
  out.line = static_cast<int>(node.source().begin.line);
  const std::string where = path + " line " + std::to_string(out.line) + ": " + out.key;
  if (const auto* list = node.as_array()) {
    out.is_list = true;
    for (const toml::node& item : *list) {
      auto text = scalar_text(item);
      if (!text) return std::move(text).error().in(where);
      out.values.push_back(*std::move(text));
    }
    return out;
  }
  auto text = scalar_text(node);
  if (!text) return std::move(text).error().in(where);
  out.values.push_back(*std::move(text));
  return out;
}

}  // namespace

Result<std::vector<TomlValue>> read_toml(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return errno_error(errno, "config file " + path);
  if (file.tellg() > kConfigBytesMax)
    return too_large("config file " + path + " is larger than 1 MiB");
  file.seekg(0);
  std::stringstream text;
  text << file.rdbuf();
  std::vector<TomlValue> out;
  try {
    const toml::table table = toml::parse(text.str(), path);
    for (const auto& [key, node] : table) {
      TRY(TomlValue value, read_value(path, key.str(), node));
      out.push_back(std::move(value));
    }
  } catch (const toml::parse_error& e) {
    return invalid_argument(path + " line " + std::to_string(e.source().begin.line) + " column " +
                            std::to_string(e.source().begin.column) + ": " +
                            std::string(e.description()));
  }
  return out;
}

}  // namespace hadal::config
