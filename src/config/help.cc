#include <algorithm>
#include <vector>

#include "config/flags.h"

namespace hadal::config {
namespace {

std::string flag_usage(const Flag& f) {
  std::string out = f.letter != 0 ? std::string("-") + f.letter + ", " : "    ";
  out += "--" + std::string(f.name);
  if (f.kind == Kind::boolean) return out;
  if (!f.choices.empty()) return out + " " + std::string(f.choices);
  return out + " " + (f.unit.empty() ? "VALUE" : std::string(f.unit));
}

std::string toml_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

}  // namespace

std::string_view closest(std::string_view typed, std::span<const std::string_view> names) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, typed.size() / 3) + 1;
  for (const std::string_view name : names) {
    const size_t d = edit_distance(typed, name);
    if (d < best_distance) {
      best = name;
      best_distance = d;
    }
  }
  return best;
}

std::string help_text(const Spec& spec) {
  std::string out = "hadal " + std::string(spec.command);
  for (const Positional& p : spec.positionals) {
    std::string name(p.name);
    if (p.repeated) name += "...";
    out += p.required ? " " + name : " [" + name + "]";
  }
  out += spec.flags.empty() ? "\n\n" : " [flags]\n\n";
  out += std::string(spec.summary) + "\n";
  if (!spec.positionals.empty()) out += "\n";
  for (const Positional& p : spec.positionals) {
    out += "  " + std::string(p.name) +
           std::string(p.name.size() < 14 ? 14 - p.name.size() : 1, ' ') + std::string(p.help) +
           "\n";
  }
  if (!spec.flags.empty()) out += "\n";
  for (const Flag& f : spec.flags) {
    std::string line = "  " + flag_usage(f);
    line += line.size() < 36 ? std::string(36 - line.size(), ' ') : "\n" + std::string(36, ' ');
    line += std::string(f.help);
    if (!f.fallback.empty() && f.kind != Kind::boolean)
      line += " (" + std::string(f.fallback) + ")";
    if (f.kind == Kind::boolean && f.fallback == "true")
      line += " (on; --no-" + std::string(f.name) + ")";
    out += line + "\n";
  }
  if (!spec.notes.empty()) out += "\n" + std::string(spec.notes) + "\n";
  return out;
}

std::string Flags::dump() const {
  std::string out = "# hadal " + std::string(spec_->command) + "\n";
  for (const Flag& f : spec_->flags) {
    if (f.name == "config" || f.name == "dump-config") continue;
    const Value& v = values_.at(f.name);
    out += "\n# " + std::string(f.help);
    if (!f.unit.empty()) out += " [" + std::string(f.unit) + "]";
    if (!f.choices.empty()) out += " " + std::string(f.choices);
    std::string key(f.name);
    std::ranges::replace(key, '-', '_');
    out += "\n" + key + " = ";
    if (f.kind == Kind::list) {
      out += "[";
      for (size_t i = 0; i < v.list.size(); ++i)
        out += (i > 0 ? ", " : "") + toml_quoted(v.list[i]);
      out += "]";
    } else if (f.kind == Kind::text) {
      out += toml_quoted(v.text);
    } else {
      out += v.text;
    }
    out += "\n";
  }
  return out;
}

}  // namespace hadal::config
