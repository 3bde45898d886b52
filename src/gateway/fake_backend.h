// This is a fake: a Backend that follows a script instead of running a model. For tests only.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine_api/backend.h"

namespace hadal::gateway {

/// Answers by the first word of the last message or of the prompt:
///   think   reasoning, then content        slow    a word every 10 ms until cancelled
///   tool    two tool calls                 fail    an internal error after the first word
///   length  stops for its length           wait    nothing until cancelled
///   full    refuses: the queue is full     long    refuses: beyond the context
/// and otherwise with "Echo: " and the text, a word at a time.
/// Threading: each request runs on a thread of its own.
class FakeBackend final : public engine_api::Backend {
 public:
  ~FakeBackend() override {
    std::vector<std::thread> threads;
    {
      std::lock_guard lock(mutex_);
      for (auto& [id, flag] : cancelled_) *flag = true;
      threads.swap(threads_);
    }
    for (std::thread& t : threads) t.join();
  }

  std::vector<engine_api::ModelInfo> models() const override {
    return {{.id = "fake", .created_unix_s = 1, .context_tokens_max = 4096},
            {.id = "org/other", .created_unix_s = 2, .context_tokens_max = 4096}};
  }
  bool ready() const override { return is_ready; }

  Result<engine_api::RequestId> submit(engine_api::Request request,
                                       std::shared_ptr<engine_api::EventSink> sink) override {
    TRY_VOID(check_model(request.model));
    const std::string text = text_of(request.prompt);
    if (text.starts_with("full")) return unavailable("the queue is full; try again");
    if (text.starts_with("long")) {
      return make_error(ErrorCode::context_length_exceeded,
                        "the prompt is longer than the context");
    }
    std::lock_guard lock(mutex_);
    last_request = request;
    const uint64_t id = ++last_id_;
    auto flag = std::make_shared<std::atomic<bool>>(false);
    cancelled_.emplace(id, flag);
    threads_.emplace_back([this, text, sink = std::move(sink), flag] {
      play(text, *sink, *flag);
      if (*flag) ++cancellations;
    });
    return engine_api::RequestId{id};
  }

  void cancel(engine_api::RequestId id) override {
    std::lock_guard lock(mutex_);
    const auto found = cancelled_.find(static_cast<uint64_t>(id));
    if (found != cancelled_.end()) *found->second = true;
  }

  /// A token is a byte, and its id the byte's value.
  Result<std::vector<engine_api::Token>> tokenize(
      const engine_api::TokenizeRequest& request) const override {
    TRY_VOID(check_model(request.model));
    std::vector<engine_api::Token> out;
    for (const char c : text_of(request.prompt)) {
      out.push_back({static_cast<unsigned char>(c), std::string(1, c)});
    }
    return out;
  }
  Result<std::string> detokenize(const std::string& model,
                                 std::span<const int32_t> ids) const override {
    TRY_VOID(check_model(model));
    std::string out;
    for (const int32_t id : ids) {
      if (id > 255) return invalid_argument("no such token").about("tokens");
      out += static_cast<char>(id);
    }
    return out;
  }

  std::atomic<bool> is_ready{true};
  std::atomic<int> cancellations{0};
  engine_api::Request last_request;

 private:
  static Status check_model(const std::string& model) {
    if (model.empty() || model == "fake" || model == "org/other") return {};
    return not_found("no such model: " + model).about("model");
  }

  static std::string text_of(const engine_api::Prompt& prompt) {
    if (const auto* chat = std::get_if<engine_api::Chat>(&prompt)) {
      return chat->messages.back().content;
    }
    if (const auto* text = std::get_if<engine_api::TextPrompt>(&prompt)) return text->text;
    return "tokens";
  }

  static engine_api::Delta content(std::string text) {
    engine_api::Delta d;
    d.content = std::move(text);
    return d;
  }

  static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }

  static void play(const std::string& text, engine_api::EventSink& sink,
                   std::atomic<bool>& cancelled) {
    using namespace engine_api;
    Finished end;
    end.usage = {
        .prompt_tokens = 10, .cached_tokens = 4, .completion_tokens = 0, .reasoning_tokens = 0};
    const auto say = [&](Delta d) {
      ++end.usage.completion_tokens;
      sink.on_event(std::move(d));
    };
    sink.on_event(Started{10, 4});
    if (text.starts_with("think")) {
      Delta d;
      d.reasoning = "Let me see.";
      end.usage.reasoning_tokens = 1;
      say(d);
      say(content("Done."));
    } else if (text.starts_with("tool")) {
      Delta d;
      d.tool_calls = {{"call_0", "get_weather", R"({"city":"Xiamen"})"},
                      {"call_1", "get_time", "{}"}};
      say(d);
      end.reason = FinishReason::tool_calls;
    } else if (text.starts_with("length")) {
      say(content("cut"));
      end.reason = FinishReason::length;
    } else if (text.starts_with("fail")) {
      say(content("before"));
      sink.on_event(Failed{internal_error("the model broke")});
      return;
    } else if (text.starts_with("slow")) {
      for (int i = 0; !cancelled && i < 3000; ++i) {
        say(content("word "));
        pause();
      }
    } else if (text.starts_with("wait")) {
      while (!cancelled) pause();
    } else {
      say(content("Echo:"));
      for (size_t at = 0; at < text.size();) {
        const size_t next = std::min(text.find(' ', at + 1), text.size());
        say(content((at == 0 ? " " : "") + text.substr(at, next - at)));
        at = next;
      }
    }
    if (cancelled) end.reason = FinishReason::cancelled;
    sink.on_event(std::move(end));
  }

  std::mutex mutex_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::shared_ptr<std::atomic<bool>>> cancelled_;
  std::vector<std::thread> threads_;
};

}  // namespace hadal::gateway
