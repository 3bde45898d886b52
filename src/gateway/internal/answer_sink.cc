#include "gateway/internal/answer_sink.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <variant>
#include <vector>

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

/// Answers once, when all answers are complete.
class WholeSink final : public AnswerSink {
 public:
  WholeSink(std::unique_ptr<Call> call, AnswerForm form)
      : AnswerSink(std::move(call), std::move(form)),
        answers_(static_cast<size_t>(form_.prompts * form_.choices)),
        left_(answers_.size()) {}

  void refuse(const Error& error) override { call_->respond(error); }

  void on_event(Event&& event) override {
    if (auto* delta = std::get_if<Delta>(&event)) {
      call_->on_delta(delta->index);
      name_tool_calls(*delta);
      answers_.at(static_cast<size_t>(delta->index)).add(std::move(*delta));
    } else if (const auto* finished = std::get_if<Finished>(&event)) {
      finish(*finished);
    } else if (const auto* failed = std::get_if<Failed>(&event)) {
      call_->respond(failed->error);
      call_.reset();
    }
  }

 private:
  void finish(const Finished& finished) {
    call_->count_answer(reason_word(finished.reason));
    const bool cancelled = finished.reason == FinishReason::cancelled;
    if (!cancelled) {
      answers_.at(static_cast<size_t>(finished.index)).reason = finished.reason;
      if (--left_ > 0) return;
    }
    call_->set_usage(finished.usage);
    if (cancelled) {
      call_->respond(stopped_error());
    } else {
      keep_best();
      const auto write = form_.chat ? protocol::chat_completion : protocol::text_completion;
      call_->respond(200, "application/json",
                     write(form_.head, answers_, finished.usage, form_.logprobs));
    }
    call_.reset();
  }

  // Of the answers to each prompt the `n` most likely, the best first.
  void keep_best() {
    if (form_.n == form_.choices) return;
    std::vector<protocol::Answer> best;
    for (auto from = answers_.begin(); from != answers_.end(); from += form_.choices) {
      std::stable_sort(from, from + form_.choices, [](const auto& a, const auto& b) {
        return a.mean_logprob() > b.mean_logprob();
      });
      std::move(from, from + form_.n, std::back_inserter(best));
    }
    answers_ = std::move(best);
  }

  std::vector<protocol::Answer> answers_;
  size_t left_;  ///< answers that are not complete
};

/// Writes server-sent events while the answer grows.
class StreamSink final : public AnswerSink {
 public:
  StreamSink(std::unique_ptr<Call> call, AnswerForm form)
      : AnswerSink(std::move(call), std::move(form)),
        writer_(form_.head, form_.chat, form_.include_usage, answers()),
        left_(answers()) {}

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
      call_->on_delta(delta->index);
      name_tool_calls(*delta);
      std::string text;
      for (const std::string& chunk : writer_.delta(*delta)) text += protocol::sse_event(chunk);
      if (!text.empty()) call_->exchange().write(text);
    } else if (const auto* finished = std::get_if<Finished>(&event)) {
      finish(*finished);
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
    std::string text;
    for (int i = 0; i < answers() && form_.chat; ++i) {
      text += protocol::sse_event(writer_.begin(i));
    }
    if (!text.empty()) call_->exchange().write(text);
  }
  void finish(const Finished& finished) {
    call_->count_answer(reason_word(finished.reason));
    if (finished.reason == FinishReason::cancelled) {
      call_->set_usage(finished.usage);
      return end(protocol::sse_event(protocol::error_body(stopped_error())));
    }
    std::string text = protocol::sse_event(writer_.end(finished.index, finished.reason));
    if (--left_ > 0) {
      call_->exchange().write(text);
      return;
    }
    call_->set_usage(finished.usage);
    if (form_.include_usage) text += protocol::sse_event(writer_.usage(finished.usage));
    end(text.append(protocol::kSseDone));
  }
  void end(const std::string& last) {
    call_->exchange().write(last);
    call_->exchange().finish();
    call_.reset();
  }

  int answers() const { return form_.prompts * form_.choices; }

  std::mutex mutex_;
  protocol::ChunkWriter writer_;
  int left_;  ///< answers that are not complete
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
