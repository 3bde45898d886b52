#include "engine/sequence.h"

#include <utility>

#include "base/units.h"

namespace hadal::engine {

Result<Sequence> Sequence::start(kvcache::KvCache& kv, kvcache::PrefixCache* prefixes,
                                 std::vector<int32_t> tokens, std::string_view salt) {
  Sequence s(kv, prefixes);
  const auto slot = kv.take_slot();
  if (!slot) return unavailable("all sequence slots are in use");
  s.slot_ = *slot;
  s.salt_ = salt;
  s.tokens_ = std::move(tokens);
  if (prefixes != nullptr) s.pages_ = prefixes->match(s.tokens_, s.salt_);
  s.cached_ = static_cast<int64_t>(s.pages_.size()) * kv.page_tokens();
  s.computed_ = s.cached_;
  return s;
}

Sequence::Sequence(Sequence&& other) noexcept
    : kv_(other.kv_),
      prefixes_(other.prefixes_),
      salt_(std::move(other.salt_)),
      tokens_(std::move(other.tokens_)),
      pages_(std::exchange(other.pages_, {})),
      slot_(std::exchange(other.slot_, -1)),
      computed_(other.computed_),
      cached_(other.cached_) {}

Sequence::~Sequence() {
  for (const int32_t page : pages_) kv_->release_page(page);
  if (slot_ >= 0) kv_->release_slot(slot_);
}

Status Sequence::reserve(int64_t count) {
  const int64_t need = ceil_div(computed_ + count, kv_->page_tokens());
  while (static_cast<int64_t>(pages_.size()) < need) {
    auto page = kv_->take_page();
    if (!page && prefixes_ != nullptr && prefixes_->evict(1) > 0) page = kv_->take_page();
    if (!page) {
      return make_error(
                 ErrorCode::resource_exhausted,
                 "the KV cache is full at " + std::to_string(computed_) + " tokens of this request")
          .with_hint("shorten the conversation or raise --kv-cache-bytes-max");
    }
    pages_.push_back(*page);
  }
  return {};
}

void Sequence::publish() {
  if (prefixes_ == nullptr) return;
  prefixes_->insert(std::span(tokens_).first(static_cast<size_t>(computed_)), pages_, salt_);
}

}  // namespace hadal::engine
