#include "engine/batch.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace hadal::engine {

using engine_api::Delta;
using engine_api::FinishReason;

namespace {

// A generated token against a prompt token. Source: arXiv 2401.00588, section 4.
constexpr int64_t kServedPerNewToken = 2;

// A step with more rows is bound by arithmetic: guesses would only cost.
constexpr int64_t kDraftRowsMax = 32;

bool says_nothing(const Delta& d) {
  return d.content.empty() && d.reasoning.empty() && d.tool_calls.empty() && d.logprobs.empty();
}

}  // namespace

struct Batch::Member {
  std::shared_ptr<Job> job;
  std::optional<Sequence> sequence;  ///< none while it has stepped back
  std::optional<Speculation> speculation;
  std::vector<int32_t> tokens;  ///< of one that has stepped back
  int64_t cached = 0;           ///< prompt tokens that the cache spared at the start
  int64_t planned = 0;          ///< tokens of this step
  bool over = false;

  int64_t drafted() const { return speculation ? speculation->drafted() : 0; }
  int64_t waiting() const {
    return static_cast<int64_t>(sequence->tokens().size()) - sequence->computed();
  }
};

Batch::Batch(LoadedModel& model, const Clock& clock, MetricsRegistry& metrics)
    : loaded_(model),
      clock_(clock),
      running_(metrics.gauge("hadal_engine_running", "Requests being answered.")),
      prompt_tokens_(
          metrics.counter("hadal_engine_prompt_tokens_total", "Prompt tokens computed.")),
      cached_tokens_(metrics.counter("hadal_engine_cached_tokens_total",
                                     "Prompt tokens found in the prefix cache.")),
      new_tokens_(metrics.counter("hadal_engine_completion_tokens_total", "Tokens generated.")),
      drafted_tokens_(
          metrics.counter("hadal_engine_drafted_tokens_total", "Tokens guessed ahead.")),
      accepted_tokens_(metrics.counter("hadal_engine_accepted_tokens_total",
                                       "Tokens guessed ahead that became part of an answer.")),
      preemptions_(metrics.counter("hadal_engine_preemptions_total",
                                   "Times that a request gave its pages away and began anew.")),
      step_sequences_(metrics.histogram("hadal_engine_step_sequences",
                                        "Sequences that shared a step.",
                                        {1, 2, 4, 8, 16, 32, 64, 128})),
      pace_(model.model->step_tokens_max()),
      draft_rows_max_(
          model.speculation.on()
              ? std::min(kDraftRowsMax, model.sequences_max * model.speculation.tokens_max)
              : 0) {
  const auto floats = static_cast<size_t>(model.sequences_max + draft_rows_max_) *
                      static_cast<size_t>(model.model->config().vocab);
  auto buffer = model.device->allocate(floats * sizeof(float));
  CHECK(buffer.has_value(), "no memory for the logits of a step");
  logits_ = *std::move(buffer);
  logits_host_.resize(floats);
}

Batch::~Batch() = default;

int64_t Batch::pages_held() const {
  int64_t pages = 0;
  for (const auto& m : members_) {
    if (m->sequence) pages += static_cast<int64_t>(m->sequence->pages().size());
  }
  return pages;
}

// Whether pages are left for that many tokens and a page more. Shared pages count once for each who
// holds them: rather too few join than too many.
bool Batch::fits(int64_t tokens) const {
  const int64_t held = pages_held();
  const int64_t need = ceil_div(tokens + 1, loaded_.kv->page_tokens()) + 1;
  return held == 0 || held + need <= loaded_.kv->pages();
}

bool Batch::has_room(const Job& job) const {
  if (full()) return false;
  // Nobody new while somebody has stepped back for want of pages.
  if (std::ranges::any_of(members_, [](const auto& m) { return !m->sequence; })) return false;
  return fits(static_cast<int64_t>(job.prompt.ids.size()));
}

void Batch::join(std::shared_ptr<Job> job) {
  auto m = std::make_unique<Member>();
  m->job = std::move(job);
  m->tokens = m->job->prompt.ids;
  const auto prompt = static_cast<int64_t>(m->tokens.size());
  CHECK(resume(*m), "a place without a slot");
  m->cached = m->sequence->cached();
  if (loaded_.speculation.on()) {
    m->speculation.emplace(loaded_.speculation, std::min(prompt + m->job->answer->tokens_left(),
                                                         loaded_.context_tokens_max));
  }
  prompt_tokens_.add(static_cast<uint64_t>(prompt - m->cached));
  cached_tokens_.add(static_cast<uint64_t>(m->cached));
  m->job->account->served += prompt - m->cached;
  members_.push_back(std::move(m));
  running_.set(static_cast<double>(members_.size()));
  Job& joined = *members_.back()->job;
  joined.sink->on_event(engine_api::Started{prompt, members_.back()->cached});
  if (joined.prompt.echo.empty()) return;
  Delta echo;
  echo.content = std::exchange(joined.prompt.echo, {});
  joined.sink->on_event(std::move(echo));
}

