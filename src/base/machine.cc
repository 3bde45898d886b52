#include "base/machine.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace hadal {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// The number in a file of the kernel's; "max" and a missing file hold nothing back.
uint64_t number_in(const std::string& path) {
  std::ifstream in(path);
  uint64_t v = 0;
  return in >> v ? v : kUnlimited;
}

struct Group {
  uint64_t limit = kUnlimited;
  uint64_t left = kUnlimited;
};

void tighten(Group& g, const std::string& limit_file, const std::string& use_file) {
  const uint64_t limit = number_in(limit_file);
  if (limit == kUnlimited) return;
  const uint64_t used = number_in(use_file);
  g.limit = std::min(g.limit, limit);
  g.left = std::min(g.left, limit > used ? limit - used : 0);
}

// Every group from this process's own up to the root counts.
Group control_group() {
  Group g;
  tighten(g, "/sys/fs/cgroup/memory/memory.limit_in_bytes",
          "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;
    std::string path = line.substr(3);
    while (true) {
      const std::string dir = "/sys/fs/cgroup" + path;
      tighten(g, dir + "/memory.max", dir + "/memory.current");
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/'));
    }
  }
  return g;
}

}  // namespace

uint64_t memory_limit_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGE_SIZE);
  const uint64_t machine = pages > 0 && page > 0
                               ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page)
                               : kUnlimited;
  return std::min(machine, control_group().limit);
}

uint64_t memory_available_bytes() {
  uint64_t available = kUnlimited;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string name; meminfo >> name;) {
    uint64_t kib = 0;
    if (name == "MemAvailable:" && meminfo >> kib) available = kib * 1024;
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::min({available, control_group().left, memory_limit_bytes()});
}

}  // namespace hadal
