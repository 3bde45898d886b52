#include "protocol/openai_request.h"

#include <charconv>
#include <limits>
#include <utility>

#include "protocol/internal/chat_fields.h"
#include "protocol/internal/object_reader.h"

namespace hadal::protocol {
namespace {

using internal::ObjectReader;

constexpr int64_t kTokensMax = int64_t{1} << 40;
constexpr int64_t kPriorityMax = 1'000'000;
constexpr size_t kNameBytesMax = 512;
constexpr int64_t kTokenIdMax = std::numeric_limits<int32_t>::max();

Result<json::Value> parse_body(std::string_view body, const RequestLimits& limits) {
  auto value =
      json::parse(body, {.bytes_max = limits.body_bytes_max, .depth_max = limits.depth_max});
  if (!value) return std::move(value).error().in("the body");
  return value;
}

Result<std::vector<int32_t>> token_ids(const json::Array& array, const std::string& place) {
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const auto id = internal::as_integer(array[i]);
    if (!id || *id < 0 || *id > kTokenIdMax) {
      return internal::bad_at(internal::element(place, i), "must be a token id");
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

Result<std::vector<std::pair<int32_t, float>>> logit_bias(const ObjectReader& body, size_t max) {
  std::vector<std::pair<int32_t, float>> out;
  TRY(const json::Value* map, body.object("logit_bias"));
  if (map == nullptr) return out;
  if (map->as_object().size() > max) {
    return body.bad("logit_bias", "must have at most " + std::to_string(max) + " entries");
  }
  for (const auto& [key, value] : map->as_object()) {
    int32_t id = 0;
    const char* const end = key.data() + key.size();
    const auto read = std::from_chars(key.data(), end, id);
    if (read.ec != std::errc() || read.ptr != end || id < 0) {
      return body.bad("logit_bias", "must have token ids as keys");
    }
    if (!value.is_number() || !(value.as_double() >= -100 && value.as_double() <= 100)) {
      return body.bad("logit_bias", "must have values between -100 and 100");
    }
    out.emplace_back(id, static_cast<float>(value.as_double()));
  }
  return out;
}

Result<engine_api::SamplingParams> sampling(const ObjectReader& body, const RequestLimits& limits) {
  engine_api::SamplingParams p;
  TRY(p.temperature, body.number("temperature", p.temperature, 0, 2));
  TRY(p.top_p, body.number("top_p", p.top_p, 0, 1));
  // OpenAI allows 0, which can only mean the single most likely token.
  if (p.top_p == 0) p.top_p = 1e-9;
  TRY(const auto top_k, body.integer("top_k", -1, kTokenIdMax));
  p.top_k = static_cast<int>(std::max<int64_t>(0, top_k.value_or(0)));
  TRY(p.min_p, body.number("min_p", p.min_p, 0, 1));
  if (p.min_p == 1) return body.bad("min_p", "must be less than 1");
  TRY(p.repetition_penalty, body.number("repetition_penalty", p.repetition_penalty, 0, 10));
  if (p.repetition_penalty == 0) return body.bad("repetition_penalty", "must be greater than 0");
  TRY(p.presence_penalty, body.number("presence_penalty", p.presence_penalty, -2, 2));
  TRY(p.frequency_penalty, body.number("frequency_penalty", p.frequency_penalty, -2, 2));
  TRY(p.logit_bias, logit_bias(body, limits.logit_bias_max));
  TRY(const auto seed, body.integer("seed", std::numeric_limits<int64_t>::min(),
                                    std::numeric_limits<int64_t>::max()));
  if (seed) p.seed = static_cast<uint64_t>(*seed);
  return p;
}

Result<std::vector<std::string>> stop_strings(const ObjectReader& body,
                                              const RequestLimits& limits) {
  std::vector<std::string> out;
  const json::Value* v = body.find("stop");
  if (v == nullptr) return out;
  if (v->is_string()) {
    out.push_back(v->as_string());
  } else if (v->is_array()) {
    if (v->as_array().size() > limits.stops_max) {
      return body.bad("stop", "must have at most " + std::to_string(limits.stops_max) + " strings");
    }
    for (const json::Value& s : v->as_array()) {
      if (!s.is_string()) return body.bad("stop", "must hold strings only");
      out.push_back(s.as_string());
    }
  } else {
    return body.wrong_kind("stop", "a string or an array of strings");
  }
  for (const std::string& s : out) {
    if (s.empty()) return body.bad("stop", "must not hold an empty string");
    if (s.size() > limits.stop_bytes_max) {
      return body.bad("stop", "must hold strings of at most " +
                                  std::to_string(limits.stop_bytes_max) + " bytes");
    }
  }
  return out;
}

Result<engine_api::StopParams> stopping(const ObjectReader& body, const RequestLimits& limits) {
  engine_api::StopParams p;
  TRY(p.max_tokens, body.integer("max_completion_tokens", 1, kTokensMax));
  TRY(const auto older_name, body.integer("max_tokens", 1, kTokensMax));
  if (!p.max_tokens) p.max_tokens = older_name;
  TRY(const auto min_tokens, body.integer("min_tokens", 0, kTokensMax));
  p.min_tokens = min_tokens.value_or(0);
  if (p.max_tokens && p.min_tokens > *p.max_tokens) {
    return body.bad("min_tokens", "must not be greater than max_tokens");
  }
  TRY(p.stop, stop_strings(body, limits));
  TRY(const json::Value* ids, body.array("stop_token_ids", limits.stops_max));
  if (ids != nullptr) {
    TRY(p.stop_token_ids, token_ids(ids->as_array(), "stop_token_ids"));
  }
  TRY(p.ignore_eos, body.boolean("ignore_eos", false));
  return p;
}

// A name of at most kNameBytesMax bytes.
Result<std::string> name(const ObjectReader& body, const char* key) {
  TRY(auto text, body.string(key));
  if (text.size() > kNameBytesMax) {
    return body.bad(key, "must have at most " + std::to_string(kNameBytesMax) + " bytes");
  }
  return text;
}

// Whose request it is, and when it should be served.
Status scheduling(const ObjectReader& body, engine_api::Request& request) {
  TRY(request.user, name(body, "safety_identifier"));
  TRY(auto older_name, name(body, "user"));
  if (request.user.empty()) request.user = std::move(older_name);
  TRY(request.cache_salt, name(body, "cache_salt"));
  TRY(const auto priority, body.integer("priority", -kPriorityMax, kPriorityMax));
  request.priority = static_cast<int>(priority.value_or(0));
  return {};
}

/// What both kinds of requests have in common.
Result<ParsedRequest> common(const ObjectReader& body, const RequestLimits& limits) {
  ParsedRequest out;
  TRY(out.request.model, body.string("model"));
  TRY(out.stream, body.boolean("stream", false));
  TRY(const json::Value* stream_options, body.object("stream_options"));
  if (stream_options != nullptr) {
    const ObjectReader options(*stream_options, "stream_options");
    TRY(out.include_usage, options.boolean("include_usage", false));
  }
  for (const char* name : {"n", "best_of"}) {
    TRY(const auto n, body.integer(name, 1, 128));
    if (n.value_or(1) != 1) {
      return body.bad(name, "must be 1: one request gives one answer; send several requests");
    }
  }
  TRY_VOID(scheduling(body, out.request));
  TRY(out.request.sampling, sampling(body, limits));
  TRY(out.request.stop, stopping(body, limits));
  TRY(const auto timeout_ms, body.integer("timeout_ms", 1, int64_t{1} << 40));
  out.request.timeout_ms = timeout_ms.value_or(0);
  return out;
}

using Prompt = decltype(engine_api::Request::prompt);

Result<Prompt> completion_prompt(const ObjectReader& body, const RequestLimits& limits) {
  engine_api::TextPrompt text;
  TRY(text.suffix, body.string("suffix"));
  TRY(text.echo, body.boolean("echo", false));
  if (text.echo && !text.suffix.empty()) {
    return body.bad("echo", "does not go together with suffix");
  }
  const json::Value* prompt = body.find("prompt");
  if (prompt != nullptr && prompt->is_string()) {
    text.text = prompt->as_string();
    return Prompt(std::move(text));
  }
  if (prompt == nullptr || !prompt->is_array()) {
    return body.wrong_kind("prompt", "a string or an array of token ids");
  }
  const json::Array& array = prompt->as_array();
  if (array.size() == 1 && array[0].is_string()) {
    text.text = array[0].as_string();
    return Prompt(std::move(text));
  }
  const bool nested = array.size() == 1 && array[0].is_array();
  const json::Array& ids = nested ? array[0].as_array() : array;
  if (ids.empty()) return body.bad("prompt", "must not be empty");
  if (ids[0].is_string() || ids[0].is_array()) {
    return body.bad("prompt", "must be one prompt: send several requests for several prompts");
  }
  if (ids.size() > limits.token_ids_max) return body.bad("prompt", "has too many token ids");
  if (!text.suffix.empty()) return body.bad("suffix", "needs a prompt that is text");
  if (text.echo) return body.bad("echo", "needs a prompt that is text");
  engine_api::TokenPrompt tokens;
  TRY(tokens.ids, token_ids(ids, nested ? "prompt[0]" : "prompt"));
  return Prompt(std::move(tokens));
}

}  // namespace

Result<ParsedRequest> parse_chat_request(std::string_view text, const RequestLimits& limits) {
  TRY(const json::Value value, parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  TRY(ParsedRequest out, common(body, limits));
  TRY(const bool logprobs, body.boolean("logprobs", false));
  TRY(const auto top, body.integer("top_logprobs", 0, 20));
  if (top && !logprobs) return body.bad("top_logprobs", "needs logprobs: true");
  if (logprobs) out.request.sampling.logprobs = static_cast<int>(top.value_or(0));
  engine_api::Chat chat;
  TRY(chat.messages, internal::read_messages(body, limits));
  TRY(chat.tools, internal::read_tools(body, limits));
  TRY_VOID(internal::read_thinking(body, chat));
  TRY(chat.response_format, internal::read_response_format(body));
  out.request.prompt = std::move(chat);
  return out;
}

Result<ParsedRequest> parse_completion_request(std::string_view text, const RequestLimits& limits) {
  TRY(const json::Value value, parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  TRY(ParsedRequest out, common(body, limits));
  TRY(const auto logprobs, body.integer("logprobs", 0, 20));
  if (logprobs) out.request.sampling.logprobs = static_cast<int>(*logprobs);
  TRY(out.request.prompt, completion_prompt(body, limits));
  return out;
}

}  // namespace hadal::protocol
