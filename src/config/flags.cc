#include "config/flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/check.h"
#include "config/internal/toml_values.h"

namespace hadal::config {
namespace {

const Flag* find_flag(const Spec& spec, std::string_view name) {
  for (const Flag& f : spec.flags) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

std::string number_text(double v) {
  char text[40];
  std::snprintf(text, sizeof text, "%.12g", v);
  return text;
}

// What is wrong with `text` as a value of `flag`; empty when nothing is.
std::string problem_with(const Flag& flag, std::string_view text) {
  if (flag.kind == Kind::boolean) {
    return text == "true" || text == "false"
               ? ""
               : "is '" + std::string(text) + "', expected true or false";
  }
  if (flag.kind == Kind::integer || flag.kind == Kind::number) {
    double v = 0;
    const char* end = text.data() + text.size();
    bool parsed = false;
    if (flag.kind == Kind::integer) {
      int64_t i = 0;
      const auto [at, error] = std::from_chars(text.data(), end, i);
      parsed = error == std::errc() && at == end;
      v = static_cast<double>(i);
    } else {
      const auto [at, error] = std::from_chars(text.data(), end, v);
      parsed = error == std::errc() && at == end && std::isfinite(v);
    }
    const char* kind = flag.kind == Kind::integer ? "a whole number" : "a number";
    if (!parsed) return "is '" + std::string(text) + "', expected " + kind;
    if (v < flag.min || v > flag.max) {
      return "is " + std::string(text) + ", expected " + number_text(flag.min) + " to " +
             number_text(flag.max);
    }
    return "";
  }
  if (flag.choices.empty()) return "";
  std::string_view left = flag.choices;
  while (true) {
    const size_t bar = left.find('|');
    if (left.substr(0, bar) == text) return "";
    if (bar == std::string_view::npos) break;
    left.remove_prefix(bar + 1);
  }
  return "is '" + std::string(text) + "', expected one of " + std::string(flag.choices);
}

}  // namespace

// Fills a Flags from arguments and a file, noting every problem.
class FlagParser {
 public:
  explicit FlagParser(const Spec& spec) : spec_(spec) {
    out_.spec_ = &spec;
    for (const Flag& f : spec.flags) {
      Flags::Value& v = out_.values_[f.name];
      v.text = f.fallback;
      if (v.text.empty() && (f.kind == Kind::integer || f.kind == Kind::number)) v.text = "0";
      if (v.text.empty() && f.kind == Kind::boolean) v.text = "false";
    }
  }

  void set(const Flag& flag, std::string_view shown, const std::string& text) {
    const std::string problem = problem_with(flag, text);
    if (!problem.empty()) {
      problems_.push_back(std::string(shown) + " " + problem);
      return;
    }
    Flags::Value& v = out_.values_[flag.name];
    if (flag.kind == Kind::list) {
      v.list.push_back(text);
    } else {
      v.text = text;
    }
    v.given = true;
  }

  void read_file(const std::string& path) {
    auto values = read_toml(path);
    if (!values) {
      problems_.push_back(values.error().message);
      return;
    }
    for (const TomlValue& t : *values) {
      std::string name = t.key;
      std::ranges::replace(name, '_', '-');
      const std::string shown = path + " line " + std::to_string(t.line) + ": " + t.key;
      const Flag* flag = find_flag(spec_, name);
      if (flag == nullptr || flag->name == "config") {
        problems_.push_back(shown + " is not a setting of hadal " + std::string(spec_.command) +
                            suggestion(name, "", '_'));
      } else if (t.is_list != (flag->kind == Kind::list)) {
        problems_.push_back(shown + (t.is_list ? " must not be a list" : " must be a list"));
      } else {
        for (const std::string& v : t.values) set(*flag, shown, v);
      }
    }
  }

  void read_args(std::span<const std::string> args) {
    bool only_positionals = false;
    for (size_t i = 0; i < args.size(); ++i) {
      const std::string& arg = args[i];
      if (only_positionals || arg.size() < 2 || arg[0] != '-') {
        add_positional(arg);
      } else if (arg == "--") {
        only_positionals = true;
      } else if (arg == "--help" || arg == "-h") {
        out_.help_wanted_ = true;
      } else {
        i += read_flag(arg, i + 1 < args.size() ? &args[i + 1] : nullptr) ? 1 : 0;
      }
    }
  }

  Result<Flags> finish() {
    if (out_.help_wanted_) return std::move(out_);
    for (size_t i = out_.positionals_.size(); i < spec_.positionals.size(); ++i) {
      if (spec_.positionals[i].required) {
        problems_.push_back("the argument " + std::string(spec_.positionals[i].name) +
                            " is missing");
      }
    }
    if (problems_.empty()) return std::move(out_);
    std::string message;
    for (const std::string& p : problems_) message += (message.empty() ? "" : "; ") + p;
    return invalid_argument(message).with_hint("`hadal " + std::string(spec_.command) +
                                               " --help` lists all settings");
  }

