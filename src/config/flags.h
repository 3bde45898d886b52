#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hadal::config {

enum class Kind { text, integer, number, boolean, list };

/// One setting: what a command line flag, a key of a TOML file, the help text and --dump-config
/// have in common. On the command line it is `--name VALUE` or `--name=VALUE` (a boolean: `--name`,
/// `--no-name`), in a file `name = value` with '_' for '-'.
struct Flag {
  std::string_view name;  ///< "kv-cache-bytes-max"
  Kind kind = Kind::text;
  std::string_view fallback;  ///< as text; empty: 0, false or no text
  std::string_view unit;      ///< "tokens", "ms", "FILE"; shown in the help
  std::string_view help;
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
  std::string_view choices = {};  ///< "f16|f32": the only values; empty: any
  char letter = 0;                ///< a short form, -p
};

/// An argument without a name.
struct Positional {
  std::string_view name;  ///< "MODEL"
  std::string_view help;
  bool required = true;
  bool repeated = false;  ///< takes all that follow
};

/// The command line of one command.
struct Spec {
  std::string_view command;  ///< "serve"
  std::string_view summary;
  std::span<const Positional> positionals;
  std::span<const Flag> flags;
  std::string_view notes = {};  ///< shown below the flags
};

/// The settings of a process, checked against their table: the defaults, then a TOML file, then the
/// command line. Asking for a name that is not in the table, or for another kind than its own, is a
/// defect (CHECK).
class Flags {
 public:
  /// Errors: invalid_argument with all problems at once, each with what to do. `--help` is no
  /// error: see help_wanted.
  static Result<Flags> parse(const Spec& spec, std::span<const std::string> args);
  /// The same with the values of a TOML file below those of the command line: the file that
  /// `--config` names, where the table has such a flag.
  static Result<Flags> parse_with_file(const Spec& spec, std::span<const std::string> args);

  bool help_wanted() const { return help_wanted_; }
  const std::string& text(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  bool boolean(std::string_view name) const;
  const std::vector<std::string>& list(std::string_view name) const;
  /// Whether the file or the command line set it.
  bool given(std::string_view name) const;
  const std::vector<std::string>& positionals() const { return positionals_; }
  /// The positional `i`, or empty.
  std::string positional(size_t i) const { return i < positionals_.size() ? positionals_[i] : ""; }

  /// All settings as a TOML file with help texts as comments.
  std::string dump() const;

 private:
  struct Value {
    std::string text;
    std::vector<std::string> list;
    bool given = false;
  };
  friend class FlagParser;
  const Value& value(std::string_view name, Kind kind) const;

  const Spec* spec_ = nullptr;
  std::map<std::string_view, Value> values_;
  std::vector<std::string> positionals_;
  bool help_wanted_ = false;
};

/// What `--help` prints.
std::string help_text(const Spec& spec);

/// The name of `names` that `typed` most likely meant; empty when none is close.
std::string_view closest(std::string_view typed, std::span<const std::string_view> names);

}  // namespace hadal::config