bool Batch::resume(Member& m) {
  auto started = Sequence::start(*loaded_.kv, loaded_.prefixes.get(), std::move(m.tokens),
                                 m.job->request.cache_salt);
  if (!started) return false;
  m.sequence.emplace(*std::move(started));
  m.tokens.clear();
  return true;
}

// Gives the member's pages away; what was computed stays in the prefix cache while there is room.
void Batch::step_back(Member& m) {
  m.sequence->publish();
  m.tokens = m.sequence->tokens();
  m.sequence.reset();
  m.planned = 0;
  if (m.speculation) m.speculation->clear();
  preemptions_.add();
}

// Pages for `tokens` more of a member; the youngest of those behind it step back if they must.
bool Batch::make_room(size_t member, int64_t tokens) {
  Sequence& s = *members_[member]->sequence;
  while (!s.reserve(tokens)) {
    size_t youngest = members_.size() - 1;
    while (youngest > member && !members_[youngest]->sequence) --youngest;
    if (youngest == member) return false;
    step_back(*members_[youngest]);
  }
  return true;
}

void Batch::drop_interrupted(const std::function<Status(const Job&)>& interrupted) {
  for (const auto& m : members_) {
    const Status wanted = interrupted(*m->job);
    if (!wanted) end(*m, wanted);
  }
}

void Batch::plan() {
  for (const auto& m : members_) {
    m->planned = 0;
    if (m->speculation) m->speculation->clear();
    if (!m->over && !m->sequence && fits(static_cast<int64_t>(m->tokens.size()))) resume(*m);
  }
  int64_t decoding = 0;
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& m = *members_[i];
    if (m.over || !m.sequence || m.waiting() != 1) continue;
    if (make_room(i, 1)) {
      m.planned = 1;
      ++decoding;
    } else if (i == 0) {
      end(m, m.sequence->reserve(1));
    } else {
      step_back(m);
    }
  }
  // Those planned first may have stepped back for others since.
  decoding = std::ranges::count_if(members_, [](const auto& m) { return m->planned == 1; });
  int64_t left = pace_.prefill_tokens(decoding + plan_drafts(decoding));
  for (size_t i = 0; i < members_.size() && left > 0; ++i) {
    Member& m = *members_[i];
    if (m.over || !m.sequence || m.planned > 0) continue;
    const int64_t n = std::min(left, m.waiting());
    if (make_room(i, n)) {
      m.planned = n;
      left -= n;
    } else if (i == 0 ||
               !std::ranges::any_of(members_, [](const auto& o) { return o->planned > 0; })) {
      end(m, m.sequence->reserve(n));
    } else {
      step_back(m);
      break;
    }
  }
}

// Guesses for those who write, oldest first, while they pay. Returns how many.
int64_t Batch::plan_drafts(int64_t writing) {
  const int64_t room = std::min(draft_rows_max_, loaded_.model->step_tokens_max() - writing);
  DraftBudget budget(cost_, writing, std::max<int64_t>(room, 0), loaded_.speculation.always);
  int64_t rows = 0;
  for (const auto& m : members_) {
    if (m->planned == 0 || !m->speculation) continue;
    Sequence& s = *m->sequence;
    const auto tokens = static_cast<int64_t>(s.tokens().size());
    // The last token of an answer is nobody's successor, and a guess needs a place in the context.
    const int64_t useful =
        std::min(m->job->answer->tokens_left() - 1, loaded_.context_tokens_max - tokens);
    m->speculation->draft(s.tokens(), useful, budget);
    if (!s.reserve(1 + m->drafted())) m->speculation->clear();
    m->planned += m->drafted();
    rows += m->drafted();
  }
  return rows;
}

