#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::sampling {

/// Watches a stream of text for stop strings, across the borders of its pieces. Text that may
/// still become a stop string waits, and no more than that: at most the longest string less one
/// byte. Time is linear in the text (times the number of strings, a handful).
/// Threading: one thread at a time. Source: Knuth, Morris, Pratt, SIAM J. Comput. 6 (1977) 323.
class StopMatcher {
 public:
  /// What one piece of text gave.
  struct Match {
    std::string text;         ///< may be shown
    bool stopped = false;     ///< a stop string is complete; it and what follows are not in `text`
    std::string stop_string;  ///< the one that is
  };

  /// Watches for `stop`; empty strings are ignored.
  explicit StopMatcher(std::span<const std::string> stop);

  /// Takes the next piece. Of several strings that end with the same byte the longest counts. A
  /// string that becomes complete while `may_stop` is false is text like any other. Call no more
  /// after `stopped`.
  Match feed(std::string_view text, bool may_stop = true);
  /// The end of the text: what waited.
  std::string flush();
  /// Bytes that wait.
  size_t pending_bytes() const { return pending_.size(); }

 private:
  struct Pattern {
    std::string text;
    std::vector<uint32_t> fallback;  ///< KMP: the longest border of each prefix
    size_t matched = 0;              ///< bytes of `text` that the stream ends with
  };

  std::vector<Pattern> patterns_;
  std::string pending_;
};

}  // namespace hadal::sampling
