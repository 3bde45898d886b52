#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hadal::sampling {

/// Finds the first stop string in text that comes in pieces, and never gives out text that could
/// still become part of one. Threading: one thread at a time.
class StopMatcher {
 public:
  /// Empty stop strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  struct Match {
    std::string text;  ///< certain text, before any stop string
    bool stopped = false;
    std::string stop_string;  ///< the one that was found
  };
  /// Takes more text. While `armed` is false, stop strings that end in this piece pass as plain
  /// text.
  Match feed(std::string_view piece, bool armed = true);
  /// What is still held back, at the end of the answer.
  std::string flush();

 private:
  std::vector<std::string> stops_;
  std::string held_;  ///< the longest end of the text so far that begins a stop string
};

}  // namespace hadal::sampling