Status Batch::forward() {
  step_.clear();
  in_step_.clear();
  int64_t decoding = 0;
  int64_t prefill = 0;
  for (const auto& member : members_) {
    Member& m = *member;
    if (m.over || m.planned == 0) continue;
    Sequence& s = *m.sequence;
    const int64_t drafted = m.drafted();
    const auto tokens = drafted > 0 ? m.speculation->step_tokens()
                                    : std::span(s.tokens())
                                          .subspan(static_cast<size_t>(s.computed()),
                                                   static_cast<size_t>(m.planned));
    const bool to_the_end = m.planned - drafted == m.waiting();
    step_.push_back({.tokens = tokens,
                     .past = s.computed(),
                     .block_table = s.pages(),
                     .slot = s.slot(),
                     .logits = to_the_end ? 1 + drafted : 0});
    in_step_.push_back(&m);
    (m.planned - drafted == 1 ? decoding : prefill) += m.planned;
  }
  if (step_.empty()) return {};
  step_sequences_.observe(static_cast<double>(step_.size()));
  kernels::Device& device = *loaded_.device;
  const int64_t begin_ns = clock_.now_ns();
  TRY_VOID(arrays_.set(device, step_));
  const int64_t vocab = loaded_.model->config().vocab;
  const int64_t rows = arrays_.logit_count();
  loaded_.model->forward(arrays_.view(), loaded_.kv->views(), arrays_.logit_rows(),
                         {logits_.data(), device.activation_dtype(), rows, vocab, vocab});
  if (rows > 0) {
    device.copy_to_host(logits_host_.data(), logits_.data(),
                        static_cast<size_t>(rows * vocab) * sizeof(float));
  }
  const int64_t ns = clock_.now_ns() - begin_ns;
  pace_.learn(decoding, prefill, ns);
  if (prefill == 0) cost_.learn(decoding, ns);
  return {};
}

void Batch::hand_out() {
  const auto vocab = static_cast<size_t>(loaded_.model->config().vocab);
  size_t row = 0;
  for (Member* m : in_step_) {
    const int64_t drafted = m->drafted();
    m->sequence->advance(m->planned - drafted);
    if (m->waiting() > 0) continue;
    const auto logits = [&](size_t i) {
      return std::span(logits_host_).subspan((row + i) * vocab, vocab);
    };
    size_t taken = 0;
    // The row of a guess that came true is there: it leads to the next token at once.
    while (advance(*m, logits(taken)) && drafted > 0 &&
           m->speculation->confirm(m->sequence->tokens().back())) {
      m->sequence->advance(1);
      ++taken;
    }
    drafted_tokens_.add(static_cast<uint64_t>(drafted));
    accepted_tokens_.add(taken);
    row += 1 + static_cast<size_t>(drafted);
  }
}

// The next token of a member whose tokens are all computed. Whether its answer goes on.
bool Batch::advance(Member& m, std::span<float> logits) {
  // A wall: what throws here, say a sink, ends its own request only.
  try {
    Answer& answer = *m.job->answer;
    // Whoever comes with the same beginning need not wait for the end of this answer.
    if (answer.tokens() == 0) m.sequence->publish();
    const auto token = answer.choose(logits);
    if (!token) {
      end(m, token.error());
      return false;
    }
    m.sequence->append(*token);
    new_tokens_.add();
    m.job->account->served += kServedPerNewToken;
    Delta delta;
    answer.accept(*token, delta);
    if (!answer.finished() &&
        static_cast<int64_t>(m.sequence->tokens().size()) >= loaded_.context_tokens_max) {
      answer.finish(FinishReason::length, delta);
    }
    if (!says_nothing(delta)) m.job->sink->on_event(std::move(delta));
    if (answer.finished()) end(m, {});
  } catch (const std::exception& e) {
    end(m, internal_error(std::string("the engine failed on this request: ") + e.what()));
  }
  return !m.over;
}

void Batch::end(Member& m, const Status& why) {
  if (std::exchange(m.over, true)) return;
  if (m.sequence) {
    m.sequence->publish();
    m.sequence.reset();
  }
  m.job->end(why, m.cached);
}

void Batch::step(const std::function<Status(const Job&)>& interrupted,
                 const std::function<void(const Job&)>& ended) {
  drop_interrupted(interrupted);
  plan();
  if (const Status done = forward(); done) {
    hand_out();
  } else {
    for (Member* m : in_step_) end(*m, done);
  }
  std::erase_if(members_, [&](const auto& m) {
    if (m->over) ended(*m->job);
    return m->over;
  });
  running_.set(static_cast<double>(members_.size()));
}

void Batch::fail_all(const Error& error, const std::function<void(const Job&)>& ended) {
  for (const auto& m : members_) {
    end(*m, error);
    ended(*m->job);
  }
  members_.clear();
}

}  // namespace hadal::engine
