#pragma once

#include <memory>

#include "engine_api/backend.h"
#include "gateway/internal/call.h"
#include "gateway/internal/response_sink.h"
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

/// Answers of the OpenAI API, one or several, whole or as a stream.
class AnswerSink : public ResponseSink {
 public:
  AnswerSink(std::unique_ptr<Call> call, AnswerForm form)
      : call_(std::move(call)), form_(std::move(form)) {}

 protected:
  void name_tool_calls(engine_api::Delta& delta);

  std::unique_ptr<Call> call_;
  const AnswerForm form_;

 private:
  int tool_calls_ = 0;
};

std::shared_ptr<AnswerSink> make_answer_sink(std::unique_ptr<Call> call, AnswerForm form);

}  // namespace hadal::gateway::internal
