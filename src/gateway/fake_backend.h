// This is a fake: a Backend that follows a script instead of running a model. For tests only.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine_api/backend.h"
#include "gateway/internal/fake_script.h"

namespace hadal::gateway {

/// Answers by the first word of the last message or of the prompt:
///   think   reasoning, then content        slow    a word every 10 ms until cancelled
///   tool    two tool calls                 fail    an internal error after the first word
///   length  stops for its length           wait    nothing until cancelled
///   late    waits too long in the queue
///   full    refuses: the queue is full     long    refuses: beyond the context
///   rank    each answer likelier than the last
///   settings  with what the request asked for, as JSON
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
    return {
        {.id = "fake", .created_unix_s = 1, .context_tokens_max = 4096, .embedding_dimensions = 3},
        {.id = "org/other", .created_unix_s = 2, .context_tokens_max = 4096}};
  }
  bool ready() const override { return is_ready; }

  Result<engine_api::RequestId> submit(engine_api::Request request,
                                       std::shared_ptr<engine_api::EventSink> sink) override {
    TRY_VOID(check_model(request.model));
    const std::vector<std::string> texts = texts_of(request);
    const std::string& text = texts.front();
    if (text.starts_with("full")) return unavailable("the queue is full").retry_after(7);
    if (text.starts_with("long")) {
      return make_error(ErrorCode::context_length_exceeded,
                        "the prompt is longer than the context");
    }
    std::lock_guard lock(mutex_);
    last_request = request;
    const uint64_t id = ++last_id_;
    auto flag = std::make_shared<std::atomic<bool>>(false);
    cancelled_.emplace(id, flag);
    const bool embed = request.pooling != engine_api::Pooling::none;
    threads_.emplace_back([this, embed, texts, sink = std::move(sink), flag] {
      if (embed) {
        internal::embed(texts, *sink);
      } else {
        internal::play(texts, *sink, *flag);
      }
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

  // The texts of all answers.
  static std::vector<std::string> texts_of(const engine_api::Request& request) {
    std::vector<std::string> prompts;
    if (const auto* list = std::get_if<engine_api::PromptList>(&request.prompt)) {
      for (const auto& p : list->prompts) {
        const auto* text = std::get_if<engine_api::TextPrompt>(&p);
        prompts.push_back(text == nullptr ? "tokens" : text->text);
      }
    } else {
      prompts.push_back(text_of(request.prompt));
    }
    std::vector<std::string> texts;
    for (const std::string& p : prompts) {
      const std::string text = p.starts_with("settings") ? internal::describe(request) : p;
      for (int i = 0; i < request.choices; ++i) texts.push_back(text);
    }
    return texts;
  }

  std::mutex mutex_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::shared_ptr<std::atomic<bool>>> cancelled_;
  std::vector<std::thread> threads_;
};

}  // namespace hadal::gateway
