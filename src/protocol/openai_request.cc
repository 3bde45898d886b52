#include "protocol/openai_request.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "protocol/internal/body.h"
#include "protocol/internal/chat_fields.h"
#include "protocol/internal/object_reader.h"

namespace hadal::protocol {
namespace {

using internal::ObjectReader;

constexpr int64_t kTokensMax = int64_t{1} << 40;

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
  TRY(const auto top_k, body.integer("top_k", -1, internal::kTokenIdMax));
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
  // An echo may come alone, to score a prompt.
  TRY(const bool echo, body.boolean("echo", false));
  const int64_t least = echo ? 0 : 1;
  TRY(p.max_tokens, body.integer("max_completion_tokens", least, kTokensMax));
  TRY(const auto older_name, body.integer("max_tokens", least, kTokensMax));
  if (!p.max_tokens) p.max_tokens = older_name;
  TRY(const auto min_tokens, body.integer("min_tokens", 0, kTokensMax));
  p.min_tokens = min_tokens.value_or(0);
  if (p.max_tokens && p.min_tokens > *p.max_tokens) {
    return body.bad("min_tokens", "must not be greater than max_tokens");
  }
  TRY(p.stop, stop_strings(body, limits));
  TRY(const json::Value* ids, body.array("stop_token_ids", limits.stops_max));
  if (ids != nullptr) {
    TRY(p.stop_token_ids, internal::token_ids(ids->as_array(), "stop_token_ids"));
  }
  TRY(p.ignore_eos, body.boolean("ignore_eos", false));
  return p;
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
  TRY(const auto n, body.integer("n", 1, limits.choices_max));
  out.n = static_cast<int>(n.value_or(1));
  out.request.choices = out.n;
  TRY_VOID(internal::read_scheduling(body, out.request));
  TRY(out.request.sampling, sampling(body, limits));
  TRY(out.request.stop, stopping(body, limits));
  TRY(out.request.format, internal::read_answer_format(body));
  return out;
}

Result<engine_api::Prompt> completion_prompt(const ObjectReader& body,
                                             const RequestLimits& limits) {
  engine_api::TextPrompt form;
  TRY(form.suffix, body.string("suffix"));
  TRY(form.echo, body.boolean("echo", false));
  if (form.echo && !form.suffix.empty()) {
    return body.bad("echo", "does not go together with suffix");
  }
  return internal::read_prompts(body, "prompt", form, limits);
}

/// `best_of`: as many answers are written, and the best n given.
Status best_of(const ObjectReader& body, const RequestLimits& limits, ParsedRequest& out) {
  TRY(const auto best_of, body.integer("best_of", 1, limits.choices_max));
  if (!best_of || *best_of == out.n) return {};
  if (*best_of < out.n) return body.bad("best_of", "must not be less than n");
  if (out.stream) return body.bad("best_of", "does not go together with stream");
  TRY(const bool echo, body.boolean("echo", false));
  if (echo) return body.bad("best_of", "does not go together with echo");
  out.request.choices = static_cast<int>(*best_of);
  // The choice is made by them.
  out.request.sampling.logprobs = std::max(0, out.request.sampling.logprobs);
  return {};
}

}  // namespace

Result<ParsedRequest> parse_chat_request(std::string_view text, const RequestLimits& limits) {
  TRY(const json::Value value, internal::parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  TRY(ParsedRequest out, common(body, limits));
  TRY(const bool echo, body.boolean("echo", false));
  if (echo) return body.bad("echo", "belongs to /v1/completions");
  TRY(const bool logprobs, body.boolean("logprobs", false));
  TRY(const auto top, body.integer("top_logprobs", 0, 20));
  if (top && !logprobs) return body.bad("top_logprobs", "needs logprobs: true");
  if (logprobs) out.request.sampling.logprobs = static_cast<int>(top.value_or(0));
  out.logprobs = logprobs;
  TRY(const auto best, body.integer("best_of", 1, limits.choices_max));
  if (best.value_or(1) != 1) return body.bad("best_of", "belongs to /v1/completions");
  TRY(out.request.prompt, internal::read_chat(body, limits));
  return out;
}

Result<ParsedRequest> parse_completion_request(std::string_view text, const RequestLimits& limits) {
  TRY(const json::Value value, internal::parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  TRY(ParsedRequest out, common(body, limits));
  TRY(const auto logprobs, body.integer("logprobs", 0, 20));
  if (logprobs) out.request.sampling.logprobs = static_cast<int>(*logprobs);
  out.logprobs = logprobs.has_value();
  TRY(out.request.prompt, completion_prompt(body, limits));
  if (const auto* list = std::get_if<engine_api::PromptList>(&out.request.prompt)) {
    out.prompts = static_cast<int>(list->prompts.size());
  }
  TRY_VOID(best_of(body, limits, out));
  return out;
}

}  // namespace hadal::protocol
