#include "base/units.h"

#include <cstdio>

namespace hadal {
namespace {

std::string scaled(double value, double step, const char* const* names, int count) {
  int i = 0;
  while (value >= step && i + 1 < count) {
    value /= step;
    ++i;
  }
  char text[48];
  std::snprintf(text, sizeof text, i == 0 ? "%.0f%s%s" : "%.2f%s%s", value, *names[i] ? " " : "",
                names[i]);
  return text;
}

}  // namespace

std::string format_bytes(uint64_t bytes) {
  static constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return scaled(static_cast<double>(bytes), 1024, kNames, 6);
}

std::string format_count(uint64_t count) {
  static constexpr const char* kNames[] = {"", "K", "M", "B", "T"};
  return scaled(static_cast<double>(count), 1000, kNames, 5);
}

}  // namespace hadal