 private:
  std::string suggestion(std::string_view typed, std::string_view prefix, char separator) const {
    std::vector<std::string_view> names;
    for (const Flag& f : spec_.flags) names.push_back(f.name);
    std::string best(closest(typed, names));
    if (best.empty()) return "";
    std::ranges::replace(best, '-', separator);
    return "; did you mean " + std::string(prefix) + best + "?";
  }

  void add_positional(const std::string& arg) {
    const size_t n = spec_.positionals.size();
    const bool more = out_.positionals_.size() < n || (n > 0 && spec_.positionals[n - 1].repeated);
    if (more) {
      out_.positionals_.push_back(arg);
    } else {
      problems_.push_back("the argument '" + arg + "' is one too many");
    }
  }

  const Flag* by_letter(const std::string& arg) const {
    for (const Flag& f : spec_.flags) {
      if (f.letter != 0 && arg.size() == 2 && arg[1] == f.letter) return &f;
    }
    return nullptr;
  }

  // Whether `next` was used as the value.
  bool read_flag(const std::string& arg, const std::string* next) {
    const size_t equals = arg.find('=');
    const std::string shown = arg.substr(0, equals);
    const bool is_long = arg.starts_with("--");
    const Flag* flag =
        is_long ? find_flag(spec_, std::string_view(shown).substr(2)) : by_letter(arg);
    if (flag == nullptr && shown.starts_with("--no-")) {
      const Flag* negated = find_flag(spec_, std::string_view(shown).substr(5));
      if (negated != nullptr && negated->kind == Kind::boolean && equals == std::string::npos) {
        set(*negated, shown, "false");
        return false;
      }
    }
    if (flag == nullptr) {
      const std::string_view typed =
          is_long ? std::string_view(shown).substr(2) : std::string_view(shown);
      problems_.push_back("there is no flag " + shown + suggestion(typed, "--", '-'));
      return false;
    }
    // A value given here replaces the file's list, it does not extend it.
    if (flag->kind == Kind::list && !list_started_[flag->name]) {
      list_started_[flag->name] = true;
      out_.values_[flag->name].list.clear();
    }
    if (equals != std::string::npos) {
      set(*flag, shown, arg.substr(equals + 1));
      return false;
    }
    if (flag->kind == Kind::boolean) {
      set(*flag, shown, "true");
      return false;
    }
    if (next == nullptr) {
      problems_.push_back(shown + " needs a value");
      return false;
    }
    set(*flag, shown, *next);
    return true;
  }

  const Spec& spec_;
  Flags out_;
  std::vector<std::string> problems_;
  std::map<std::string_view, bool> list_started_;
};

Result<Flags> Flags::parse(const Spec& spec, std::span<const std::string> args) {
  FlagParser parser(spec);
  parser.read_args(args);
  return parser.finish();
}

Result<Flags> Flags::parse_with_file(const Spec& spec, std::span<const std::string> args) {
  // The command line is read twice: once to learn the file's name, once on top of the file.
  std::string path;
  const bool has_file = find_flag(spec, "config") != nullptr;
  for (size_t i = 0; has_file && i < args.size() && args[i] != "--"; ++i) {
    if (args[i] == "--config" && i + 1 < args.size()) path = args[i + 1];
    if (args[i].starts_with("--config=")) path = args[i].substr(9);
  }
  FlagParser parser(spec);
  if (!path.empty()) parser.read_file(path);
  parser.read_args(args);
  return parser.finish();
}

const Flags::Value& Flags::value(std::string_view name, Kind kind) const {
  const Flag* flag = find_flag(*spec_, name);
  CHECK(flag != nullptr && flag->kind == kind, "a setting that the table does not have");
  return values_.at(flag->name);
}

const std::string& Flags::text(std::string_view name) const { return value(name, Kind::text).text; }

int64_t Flags::integer(std::string_view name) const {
  const std::string& text = value(name, Kind::integer).text;
  int64_t v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

double Flags::number(std::string_view name) const {
  const std::string& text = value(name, Kind::number).text;
  double v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

bool Flags::boolean(std::string_view name) const {
  return value(name, Kind::boolean).text == "true";
}

const std::vector<std::string>& Flags::list(std::string_view name) const {
  return value(name, Kind::list).list;
}

bool Flags::given(std::string_view name) const {
  const auto at = values_.find(name);
  CHECK(at != values_.end(), "a setting that the table does not have");
  return at->second.given;
}

}  // namespace hadal::config
