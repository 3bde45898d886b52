// Two models over one text. Source of the measures: Kullback and Leibler 1951; perplexity as the
// exponential of the mean negative log-likelihood, natural logarithms.

#include <algorithm>
#include <cmath>

#include "model/score.h"

namespace hadal::model {
namespace {

/// softmax of a row of logits, as what the measures need of it.
struct Distribution {
  std::span<const float> logits;
  float largest = 0;
  double log_sum = 0;  ///< log of the sum of exp(logit - largest)

  explicit Distribution(std::span<const float> row) : logits(row) {
    largest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float v : row) sum += static_cast<double>(std::exp(v - largest));
    log_sum = std::log(sum);
  }
  double log_probability(size_t token) const {
    return static_cast<double>(logits[token] - largest) - log_sum;
  }
  size_t top() const {
    return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
};

double kl_divergence(const Distribution& p, const Distribution& q) {
  double sum = 0;
  for (size_t i = 0; i < p.logits.size(); ++i) {
    const auto weight = static_cast<double>(std::exp(p.logits[i] - p.largest));
    sum += weight * static_cast<double>((p.logits[i] - p.largest) - (q.logits[i] - q.largest));
  }
  return std::max(0.0, sum * std::exp(-p.log_sum) - p.log_sum + q.log_sum);
}

/// Adds up what each prediction gives.
struct Sums {
  std::vector<double> kl;
  int64_t same = 0;
  double loss_source = 0, loss_other = 0;

  void add(std::span<const float> source, std::span<const float> other, int32_t following) {
    const Distribution p(source), q(other);
    kl.push_back(kl_divergence(p, q));
    same += p.top() == q.top() ? 1 : 0;
    loss_source -= p.log_probability(static_cast<size_t>(following));
    loss_other -= q.log_probability(static_cast<size_t>(following));
  }

  Divergence result() {
    Divergence out;
    out.tokens = static_cast<int64_t>(kl.size());
    if (kl.empty()) return out;
    const auto n = static_cast<double>(kl.size());
    for (const double v : kl) out.kl_mean += v / n;
    double variance = 0;
    for (const double v : kl) variance += (v - out.kl_mean) * (v - out.kl_mean) / n;
    out.kl_error = std::sqrt(variance / n);
    std::sort(kl.begin(), kl.end());
    out.kl_99 = kl[static_cast<size_t>(0.99 * (n - 1))];
    out.same_top = static_cast<double>(same) / n;
    out.perplexity_of_source = std::exp(loss_source / n);
    out.perplexity = std::exp(loss_other / n);
    return out;
  }
};

}  // namespace

Result<Divergence> compare_models(PlacedModel source, PlacedModel other,
                                  std::span<const std::vector<int32_t>> pieces,
                                  FunctionRef<bool(int64_t)> go_on) {
  const auto vocab = static_cast<size_t>(source.model.config().vocab);
  if (other.model.config().vocab != source.model.config().vocab) {
    return invalid_argument("the two models have different vocabularies");
  }
  size_t longest = 1;
  for (const auto& piece : pieces) longest = std::max(longest, piece.size());
  const auto tokens_max = static_cast<int64_t>(longest);
  TRY(Scorer a,
      Scorer::create(source.model, source.device, tokens_max, {.kv_dtype = source.kv_dtype}));
  TRY(Scorer b,
      Scorer::create(other.model, other.device, tokens_max, {.kv_dtype = other.kv_dtype}));
  Sums sums;
  int64_t done = 0;
  for (const std::vector<int32_t>& piece : pieces) {
    TRY_VOID(a.begin(piece));
    TRY_VOID(b.begin(piece));
    for (size_t at = 0; at < piece.size();) {
      TRY(const std::span<const float> p, a.next());
      TRY(const std::span<const float> q, b.next());
      CHECK(p.size() == q.size());
      for (size_t row = 0; row < p.size() / vocab; ++row, ++at) {
        if (at + 1 == piece.size()) continue;  // nothing follows it
        sums.add(p.subspan(row * vocab, vocab), q.subspan(row * vocab, vocab), piece[at + 1]);
      }
      done += static_cast<int64_t>(p.size() / vocab);
      if (!go_on(done)) return make_error(ErrorCode::cancelled, "the comparison was stopped");
    }
  }
  return sums.result();
}

}  // namespace hadal::model
