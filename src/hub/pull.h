#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/hub.h"

namespace hadal::hub {

struct PullOptions {
  HubAddress address;
  RepoName name;
  std::filesystem::path to;          ///< made when it does not exist
  std::vector<std::string> include;  ///< globs; empty: all files. `*` also matches '/'
  std::vector<std::string> exclude;
  int parallel = 8;                 ///< downloads at a time
  int attempts = 6;                 ///< of one piece, before the pull gives up
  int64_t retry_delay_ms = 500;     ///< doubles with each attempt
  uint64_t piece_bytes = 16 << 20;  ///< what one request asks for, and what a resume can lose
  http::ClientOptions http;
};

struct PullProgress {
  uint64_t bytes_done = 0;  ///< including what an earlier pull left
  uint64_t bytes_total = 0;
  size_t files_done = 0;
  size_t files_total = 0;
};

struct PullReport {
  std::string revision;
  size_t files = 0;
  size_t files_kept = 0;      ///< were complete already
  size_t files_verified = 0;  ///< against the hub's SHA-256
  uint64_t bytes = 0;
  uint64_t bytes_received = 0;
};

/// Downloads a model. Pieces are fetched in parallel into `NAME.part`, with `NAME.part.json`
/// telling which are there, so that a broken or cancelled pull goes on where it was. A file gets
/// its own name only when it is complete and its SHA-256 is the hub's; a file of the right size
/// that has its name already is kept. One pull per directory at a time.
///
/// `progress` is called about five times a second on the calling thread; false cancels.
/// Errors: as list_files; resource_exhausted (the disk), corrupt (a digest that stays wrong),
/// cancelled, conflict (another pull in this directory).
Result<PullReport> pull(const PullOptions& options,
                        const std::function<bool(const PullProgress&)>& progress);

}  // namespace hadal::hub
