#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/job.h"
#include "engine/loaded_model.h"
#include "engine/pace.h"
#include "engine/sequence.h"
#include "engine/speculation.h"
#include "engine/step_cost.h"
#include "model/step_batch.h"

namespace hadal::engine {

/// The requests that are being answered: they join and leave at every step.
///
///   step:  one token of everyone who writes   + pieces of prompts, oldest first, while the
///          (decode), and guesses of theirs      step stays short enough for those who write
///          while they pay (Speculation)         (prefill; see Pace)
///
/// When pages run out, the youngest steps back: it gives its pages away and computes its tokens
/// again once there is room. The oldest always goes on, so everyone gets through.
/// Threading: the engine's thread.
class Batch {
 public:
  /// Model, clock and registry must outlive it.
  Batch(LoadedModel& model, const Clock& clock, MetricsRegistry& metrics);
  ~Batch();

  bool empty() const { return members_.empty(); }
  /// Whether all places are taken.
  bool full() const { return static_cast<int64_t>(members_.size()) >= loaded_.sequences_max; }
  /// Whether `job` may join now: there is a place, and room for its prompt beside the others.
  bool has_room(const Job& job) const;
  /// Lets it join; it must have room.
  void join(std::shared_ptr<Job> job);

  /// Computes one step and hands out what it brought. `interrupted` says whether an answer is still
  /// wanted; `ended` is told each request that is over.
  void step(const std::function<Status(const Job&)>& interrupted,
            const std::function<void(const Job&)>& ended);
  /// Ends everything with `error`.
  void fail_all(const Error& error, const std::function<void(const Job&)>& ended);

 private:
  struct Member;

  void drop_interrupted(const std::function<Status(const Job&)>& interrupted);
  void plan();
  int64_t plan_drafts(int64_t writing);
  bool make_room(size_t member, int64_t tokens);
  bool resume(Member& m);
  void step_back(Member& m);
  Status forward();
  void hand_out();
  bool advance(Member& m, std::span<float> logits);
  void end(Member& m, const Status& why);
  int64_t pages_held() const;
  bool fits(int64_t tokens) const;

  LoadedModel& loaded_;
  const Clock& clock_;
  Gauge& running_;
  Counter& prompt_tokens_;
  Counter& cached_tokens_;
  Counter& new_tokens_;
  Counter& drafted_tokens_;
  Counter& accepted_tokens_;
  Counter& preemptions_;
  Histogram& step_sequences_;

  std::vector<std::unique_ptr<Member>> members_;  ///< oldest first
  Pace pace_;
  StepCost cost_;
  int64_t draft_rows_max_;  ///< of a step
  std::vector<model::StepSequence> step_;
  std::vector<Member*> in_step_;  ///< whose parts they are, in the same order
  model::StepBatch arrays_;
  Buffer logits_;
  std::vector<float> logits_host_;
};

}  // namespace hadal::engine
