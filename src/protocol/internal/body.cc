#include "protocol/internal/body.h"

#include <utility>

namespace hadal::protocol::internal {
namespace {

using engine_api::Prompt;
using engine_api::PromptList;
using engine_api::TextPrompt;
using engine_api::TokenPrompt;

constexpr int64_t kPriorityMax = 1'000'000;
constexpr size_t kNameBytesMax = 512;

/// Several prompts: strings or arrays of token ids.
Result<Prompt> prompt_list(const json::Array& array, const char* key, const TextPrompt& form) {
  PromptList list;
  list.prompts.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const std::string place = element(key, i);
    if (array[i].is_string()) {
      list.prompts.emplace_back(form);
      std::get<TextPrompt>(list.prompts.back()).text = array[i].as_string();
    } else if (array[i].is_array()) {
      if (!form.suffix.empty()) return bad_at(place, "must be text to have a suffix");
      TokenPrompt tokens{.ids = {}, .echo = form.echo};
      TRY(tokens.ids, token_ids(array[i].as_array(), place));
      list.prompts.emplace_back(std::move(tokens));
    } else {
      return bad_at(place, "must be a string or an array of token ids, as the others");
    }
  }
  if (list.prompts.size() > 1) return Prompt(std::move(list));
  return std::visit([](auto&& only) { return Prompt(std::move(only)); },
                    std::move(list.prompts[0]));
}

// A name of at most kNameBytesMax bytes.
Result<std::string> name(const ObjectReader& body, const char* key) {
  TRY(auto text, body.string(key));
  if (text.size() > kNameBytesMax) {
    return body.bad(key, "must have at most " + std::to_string(kNameBytesMax) + " bytes");
  }
  return text;
}

}  // namespace

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
    const auto id = as_integer(array[i]);
    if (!id || *id < 0 || *id > kTokenIdMax) {
      return bad_at(element(place, i), "must be a token id");
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

Result<Prompt> read_prompts(const ObjectReader& body, const char* key, const TextPrompt& form,
                            const RequestLimits& limits) {
  const json::Value* given = body.find(key);
  if (given != nullptr && given->is_string()) {
    TextPrompt text = form;
    text.text = given->as_string();
    return Prompt(std::move(text));
  }
  if (given == nullptr || !given->is_array()) {
    return body.wrong_kind(key, "a string, token ids, or an array of them");
  }
  const json::Array& array = given->as_array();
  if (array.empty()) return body.bad(key, "must not be empty");
  const bool texts = array[0].is_string();
  if (!texts && !form.suffix.empty()) return body.bad("suffix", "needs a prompt that is text");
  if (texts || array[0].is_array()) {
    TRY_VOID(body.array(key, limits.prompts_max));
    return prompt_list(array, key, form);
  }
  if (array.size() > limits.token_ids_max) return body.bad(key, "has too many token ids");
  TokenPrompt tokens{.ids = {}, .echo = form.echo};
  TRY(tokens.ids, token_ids(array, key));
  return Prompt(std::move(tokens));
}

Status read_scheduling(const ObjectReader& body, engine_api::Request& request) {
  // OpenAI's newer name, its older one, DeepSeek's.
  for (const char* key : {"safety_identifier", "user", "user_id"}) {
    TRY(auto user, name(body, key));
    if (request.user.empty()) request.user = std::move(user);
  }
  TRY(request.cache_salt, name(body, "cache_salt"));
  TRY(const auto priority, body.integer("priority", -kPriorityMax, kPriorityMax));
  request.priority = static_cast<int>(priority.value_or(0));
  TRY(const auto timeout_ms, body.integer("timeout_ms", 1, int64_t{1} << 40));
  request.timeout_ms = timeout_ms.value_or(0);
  return {};
}

}  // namespace hadal::protocol::internal
