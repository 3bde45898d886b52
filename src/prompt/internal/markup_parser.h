#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "prompt/answer_parser.h"
#include "prompt/internal/tool_markup.h"

namespace hadal::prompt {

/// How a generation writes its answers.
struct AnswerMarkup {
  bool reasoning = true;           ///< knows <think> and </think>
  bool token_calls = false;        ///< tool calls between special tokens: V2.5 to V3.1
  bool fenced_calls = false;       ///< whose arguments are a block of code: before V3.1
  const DsmlTags* dsml = nullptr;  ///< tool calls as DSML: V3.2 and later
  /// Line breaks around the reasoning belong to the format: "<think>\n...\n</think>\n\n...".
  bool trims_line_breaks = false;
  /// One blank in front of the answer belongs to the format: "Assistant: ...".
  bool trims_one_blank = false;
};

/// A parser for an answer that begins in its reasoning or in its content.
std::unique_ptr<AnswerParser> make_markup_parser(const AnswerMarkup& grammar,
                                                 bool starts_in_reasoning);

}  // namespace hadal::prompt
