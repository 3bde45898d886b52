#include "protocol/openai_response.h"

#include <iterator>

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

/// The older form: parallel arrays. `offset` is where the first token's text begins, in characters;
/// tokens whose bytes are no whole characters make it approximate.
Value text_logprobs(const std::vector<PositionLogprobs>& positions, int64_t offset) {
  Array tokens, logprobs, top, offsets;
  for (const PositionLogprobs& p : positions) {
    Value best = Object{};
    for (const TokenLogprob& t : p.top) {
      best.set(to_valid_utf8(t.bytes), static_cast<double>(t.logprob));
    }
    tokens.emplace_back(to_valid_utf8(p.chosen.bytes));
    logprobs.emplace_back(static_cast<double>(p.chosen.logprob));
    top.push_back(std::move(best));
    offsets.emplace_back(offset);
    offset += static_cast<int64_t>(utf8_length(p.chosen.bytes));
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

Value text_or_null(const std::string& text) { return text.empty() ? Value() : Value(text); }

}  // namespace

void Answer::add(Delta&& delta) {
  if (logprobs.empty() && delta.logprobs.empty()) {
    echo_chars += static_cast<int64_t>(utf8_length(delta.content));
  }
  content += delta.content;
  reasoning += delta.reasoning;
  std::move(delta.tool_calls.begin(), delta.tool_calls.end(), std::back_inserter(tool_calls));
  std::move(delta.logprobs.begin(), delta.logprobs.end(), std::back_inserter(logprobs));
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

std::string chat_completion(const AnswerHead& head, const Answer& answer, bool logprobs) {
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
  Object choice = {{"index", 0},
                   {"message", std::move(message)},
                   {"logprobs", logprobs ? chat_logprobs(answer.logprobs) : Value()},
                   {"finish_reason", finish_reason_text(answer.reason)}};
  Object body = envelope(head, "chat.completion");
  body.emplace_back("choices", Array{std::move(choice)});
  body.emplace_back("usage", usage_object(answer.usage));
  return json::dump(std::move(body));
}

std::string text_completion(const AnswerHead& head, const Answer& answer, bool logprobs) {
  Object choice = {
      {"index", 0},
      {"text", answer.content},
      {"logprobs", logprobs ? text_logprobs(answer.logprobs, answer.echo_chars) : Value()},
      {"finish_reason", finish_reason_text(answer.reason)}};
  Object body = envelope(head, "text_completion");
  body.emplace_back("choices", Array{std::move(choice)});
  body.emplace_back("usage", usage_object(answer.usage));
  return json::dump(std::move(body));
}

ChunkWriter::ChunkWriter(AnswerHead head, bool chat, bool include_usage)
    : head_(std::move(head)), chat_(chat), include_usage_(include_usage) {}

std::string ChunkWriter::chunk(Value choice) const {
  Object body = envelope(head_, chat_ ? "chat.completion.chunk" : "text_completion");
  body.emplace_back("choices", Array{std::move(choice)});
  if (include_usage_) body.emplace_back("usage", nullptr);
  return json::dump(std::move(body));
}

std::string ChunkWriter::begin() const {
  if (!chat_) return {};
  return chunk(Object{{"index", 0},
                      {"delta", Object{{"role", "assistant"}, {"content", ""}}},
                      {"logprobs", nullptr},
                      {"finish_reason", nullptr}});
}

std::vector<std::string> ChunkWriter::delta(const Delta& d) {
  std::vector<std::string> out;
  if (!chat_) {
    if (d.content.empty() && d.logprobs.empty()) return out;
    Value logprobs = d.logprobs.empty() ? Value() : text_logprobs(d.logprobs, text_chars_);
    text_chars_ += static_cast<int64_t>(utf8_length(d.content));
    out.push_back(chunk(Object{{"index", 0},
                               {"text", d.content},
                               {"logprobs", std::move(logprobs)},
                               {"finish_reason", nullptr}}));
    return out;
  }
  Value logprobs = d.logprobs.empty() ? Value() : chat_logprobs(d.logprobs);
  const auto add = [&](Object fields) {
    out.push_back(chunk(Object{{"index", 0},
                               {"delta", std::move(fields)},
                               {"logprobs", std::exchange(logprobs, Value())},
                               {"finish_reason", nullptr}}));
  };
  if (!d.reasoning.empty()) {
    add({{"content", nullptr}, {"reasoning_content", d.reasoning}});
  }
  if (!d.content.empty()) add({{"content", d.content}});
  for (const ToolCall& call : d.tool_calls) {
    Object entry = {{"index", tool_calls_++}};
    for (auto& field : tool_call_object(call)) entry.push_back(std::move(field));
    add({{"tool_calls", Array{std::move(entry)}}});
  }
  if (!logprobs.is_null()) add({{"content", ""}});
  return out;
}

std::string ChunkWriter::end(FinishReason reason) const {
  Object choice = {{"index", 0}};
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
  Object body = envelope(head_, chat_ ? "chat.completion.chunk" : "text_completion");
  body.emplace_back("choices", Array{});
  body.emplace_back("usage", usage_object(usage));
  return json::dump(std::move(body));
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
