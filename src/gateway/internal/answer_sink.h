#pragma once

#include <memory>

#include "engine_api/backend.h"
#include "gateway/internal/call.h"
#include "protocol/openai_response.h"

namespace hadal::gateway::internal {

/// How an answer is to be written.
struct AnswerForm {
  protocol::AnswerHead head;
  bool chat = true;
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;
  int prompts = 1;
  int n = 1;        ///< answers to each prompt that are given
  int choices = 1;  ///< answers to each prompt that are written
  int64_t keep_alive_ms = 0;
};

/// Turns the events of one request into its HTTP answer, which may hold several answers.
/// Threading: on_event on the backend's thread; the rest on the thread that submits.
class AnswerSink : public engine_api::EventSink {
 public:
  AnswerSink(std::unique_ptr<Call> call, AnswerForm form)
      : call_(std::move(call)), form_(std::move(form)) {}

  /// The request was taken: a stream begins, so that keep-alives run while it waits.
  virtual void begin() = 0;
  /// The request was not taken: no event will come.
  virtual void refuse(const Error& error) = 0;

 protected:
  void name_tool_calls(engine_api::Delta& delta);

  std::unique_ptr<Call> call_;
  const AnswerForm form_;

 private:
  int tool_calls_ = 0;
};

std::shared_ptr<AnswerSink> make_answer_sink(std::unique_ptr<Call> call, AnswerForm form);

}  // namespace hadal::gateway::internal
