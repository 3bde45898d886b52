#pragma once

#include <string_view>

#include "engine_api/backend.h"

namespace hadal::prompt {

/// Reads an answer while it is written and sorts it into reasoning, content and complete tool
/// calls. Markers never show, not even a part of one: text that may become a marker waits. What is
/// given out does not depend on how the answer was cut into pieces. Broken markup is given out as
/// content, so that nothing the model wrote is lost.
///
/// Each call appends to `delta`: reasoning comes before content, content before tool calls.
/// Calls get ids "call_0", "call_1", ... in the order of the answer.
/// Threading: one thread at a time.
class AnswerParser {
 public:
  virtual ~AnswerParser() = default;

  /// The next piece of text; whole UTF-8 characters.
  virtual void feed(std::string_view text, engine_api::Delta& delta) = 0;
  /// The next token is a special one, by its text: "</think>". Markers count whether they come
  /// here or through feed; a special token that is no part of any marker is left out of the answer.
  virtual void feed_special(std::string_view token, engine_api::Delta& delta) = 0;
  /// The answer is over: what waited is given out.
  virtual void finish(engine_api::Delta& delta) = 0;
  /// Whether the next token belongs to the reasoning: the one that ends it still does.
  virtual bool in_reasoning() const = 0;
};

}  // namespace hadal::prompt
