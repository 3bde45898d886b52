#include "engine/constraint.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "engine/prompt_tokens.h"
#include "grammar/ebnf.h"
#include "grammar/json_schema.h"
#include "json/json.h"

namespace hadal::engine {
namespace {

using engine_api::Chat;
using engine_api::Request;
using grammar::Grammar;

constexpr const char* kSchemaPlace = "response_format.json_schema.schema";

// Whether the answer's tool calls must be held to something.
bool binds_calls(const Chat& chat) {
  return !chat.tools.empty() &&
         (chat.tool_choice == engine_api::ToolChoice::required || !chat.parallel_tool_calls ||
          std::ranges::any_of(chat.tools, [](const auto& t) { return t.strict; }));
}

// The grammar that the request's format asks for, rooted in it.
Result<Grammar> content_of(const engine_api::AnswerFormat& format) {
  if (std::holds_alternative<engine_api::JsonObjectFormat>(format)) {
    return grammar::json_object_grammar();
  }
  if (const auto* schema = std::get_if<engine_api::JsonSchemaFormat>(&format)) {
    auto out = grammar::json_schema_grammar(schema->schema, kSchemaPlace);
    if (!out) return std::move(out).error().about(kSchemaPlace);
    return out;
  }
  auto out = grammar::read_ebnf(std::get<engine_api::GrammarFormat>(format).text);
  if (!out) return std::move(out).error().in("grammar").about("grammar");
  return out;
}

// All that a grammar is made from, as text.
std::string key_of(const Request& request, const PromptTokens& prompt) {
  std::string key = std::to_string(request.format.index());
  const auto add = [&](std::string_view part) {
    key += ':';
    key += std::to_string(part.size());
    key += ':';
    key += part;
  };
  if (const auto* schema = std::get_if<engine_api::JsonSchemaFormat>(&request.format)) {
    add(json::dump(schema->schema));
  }
  if (const auto* g = std::get_if<engine_api::GrammarFormat>(&request.format)) add(g->text);
  const auto* chat = std::get_if<Chat>(&request.prompt);
  if (chat == nullptr || !prompt.rendered) return key;
  const prompt::Rendered& r = *prompt.rendered;
  add(r.starts_in_reasoning ? "reasoning" : "");
  add(r.trims_one_blank ? "blank" : "");
  if (!r.offers_tools) return key;
  add(chat->tool_choice == engine_api::ToolChoice::required ? "required" : "");
  add(chat->tool_name);
  add(chat->parallel_tool_calls ? "" : "one");
  for (const engine_api::Tool& t : chat->tools) {
    add(t.name);
    add(t.strict ? "strict" : "");
    add(json::dump(t.parameters));
  }
  return key;
}

}  // namespace

Constraints::Constraints(const tokenizer::Tokenizer& tokenizer, const prompt::PromptFormat* format,
                         size_t vocab, size_t bytes_max)
    : tokenizer_(tokenizer), format_(format), vocab_(vocab), bytes_max_(bytes_max) {}

std::shared_ptr<const grammar::Vocabulary> Constraints::vocabulary() {
  std::call_once(vocabulary_made_, [&] {
    std::vector<grammar::Vocabulary::Token> tokens(tokenizer_.vocab_size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      tokens[i] = {tokenizer_.token_bytes(id),
                   tokenizer_.is_special(id) || tokenizer_.is_markup(id)};
    }
    vocabulary_ = std::make_shared<const grammar::Vocabulary>(tokens, vocab_);
  });
  return vocabulary_;
}

Result<std::optional<grammar::Matcher>> Constraints::start(const Request& request,
                                                           const PromptTokens& prompt) {
  const auto* chat = std::get_if<Chat>(&request.prompt);
  const bool formatted = !std::holds_alternative<std::monostate>(request.format);
  if (!formatted && (chat == nullptr || !binds_calls(*chat))) {
    return std::optional<grammar::Matcher>();
  }
  TRY(Compiled grammar, find(request, prompt));
  grammar::Matcher matcher(std::move(grammar));
  if (chat != nullptr && !chat->messages.empty() && chat->messages.back().prefix &&
      !(prompt.rendered && prompt.rendered->starts_in_reasoning)) {
    TRY(const bool fits, matcher.accept_text(chat->messages.back().content));
    if (!fits) {
      return invalid_argument("the prefix is no begin of an answer in the format that is asked for")
          .about("messages[" + std::to_string(chat->messages.size() - 1) + "].content");
    }
  }
  return std::optional(std::move(matcher));
}

Result<Constraints::Compiled> Constraints::find(const Request& request,
                                                const PromptTokens& prompt) {
  std::string key = key_of(request, prompt);
  if (Compiled found = kept(key)) return found;
  TRY(Compiled made, compile(request, prompt));
  keep(std::move(key), made);
  return made;
}

Result<Constraints::Compiled> Constraints::compile(const Request& request,
                                                   const PromptTokens& prompt) {
  Grammar g;
  std::optional<grammar::RuleId> content;
  if (!std::holds_alternative<std::monostate>(request.format)) {
    TRY(g, content_of(request.format));
    content = g.root();
  }
  if (const auto* chat = std::get_if<Chat>(&request.prompt); chat != nullptr && prompt.rendered) {
    TRY(const grammar::Expr answers, format_->write_answers(g, *chat, *prompt.rendered, content));
    g.set_root(g.add_rule("answer", answers));
  }
  auto out = grammar::CompiledGrammar::create(g, vocabulary());
  if (!out) {
    const bool text = std::holds_alternative<engine_api::GrammarFormat>(request.format);
    return std::move(out).error().about(text ? "grammar" : content ? kSchemaPlace : "tools");
  }
  return out;
}

Constraints::Compiled Constraints::kept(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto at = by_key_.find(key);
  if (at == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, at->second);
  return entries_.front().grammar;
}

// Grammars grow with use: what is too much is dropped when the next one comes.
void Constraints::keep(std::string key, Compiled grammar) {
  std::lock_guard lock(mutex_);
  if (by_key_.contains(key)) return;
  entries_.push_front({std::move(key), std::move(grammar)});
  by_key_.emplace(entries_.front().key, entries_.begin());
  while (entries_.size() > 1 && bytes_locked() > bytes_max_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

size_t Constraints::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_locked();
}

size_t Constraints::bytes_locked() const {
  size_t bytes = 0;
  for (const Entry& e : entries_) bytes += e.key.size() + e.grammar->bytes() + sizeof(Entry);
  return bytes;
}

}  // namespace hadal::engine
