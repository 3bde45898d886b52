// This is a fake: the answers of FakeBackend. For tests only.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine_api/backend.h"

namespace hadal::gateway::internal {

inline engine_api::Delta content(std::string text) {
  engine_api::Delta d;
  d.content = std::move(text);
  return d;
}

// What of a request a client cannot see otherwise, as one JSON text; texts are plain words.
inline std::string describe(const engine_api::Request& request) {
  std::string out = "{\"seed\":" + std::to_string(request.sampling.seed.value_or(0)) +
                    ",\"priority\":" + std::to_string(request.priority) +
                    ",\"logprobs\":" + std::to_string(request.sampling.logprobs);
  const auto add = [&](const char* key, const std::string& text) {
    out.append(",\"").append(key).append("\":\"").append(text).append("\"");
  };
  add("user", request.user);
  if (const auto* text = std::get_if<engine_api::TextPrompt>(&request.prompt)) {
    add("suffix", text->suffix);
  } else if (const auto* chat = std::get_if<engine_api::Chat>(&request.prompt)) {
    constexpr const char* kThinking[] = {"automatic", "on", "off"};
    const engine_api::Message& last = chat->messages.back();
    add("thinking", kThinking[static_cast<int>(chat->thinking)]);
    add("reasoning_effort", chat->reasoning_effort);
    add("reasoning_content", last.reasoning_content);
    out.append(",\"prefix\":").append(last.prefix ? "true" : "false");
  }
  return out + "}";
}

inline void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }

// False when the request is over.
inline bool play(const std::string& text, engine_api::EventSink& sink, std::atomic<bool>& cancelled,
                 engine_api::Finished& end) {
  using namespace engine_api;
  const auto say = [&](Delta d) {
    ++end.usage.completion_tokens;
    d.index = end.index;
    sink.on_event(std::move(d));
  };
  if (text.starts_with("think")) {
    Delta d;
    d.reasoning = "Let me see.";
    ++end.usage.reasoning_tokens;
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
    return false;
  } else if (text.starts_with("rank")) {
    // Each answer is more likely than the one before.
    Delta d = content(std::to_string(end.index));
    d.logprobs.push_back({.chosen = {1, "x", -8.0f + static_cast<float>(end.index)}});
    say(d);
  } else if (text.starts_with("slow")) {
    for (int i = 0; !cancelled && i < 3000; ++i) {
      say(content("word "));
      pause();
    }
  } else if (text.starts_with("wait")) {
    while (!cancelled) pause();
  } else {
    if (text.starts_with('{')) {
      say(content(text));
      return true;
    }
    say(content("Echo:"));
    for (size_t at = 0; at < text.size();) {
      const size_t next = std::min(text.find(' ', at + 1), text.size());
      say(content((at == 0 ? " " : "") + text.substr(at, next - at)));
      at = next;
    }
  }
  if (!cancelled) return true;
  end.reason = FinishReason::cancelled;
  sink.on_event(Event(end));
  return false;
}

// One answer after the other.
inline void play(const std::vector<std::string>& texts, engine_api::EventSink& sink,
                 std::atomic<bool>& cancelled) {
  if (texts.front().starts_with("late")) {
    return sink.on_event(engine_api::Failed{unavailable("it waited too long").retry_after(9)});
  }
  sink.on_event(engine_api::Started{10, 4});
  engine_api::Finished end;
  end.usage = {
      .prompt_tokens = 10, .cached_tokens = 4, .completion_tokens = 0, .reasoning_tokens = 0};
  for (const std::string& text : texts) {
    end.reason = engine_api::FinishReason::stop;
    if (!play(text, sink, cancelled, end)) return;
    sink.on_event(engine_api::Event(end));
    ++end.index;
  }
}

// The first letter tells the direction.
inline void embed(const std::vector<std::string>& texts, engine_api::EventSink& sink) {
  engine_api::Finished end;
  for (const std::string& text : texts) {
    end.usage.prompt_tokens += static_cast<int64_t>(text.size());
    const bool first = text.starts_with('a');
    sink.on_event(engine_api::Embedding{
        end.index, first ? std::vector<float>{0.6f, 0.8f, 0} : std::vector<float>{0, 0, 1}});
    sink.on_event(engine_api::Event(end));
    ++end.index;
  }
}

}  // namespace hadal::gateway::internal
