#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "config/flags.h"

namespace hadal::apps {

/// A subcommand of the executable: its command line and what it does. Each is one file, <name>.cc,
/// that defines `extern const Command k<Name>Command`, and one line in commands.h.
struct Command {
  const config::Spec& spec;
  /// Runs with checked settings; the process exit code. Errors are printed by main.
  Result<int> (*run)(const config::Flags& flags);
};

}  // namespace hadal::apps
