#include "model/step_batch.h"

#include <algorithm>

#include "base/check.h"

namespace hadal::model {

Status StepBatch::set(kernels::Device& device, std::span<const StepSequence> sequences) {
  int64_t tokens = 0;
  int64_t blocks_max = 1;
  logit_count_ = 0;
  view_ = {};
  for (const StepSequence& s : sequences) {
    CHECK(!s.tokens.empty());
    CHECK(s.logits >= 0 && s.logits <= static_cast<int64_t>(s.tokens.size()));
    tokens += static_cast<int64_t>(s.tokens.size());
    blocks_max = std::max(blocks_max, static_cast<int64_t>(s.block_table.size()));
    logit_count_ += s.logits;
    view_.context_max = std::max(view_.context_max, s.past + static_cast<int64_t>(s.tokens.size()));
  }
  const auto count = static_cast<int64_t>(sequences.size());
  host_.clear();
  host_.reserve(
      static_cast<size_t>(3 * tokens + 2 * count + 1 + count * blocks_max + logit_count_));

  for (const StepSequence& s : sequences)
    host_.insert(host_.end(), s.tokens.begin(), s.tokens.end());
  for (const StepSequence& s : sequences) {
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      host_.push_back(static_cast<int32_t>(s.past + static_cast<int64_t>(i)));
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    host_.insert(host_.end(), sequences[static_cast<size_t>(i)].tokens.size(),
                 static_cast<int32_t>(i));
  }
  int32_t begin = 0;
  for (const StepSequence& s : sequences) {
    host_.push_back(begin);
    begin += static_cast<int32_t>(s.tokens.size());
  }
  host_.push_back(begin);
  for (const StepSequence& s : sequences) {
    host_.insert(host_.end(), s.block_table.begin(), s.block_table.end());
    host_.insert(host_.end(), static_cast<size_t>(blocks_max) - s.block_table.size(), 0);
  }
  for (const StepSequence& s : sequences) host_.push_back(s.slot);
  begin = 0;
  for (const StepSequence& s : sequences) {
    begin += static_cast<int32_t>(s.tokens.size());
    for (auto n = static_cast<int32_t>(s.logits); n > 0; --n) host_.push_back(begin - n);
  }

  const size_t bytes = host_.size() * sizeof(int32_t);
  if (device_buffer_.bytes() < bytes) {
    TRY(device_buffer_, device.allocate(bytes * 2));
  }
  device.copy_to_device(device_buffer_.data(), host_.data(), bytes);
  const auto* at = reinterpret_cast<const int32_t*>(device_buffer_.data());
  view_.tokens = tokens;
  view_.sequences = count;
  view_.blocks_max = blocks_max;
  view_.token_ids = at;
  view_.positions = at + tokens;
  view_.token_seq = at + 2 * tokens;
  view_.seq_begin = at + 3 * tokens;
  view_.block_table = view_.seq_begin + count + 1;
  view_.slots = view_.block_table + count * blocks_max;
  logit_rows_ = view_.slots + count;
  return {};
}

}  // namespace hadal::model
