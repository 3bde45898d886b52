#include "sampling/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace hadal::sampling {
namespace {

// The length of the longest proper prefix of `stop` that `text` ends with.
size_t overlap(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

StopMatcher::Match StopMatcher::feed(std::string_view piece, bool armed) {
  Match out;
  std::string text = std::exchange(held_, {}) + std::string(piece);
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = armed ? text.find(stop) : std::string::npos;
    if (at < first) {
      first = at;
      out.stop_string = stop;
    }
  }
  if (first != std::string::npos) {
    out.text = text.substr(0, first);
    out.stopped = true;
    return out;
  }
  size_t hold = 0;
  for (const std::string& stop : stops_) hold = std::max(hold, overlap(text, stop));
  held_ = text.substr(text.size() - hold);
  text.resize(text.size() - hold);
  out.text = std::move(text);
  return out;
}

std::string StopMatcher::flush() { return std::exchange(held_, {}); }

}  // namespace hadal::sampling
