#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hadal::engine_api {

/// How the next token is chosen from the logits. The order is fixed: logit bias, penalties,
/// temperature, top-k, top-p, min-p, then one draw. Defaults are OpenAI's.
struct SamplingParams {
  double temperature = 1.0;         ///< 0 is greedy: the largest logit, the lowest id among equals
  int top_k = 0;                    ///< 0: all
  double top_p = 1.0;               ///< in (0, 1]
  double min_p = 0.0;               ///< in [0, 1): relative to the most likely token
  double repetition_penalty = 1.0;  ///< > 0; over prompt and answer. Source: CTRL, arXiv 1909.05858
  double presence_penalty = 0.0;    ///< [-2, 2]; over the answer
  double frequency_penalty = 0.0;   ///< [-2, 2]; over the answer, per occurrence
  std::vector<std::pair<int32_t, float>> logit_bias;  ///< token id, added to its logit
  std::optional<uint64_t> seed;                       ///< same seed and request, same text
  int logprobs = -1;  ///< -1: none; otherwise how many alternatives per token (0..20)
};

/// When an answer ends, besides the model's own end-of-sequence tokens.
struct StopParams {
  std::optional<int64_t> max_tokens;  ///< absent: as many as the context holds
  int64_t min_tokens = 0;             ///< end-of-sequence and stop strings are ignored before
  std::vector<std::string> stop;      ///< strings; they are not part of the answer
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
};

}  // namespace hadal::engine_api
