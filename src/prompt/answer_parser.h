#pragma once

#include <string_view>

#include "engine_api/backend.h"

namespace hadal::prompt {

/// Reads an answer while it is written and sorts it into reasoning, content and complete tool
/// calls. Markers never show, not even a part of one: text that may become a marker waits. What is
/// given out does not depend on how the text was cut into pieces. Markers count whether they come
/// as special tokens or as text.
///
/// A call has a name, arguments as JSON where the model wrote any, and an id that is unique within
/// the answer: "call_0", "call_1". A call that is cut off or has no name is left out.
/// Each member appends to `delta`: its reasoning comes before its content, its content before its
/// tool calls. Threading: one thread at a time.
class AnswerParser {
 public:
  virtual ~AnswerParser() = default;

  /// The next piece of text; whole UTF-8 characters.
  virtual void feed(std::string_view text, engine_api::Delta& delta) = 0;
  /// The next token is a special one, by its text: "</think>". One that is no part of a marker is
  /// left out of the answer. All text before it must have been fed.
  virtual void feed_special(std::string_view token, engine_api::Delta& delta) = 0;
  /// The answer is over: what waited is given out.
  virtual void finish(engine_api::Delta& delta) = 0;
  /// Whether the next token belongs to the reasoning: the one that ends it still does.
  virtual bool in_reasoning() const = 0;
};

}  // namespace hadal::prompt
