#include "protocol/openai_response.h"

#include <cmath>
#include <iterator>
#include <utility>

#include "base/utf8.h"
#include "json/json.h"

namespace hadal::protocol {
namespace {

using engine_api::Delta;
using engine_api::FinishReason;
using engine_api::PositionLogprobs;
using engine_api::TokenLogprob;
using engine_api::ToolCall;
using engine_api::Usage;
using json::Array;
using json::Object;
using json::Value;

Value usage_object(const Usage& u) {
  return Object{
      {"prompt_tokens", u.prompt_tokens},
      {"completion_tokens", u.completion_tokens},
      {"total_tokens", u.prompt_tokens + u.completion_tokens},
      {"prompt_tokens_details", Object{{"cached_tokens", u.cached_tokens}}},
      {"completion_tokens_details", Object{{"reasoning_tokens", u.reasoning_tokens}}},
      {"prompt_cache_hit_tokens", u.cached_tokens},
      {"prompt_cache_miss_tokens", u.prompt_tokens - u.cached_tokens},
  };
}

Object token_object(const TokenLogprob& t) {
  Array bytes;
  bytes.reserve(t.bytes.size());
  for (const char c : t.bytes) bytes.emplace_back(static_cast<int>(static_cast<unsigned char>(c)));
  return {{"token", to_valid_utf8(t.bytes)},
          {"logprob", static_cast<double>(t.logprob)},
          {"bytes", std::move(bytes)}};
}

Value chat_logprobs(const std::vector<PositionLogprobs>& positions) {
  Array content;
  content.reserve(positions.size());
  for (const PositionLogprobs& p : positions) {
    Array top;
    for (const TokenLogprob& t : p.top) top.emplace_back(token_object(t));
    Object entry = token_object(p.chosen);
    entry.emplace_back("top_logprobs", std::move(top));
    content.emplace_back(std::move(entry));
  }
  return Object{{"content", std::move(content)}, {"refusal", nullptr}};
}

/// Characters of the text that a position stands for.
int64_t text_length(const PositionLogprobs& p) {
  return p.in_text ? static_cast<int64_t>(utf8_length(p.chosen.bytes)) : 0;
}

/// The older form: parallel arrays. `offset` is where the first token's text begins. The chosen
/// token is always among the most likely ones, even when it makes them one more.
Value text_logprobs(const std::vector<PositionLogprobs>& positions, int64_t offset) {
  Array tokens, logprobs, top, offsets;
  for (const PositionLogprobs& p : positions) {
    tokens.emplace_back(to_valid_utf8(p.chosen.bytes));
    offsets.emplace_back(offset);
    offset += text_length(p);
    if (std::isnan(p.chosen.logprob)) {
      logprobs.emplace_back(nullptr);
      top.emplace_back(nullptr);
      continue;
    }
    logprobs.emplace_back(static_cast<double>(p.chosen.logprob));
    Value best = Object{};
    for (const TokenLogprob& t : p.top) {
      best.set(to_valid_utf8(t.bytes), static_cast<double>(t.logprob));
    }
    if (!p.top.empty()) {
      best.set(to_valid_utf8(p.chosen.bytes), static_cast<double>(p.chosen.logprob));
    }
    top.push_back(std::move(best));
  }
  return Object{{"tokens", std::move(tokens)},
                {"token_logprobs", std::move(logprobs)},
                {"top_logprobs", std::move(top)},
                {"text_offset", std::move(offsets)}};
}

Object tool_call_object(const ToolCall& call) {
  return {{"id", call.id},
          {"type", "function"},
          {"function", Object{{"name", call.name}, {"arguments", call.arguments}}}};
}

Object envelope(const AnswerHead& head, std::string_view object) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created_unix_s},
          {"model", head.model},
          {"system_fingerprint", "hadal"}};
}

std::string body_of(const AnswerHead& head, std::string_view object, Array choices,
                    const Usage& usage) {
  Object body = envelope(head, object);
  body.emplace_back("choices", std::move(choices));
  body.emplace_back("usage", usage_object(usage));
  return json::dump(std::move(body));
}

Value text_or_null(const std::string& text) { return text.empty() ? Value() : Value(text); }

}  // namespace

int64_t TextOffset::take(const Delta& delta) {
  const int64_t here = at_;
  // What comes before the first token is an echoed prompt, whose tokens are not told.
  has_tokens_ |= !delta.logprobs.empty();
  if (!has_tokens_) at_ += static_cast<int64_t>(utf8_length(delta.content));
  for (const PositionLogprobs& p : delta.logprobs) at_ += text_length(p);
  return here;
}

void Answer::add(Delta&& delta) {
  const int64_t offset = offset_.take(delta);
  if (logprobs.empty()) first_offset = offset;
  content += delta.content;
  reasoning += delta.reasoning;
  std::move(delta.tool_calls.begin(), delta.tool_calls.end(), std::back_inserter(tool_calls));
  std::move(delta.logprobs.begin(), delta.logprobs.end(), std::back_inserter(logprobs));
}

double Answer::mean_logprob() const {
  double sum = 0;
  for (const PositionLogprobs& p : logprobs) sum += p.chosen.logprob;
  return logprobs.empty() ? 0 : sum / static_cast<double>(logprobs.size());
}

std::string_view finish_reason_text(FinishReason reason) {
  switch (reason) {
    case FinishReason::length: return "length";
    case FinishReason::tool_calls: return "tool_calls";
    case FinishReason::stop:
    case FinishReason::cancelled: break;
  }
  return "stop";
}

