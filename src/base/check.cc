#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace hadal::internal {

void check_failed(const char* file, int line, const char* expression, const char* why) {
  std::fprintf(stderr, "%s:%d: CHECK(%s) failed%s%s\n", file, line, expression, *why ? ": " : "",
               why);
  std::fflush(stderr);
  std::abort();
}

}  // namespace hadal::internal
