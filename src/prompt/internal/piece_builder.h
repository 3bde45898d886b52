#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "prompt/prompt_format.h"

namespace hadal::prompt {

// Special tokens of the family. Note U+FF5C for the bars and U+2581 for the blanks.
// Source: tokenizer.json of DeepSeek-V3 and DeepSeek-V4.
inline constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>";
inline constexpr std::string_view kEos = "<｜end▁of▁sentence｜>";
inline constexpr std::string_view kUser = "<｜User｜>";
inline constexpr std::string_view kAssistant = "<｜Assistant｜>";
inline constexpr std::string_view kThink = "<think>";
inline constexpr std::string_view kEndThink = "</think>";
inline constexpr std::string_view kCallsBegin = "<｜tool▁calls▁begin｜>";
inline constexpr std::string_view kCallsEnd = "<｜tool▁calls▁end｜>";
inline constexpr std::string_view kCallBegin = "<｜tool▁call▁begin｜>";
inline constexpr std::string_view kCallEnd = "<｜tool▁call▁end｜>";
inline constexpr std::string_view kCallSep = "<｜tool▁sep｜>";
inline constexpr std::string_view kOutputsBegin = "<｜tool▁outputs▁begin｜>";
inline constexpr std::string_view kOutputsEnd = "<｜tool▁outputs▁end｜>";
inline constexpr std::string_view kOutputBegin = "<｜tool▁output▁begin｜>";
inline constexpr std::string_view kOutputEnd = "<｜tool▁output▁end｜>";
/// One token that stands inside a tag of ordinary text: "<｜DSML｜invoke ...".
inline constexpr std::string_view kDsml = "｜DSML｜";
inline constexpr std::string_view kEot = "<|EOT|>";

/// Assembles the pieces of a prompt; neighbouring text becomes one piece.
class PieceBuilder {
 public:
  void special(std::string_view token) { pieces_.push_back({true, std::string(token)}); }
  /// Text of a message: never a special token.
  void text(std::string_view text);
  /// Text of ours, in which special tokens count. Never pass anything that a message said.
  void markup(std::string_view trusted);
  std::vector<Piece> take() { return std::move(pieces_); }

 private:
  std::vector<Piece> pieces_;
};

}  // namespace hadal::prompt
