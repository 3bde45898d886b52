#include "grammar/matcher.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "grammar/internal/automaton.h"
#include "grammar/internal/chart.h"
#include "grammar/internal/mask_cache.h"

namespace hadal::grammar {
namespace {

using internal::Chart;

constexpr size_t kMaskBytesMax = 24 << 20;
constexpr size_t kChartBytesMax = 32 << 20;
constexpr size_t kCompactAt = 4096;
// Steps of a text: a store for finding masks the first time, and what each token adds to it. A step
// is about 50 ns, so a hostile grammar gets half a second once and then two milliseconds a token.
constexpr int64_t kWorkMax = 8'000'000;
constexpr int64_t kWorkPerToken = 40'000;

Error out_of_work() {
  return make_error(ErrorCode::resource_exhausted,
                    "the grammar is too ambiguous: finding the tokens that may come next takes too "
                    "long")
      .with_hint("write its rules so that a text can be read in few ways");
}

}  // namespace

struct CompiledGrammar::Impl {
  Impl(internal::Automaton a, std::shared_ptr<const Vocabulary> v)
      : automaton(std::move(a)),
        vocabulary(std::move(v)),
        masks(automaton, *vocabulary, kMaskBytesMax) {
    for (const std::string& text : automaton.tokens) {
      const auto id = vocabulary->special(text);
      CHECK(id.has_value());
      token_ids.push_back(*id);
    }
    bytes = automaton.bytes() + masks.bytes();
  }

  const internal::Automaton automaton;
  const std::shared_ptr<const Vocabulary> vocabulary;
  std::vector<int32_t> token_ids;  ///< of the automaton's special tokens
  std::mutex mutex;
  internal::MaskCache masks;  ///< under the mutex
  std::atomic<size_t> bytes;
};

CompiledGrammar::CompiledGrammar(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CompiledGrammar::~CompiledGrammar() = default;

Result<std::shared_ptr<const CompiledGrammar>> CompiledGrammar::create(
    const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary, const Limits& limits) {
  const auto has_token = [&](std::string_view text) {
    return vocabulary->special(text).has_value();
  };
  TRY(auto automaton, internal::compile(grammar, has_token, limits));
  return std::shared_ptr<const CompiledGrammar>(
      new CompiledGrammar(std::make_unique<Impl>(std::move(automaton), std::move(vocabulary))));
}

const Vocabulary& CompiledGrammar::vocabulary() const { return *impl_->vocabulary; }

size_t CompiledGrammar::bytes() const { return impl_->bytes.load(std::memory_order_relaxed); }

struct Matcher::Impl {
  explicit Impl(std::shared_ptr<const CompiledGrammar> g)
      : grammar(std::move(g)), shared(*grammar->impl_), chart(shared.automaton, work) {
    chart.start(shared.automaton.rules[0].start, 0);
  }

  Status check() const {
    if (chart.exhausted() || chart.bytes() > kChartBytesMax) return out_of_work();
    return {};
  }

  const std::shared_ptr<const CompiledGrammar> grammar;
  CompiledGrammar::Impl& shared;
  int64_t work = kWorkMax;
  Chart chart;
};

Matcher::Matcher(std::shared_ptr<const CompiledGrammar> grammar)
    : impl_(std::make_unique<Impl>(std::move(grammar))) {}
Matcher::Matcher(Matcher&&) noexcept = default;
Matcher::~Matcher() = default;

Status Matcher::allowed(std::span<uint64_t> bits) {
  Impl& m = *impl_;
  CHECK(bits.size() == (m.shared.vocabulary->size() + 63) / 64);
  std::ranges::fill(bits, 0);
  TRY_VOID(m.check());
  m.work = std::min(m.work + kWorkPerToken, kWorkMax);
  {
    std::lock_guard lock(m.shared.mutex);
    const bool done = m.shared.masks.add_allowed(m.chart, bits, m.work);
    m.shared.bytes = m.shared.automaton.bytes() + m.shared.masks.bytes();
    if (!done) return out_of_work();
  }
  for (size_t i = 0; i < m.shared.token_ids.size(); ++i) {
    if (!m.chart.push(internal::kFirstToken + static_cast<uint32_t>(i))) continue;
    m.chart.pop();
    const auto id = static_cast<size_t>(m.shared.token_ids[i]);
    bits[id / 64] |= uint64_t{1} << (id % 64);
  }
  return m.check();
}

bool Matcher::may_end() const { return impl_->chart.at_end(); }

bool Matcher::is_over() const {
  const internal::Automaton& a = impl_->shared.automaton;
  return may_end() && std::ranges::all_of(impl_->chart.items(), [&](const Chart::Item& item) {
           const auto& s = a.states[item.state];
           const auto& rule = a.rules[s.rule];
           const bool full = rule.counts && item.state == rule.start && item.count >= rule.max;
           return full || (s.edges == s.edges_end && s.calls == s.calls_end);
         });
}

Result<bool> Matcher::accept(int32_t token) {
  Impl& m = *impl_;
  const Vocabulary& v = *m.shared.vocabulary;
  if (!v.is_special(token)) {
    const std::string_view bytes = v.bytes(token);
    if (bytes.empty()) return false;
    return accept_text(bytes);
  }
  const auto at = std::ranges::find(m.shared.token_ids, token);
  if (at == m.shared.token_ids.end()) return false;
  const auto index = static_cast<uint32_t>(at - m.shared.token_ids.begin());
  const bool read = m.chart.push(internal::kFirstToken + index);
  TRY_VOID(m.check());
  return read;
}

Result<bool> Matcher::accept_text(std::string_view bytes) {
  Impl& m = *impl_;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool read = m.chart.push(static_cast<uint8_t>(bytes[i]));
    TRY_VOID(m.check());
    if (read) continue;
    for (; i > 0; --i) m.chart.pop();
    return false;
  }
  if (m.chart.size() > kCompactAt) m.chart.compact();
  return true;
}

}  // namespace hadal::grammar
