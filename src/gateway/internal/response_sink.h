#pragma once

#include "base/error.h"
#include "engine_api/backend.h"

namespace hadal::gateway::internal {

/// Turns the events of one request into its HTTP answer.
/// Threading: on_event on the backend's thread; the rest on the thread that submits.
class ResponseSink : public engine_api::EventSink {
 public:
  /// The request was taken: a stream begins, so that keep-alives run while it waits.
  virtual void begin() {}
  /// The request was not taken: no event will come.
  virtual void refuse(const Error& error) = 0;
};

/// What a client is told that did not cancel, but whose request was.
inline Error stopped_error() {
  return unavailable("the server stopped before the answer was complete; try again");
}

}  // namespace hadal::gateway::internal
