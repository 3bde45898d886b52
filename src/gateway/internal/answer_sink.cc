#include "gateway/internal/answer_sink.h"

#include <mutex>
#include <variant>

#include "protocol/sse.h"

namespace hadal::gateway::internal {
namespace {

using engine_api::Delta;
using engine_api::Event;
using engine_api::Failed;
using engine_api::Finished;
using engine_api::FinishReason;
using engine_api::Started;

std::string_view reason_word(FinishReason reason) {
  return reason == FinishReason::cancelled ? "cancelled" : protocol::finish_reason_text(reason);
}

/// What a client is told that did not cancel, but whose request was.
Error stopped_error() {
  return unavailable("the server stopped before the answer was complete; try again");
}

/// Answers once, when the answer is complete.
class WholeSink final : public AnswerSink {
 public:
  using AnswerSink::AnswerSink;

  void begin() override {}
  void refuse(const Error& error) override { call_->respond(error); }

  void on_event(Event&& event) override {
    if (auto* delta = std::get_if<Delta>(&event)) {
      call_->on_delta();
      name_tool_calls(*delta);
      answer_.add(std::move(*delta));
    } else if (const auto* finished = std::get_if<Finished>(&event)) {
      finish(*finished);
    } else if (const auto* failed = std::get_if<Failed>(&event)) {
      call_->respond(failed->error);
      call_.reset();
    }
  }

 private:
  void finish(const Finished& finished) {
    call_->set_usage(finished.usage, reason_word(finished.reason));
    if (finished.reason == FinishReason::cancelled) {
      call_->respond(stopped_error());
    } else {
      answer_.reason = finished.reason;
      answer_.usage = finished.usage;
      call_->respond(200, "application/json",
                     form_.chat ? protocol::chat_completion(form_.head, answer_, form_.logprobs)
                                : protocol::text_completion(form_.head, answer_, form_.logprobs));
    }
    call_.reset();
  }

  protocol::Answer answer_;
};

/// Writes server-sent events while the answer grows.
class StreamSink final : public AnswerSink {
 public:
  StreamSink(std::unique_ptr<Call> call, AnswerForm form)
      : AnswerSink(std::move(call), std::move(form)),
        writer_(form_.head, form_.chat, form_.include_usage) {}

  // The first event may overtake the thread that submitted.
  void begin() override {
    std::lock_guard lock(mutex_);
    open();
  }

  void refuse(const Error& error) override { call_->respond(error); }

  void on_event(Event&& event) override {
    std::lock_guard lock(mutex_);
    const auto* failed = std::get_if<Failed>(&event);
    if (failed != nullptr && !opened_) {
      opened_ = true;
      call_->respond(failed->error);
      call_.reset();
      return;
    }
    open();
    if (auto* delta = std::get_if<Delta>(&event)) {
      call_->on_delta();
      name_tool_calls(*delta);
      std::string text;
      for (const std::string& chunk : writer_.delta(*delta)) text += protocol::sse_event(chunk);
      if (!text.empty()) call_->exchange().write(text);
    } else if (const auto* finished = std::get_if<Finished>(&event)) {
      call_->set_usage(finished->usage, reason_word(finished->reason));
      if (finished->reason == FinishReason::cancelled) {
        end(protocol::sse_event(protocol::error_body(stopped_error())));
      } else {
        std::string text = protocol::sse_event(writer_.end(finished->reason));
        if (form_.include_usage) text += protocol::sse_event(writer_.usage(finished->usage));
        end(text.append(protocol::kSseDone));
      }
    } else if (failed != nullptr) {
      call_->set_status(error_class(failed->error.code).http_status);
      end(protocol::sse_event(protocol::error_body(failed->error)));
    }
  }

 private:
  void open() {
    if (opened_) return;
    opened_ = true;
    call_->start_stream(
        {.every_ms = form_.keep_alive_ms, .bytes = std::string(protocol::kSseKeepAlive)});
    const std::string first = writer_.begin();
    if (!first.empty()) call_->exchange().write(protocol::sse_event(first));
  }
  void end(const std::string& last) {
    call_->exchange().write(last);
    call_->exchange().finish();
    call_.reset();
  }

  std::mutex mutex_;
  protocol::ChunkWriter writer_;
  bool opened_ = false;
};

}  // namespace

void AnswerSink::name_tool_calls(Delta& delta) {
  // A backend numbers the calls of one answer; a conversation needs them distinct across answers.
  for (engine_api::ToolCall& call : delta.tool_calls) {
    call.id = "call_" + form_.head.id.substr(form_.head.id.find('-') + 1) + "_" +
              std::to_string(tool_calls_++);
  }
}

std::shared_ptr<AnswerSink> make_answer_sink(std::unique_ptr<Call> call, AnswerForm form) {
  if (form.stream) return std::make_shared<StreamSink>(std::move(call), std::move(form));
  return std::make_shared<WholeSink>(std::move(call), std::move(form));
}

}  // namespace hadal::gateway::internal
