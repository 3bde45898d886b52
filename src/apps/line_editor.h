#pragma once

#include <memory>
#include <optional>
#include <string>

namespace hadal::apps {

/// Lines of a terminal, with editing and a history that lives as long as this: nothing is written
/// to disk. By libedit, with the keys of a shell. Threading: main.
class LineEditor {
 public:
  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// The next line without its newline; nothing at the end of input or when a signal came. What was
  /// typed is then dropped; ended() tells which it was.
  std::optional<std::string> read(const std::string& prompt);
  /// Whether the input has ended.
  bool ended() const;
  /// Adds to the history.
  void remember(const std::string& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::apps