std::string chat_completion(const AnswerHead& head, std::span<const Answer> answers,
                            const Usage& usage, bool logprobs) {
  Array choices;
  for (const Answer& answer : answers) {
    Object message = {{"role", "assistant"}};
    const bool only_calls = answer.content.empty() && !answer.tool_calls.empty();
    message.emplace_back("content", only_calls ? Value() : Value(answer.content));
    if (!answer.reasoning.empty()) message.emplace_back("reasoning_content", answer.reasoning);
    if (!answer.tool_calls.empty()) {
      Array calls;
      for (const ToolCall& call : answer.tool_calls) calls.emplace_back(tool_call_object(call));
      message.emplace_back("tool_calls", std::move(calls));
    }
    message.emplace_back("refusal", nullptr);
    choices.emplace_back(Object{{"index", static_cast<int64_t>(choices.size())},
                                {"message", std::move(message)},
                                {"logprobs", logprobs ? chat_logprobs(answer.logprobs) : Value()},
                                {"finish_reason", finish_reason_text(answer.reason)}});
  }
  return body_of(head, "chat.completion", std::move(choices), usage);
}

std::string text_completion(const AnswerHead& head, std::span<const Answer> answers,
                            const Usage& usage, bool logprobs) {
  Array choices;
  for (const Answer& answer : answers) {
    Value told = logprobs ? text_logprobs(answer.logprobs, answer.first_offset) : Value();
    choices.emplace_back(Object{{"index", static_cast<int64_t>(choices.size())},
                                {"text", answer.content},
                                {"logprobs", std::move(told)},
                                {"finish_reason", finish_reason_text(answer.reason)}});
  }
  return body_of(head, "text_completion", std::move(choices), usage);
}

ChunkWriter::ChunkWriter(AnswerHead head, bool chat, bool include_usage, int answers)
    : head_(std::move(head)),
      chat_(chat),
      include_usage_(include_usage),
      states_(static_cast<size_t>(answers)) {}

std::string ChunkWriter::chunk(Value choice) const {
  Object body = envelope(head_, chat_ ? "chat.completion.chunk" : "text_completion");
  body.emplace_back("choices", Array{std::move(choice)});
  if (include_usage_) body.emplace_back("usage", nullptr);
  return json::dump(std::move(body));
}

std::string ChunkWriter::begin(int index) const {
  if (!chat_) return {};
  return chunk(Object{{"index", index},
                      {"delta", Object{{"role", "assistant"}, {"content", ""}}},
                      {"logprobs", nullptr},
                      {"finish_reason", nullptr}});
}

std::vector<std::string> ChunkWriter::delta(const Delta& d) {
  std::vector<std::string> out;
  State& state = states_.at(static_cast<size_t>(d.index));
  if (!chat_) {
    if (d.content.empty() && d.logprobs.empty()) return out;
    const int64_t offset = state.offset.take(d);
    out.push_back(
        chunk(Object{{"index", d.index},
                     {"text", d.content},
                     {"logprobs", d.logprobs.empty() ? Value() : text_logprobs(d.logprobs, offset)},
                     {"finish_reason", nullptr}}));
    return out;
  }
  Value logprobs = d.logprobs.empty() ? Value() : chat_logprobs(d.logprobs);
  const auto add = [&](Object fields) {
    out.push_back(chunk(Object{{"index", d.index},
                               {"delta", std::move(fields)},
                               {"logprobs", std::exchange(logprobs, Value())},
                               {"finish_reason", nullptr}}));
  };
  if (!d.reasoning.empty()) {
    add({{"content", nullptr}, {"reasoning_content", d.reasoning}});
  }
  if (!d.content.empty()) add({{"content", d.content}});
  for (const ToolCall& call : d.tool_calls) {
    Object entry = {{"index", state.tool_calls++}};
    for (auto& field : tool_call_object(call)) entry.push_back(std::move(field));
    add({{"tool_calls", Array{std::move(entry)}}});
  }
  if (!logprobs.is_null()) add({{"content", ""}});
  return out;
}

std::string ChunkWriter::end(int index, FinishReason reason) const {
  Object choice = {{"index", index}};
  if (chat_) {
    choice.emplace_back("delta", Object{});
  } else {
    choice.emplace_back("text", "");
  }
  choice.emplace_back("logprobs", nullptr);
  choice.emplace_back("finish_reason", finish_reason_text(reason));
  return chunk(std::move(choice));
}

std::string ChunkWriter::usage(const Usage& usage) const {
  return body_of(head_, chat_ ? "chat.completion.chunk" : "text_completion", {}, usage);
}

std::string error_body(const Error& error, std::string_view code) {
  return json::dump(Object{{"error", Object{{"message", error.message},
                                            {"type", error_class(error.code).openai_type},
                                            {"param", text_or_null(error.param)},
                                            {"code", code},
                                            {"hint", text_or_null(error.hint)}}}});
}

std::string error_body(const Error& error) {
  return error_body(error, error_class(error.code).name);
}

std::string model_object(const engine_api::ModelInfo& model) {
  return json::dump(Object{{"id", model.id},
                           {"object", "model"},
                           {"created", model.created_unix_s},
                           {"owned_by", "hadal"},
                           {"context_length", model.context_tokens_max},
                           {"supports_chat", model.supports_chat}});
}

std::string model_list(std::span<const engine_api::ModelInfo> models) {
  std::string data;
  for (const auto& m : models) data.append(data.empty() ? "" : ",").append(model_object(m));
  return R"({"object":"list","data":[)" + data + "]}";
}

}  // namespace hadal::protocol
