#include "engine/answer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace hadal::engine {

using engine_api::Delta;
using engine_api::FinishReason;

Answer::Answer(const LoadedModel& model, const engine_api::Request& request,
               sampling::Sampler sampler, int64_t tokens_max)
    : model_(model),
      stop_(request.stop),
      sampler_(std::move(sampler)),
      stop_matcher_(request.stop.stop),
      detokenizer_(*model.tokenizer),
      end_ids_(model.end_ids),
      want_logprobs_(request.sampling.logprobs >= 0),
      tokens_max_(tokens_max) {}

Result<std::unique_ptr<Answer>> Answer::create(const LoadedModel& model,
                                               const engine_api::Request& request,
                                               const PromptTokens& prompt, uint64_t seed) {
  engine_api::SamplingParams params = request.sampling;
  if (!params.seed) params.seed = seed;
  TRY(auto sampler, sampling::Sampler::create(params, model.model->config().vocab));
  sampler.add_prompt(prompt.ids);
  const int64_t room = model.context_tokens_max - static_cast<int64_t>(prompt.ids.size());
  const int64_t wanted = request.stop.max_tokens.value_or(room);
  if (wanted < (prompt.echo.empty() ? 1 : 0)) {
    return invalid_argument("max_tokens must be at least 1").about("max_tokens");
  }
  auto answer = std::unique_ptr<Answer>(
      new Answer(model, request, std::move(sampler), std::min(wanted, room)));
  if (prompt.rendered) {
    answer->parser_ = model.prompt_format->make_parser(*prompt.rendered);
    for (const std::string& text : prompt.rendered->stop_specials) {
      if (const auto id = model.tokenizer->token_id(text)) answer->end_ids_.push_back(*id);
    }
  }
  TRY(auto matcher, model.constraints->start(request, prompt));
  if (matcher) answer->constrain(*std::move(matcher));
  return answer;
}

void Answer::constrain(grammar::Matcher matcher) {
  std::vector<int32_t> ends = stop_.stop_token_ids;
  if (!stop_.ignore_eos) ends.insert(ends.end(), end_ids_.begin(), end_ids_.end());
  constraint_ = std::make_unique<sampling::GrammarProcessor>(std::move(matcher), ends);
  sampler_.add_processor(*constraint_);
}

bool Answer::ends(int32_t token) const {
  if (std::ranges::find(stop_.stop_token_ids, token) != stop_.stop_token_ids.end()) return true;
  return !stop_.ignore_eos && std::ranges::find(end_ids_, token) != end_ids_.end();
}

// The bytes of a position's tokens, and whether the text has them.
void Answer::describe(engine_api::PositionLogprobs& position) const {
  const auto& tokens = *model_.tokenizer;
  position.chosen.bytes = tokens.token_bytes(position.chosen.id);
  position.in_text = !tokens.is_special(position.chosen.id);
  for (auto& t : position.top) t.bytes = tokens.token_bytes(t.id);
}

engine_api::PositionLogprobs Answer::measure(std::span<const float> logits, int32_t token) {
  engine_api::PositionLogprobs out;
  out.chosen = {.id = token, .bytes = {}, .logprob = std::nanf("")};
  if (!logits.empty()) sampler_.measure(logits, token, out);
  describe(out);
  return out;
}

Result<int32_t> Answer::choose(std::span<float> logits) {
  // Before min_tokens an end is not merely ignored but impossible: otherwise the model would go on
  // after it.
  if (tokens_ < stop_.min_tokens) {
    for (const auto* ids : {&end_ids_, &stop_.stop_token_ids}) {
      for (const int32_t id : *ids) {
        if (id >= 0 && static_cast<size_t>(id) < logits.size())
          logits[static_cast<size_t>(id)] = -INFINITY;
      }
    }
  }
  return sampler_.sample(logits, want_logprobs_ ? &logprobs_ : nullptr);
}

void Answer::accept(int32_t token, Delta& delta) {
  CHECK(!finished_);
  sampler_.accept(token);
  ++tokens_;
  if (parser_ && parser_->in_reasoning()) ++reasoning_tokens_;
  if (ends(token)) {
    finish(FinishReason::stop, delta);
    return;
  }
  if (want_logprobs_) {
    describe(logprobs_);
    delta.logprobs.push_back(logprobs_);
  }
  if (parser_ && model_.tokenizer->is_special(token)) {
    take_text(detokenizer_.flush(), delta);
    if (!finished_) {
      // A marker ends what might have become a stop string: that text belongs before it.
      parser_->feed(stop_matcher_.flush(), delta);
      parser_->feed_special(model_.tokenizer->token_bytes(token), delta);
    }
  } else {
    take_text(detokenizer_.push(token), delta);
  }
  called_tools_ |= !delta.tool_calls.empty();
  if (!finished_ && constraint_ && constraint_->is_over()) finish(FinishReason::stop, delta);
  if (!finished_ && tokens_ >= tokens_max_) finish(FinishReason::length, delta);
}

// Text of the model: past the stop matcher, then to the parser.
void Answer::take_text(std::string_view text, Delta& delta) {
  const bool stops_count = tokens_ > stop_.min_tokens;
  const auto match = stop_matcher_.feed(text, stops_count);
  if (parser_) {
    parser_->feed(match.text, delta);
  } else {
    delta.content += match.text;
  }
  if (match.stopped) {
    stop_string_ = match.stop_string;
    finish(FinishReason::stop, delta);
  }
}

void Answer::finish(FinishReason reason, Delta& delta) {
  if (finished_) return;
  finished_ = reason;
  if (stop_string_.empty()) {
    const std::string rest = detokenizer_.flush();
    std::string held = stop_matcher_.feed(rest, false).text;
    held += stop_matcher_.flush();
    if (parser_) {
      parser_->feed(held, delta);
    } else {
      delta.content += held;
    }
  }
  if (parser_) parser_->finish(delta);
  called_tools_ |= !delta.tool_calls.empty();
  if (reason == FinishReason::stop && called_tools_) finished_ = FinishReason::tool_calls;
}

}  // namespace hadal::engine
