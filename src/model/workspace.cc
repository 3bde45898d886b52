#include "model/workspace.h"

#include <algorithm>

#include "base/check.h"

namespace hadal::model {
namespace {
constexpr size_t kAlign = 64;           // a cache line, and AVX-512's width
constexpr size_t kBlockMin = 1u << 20;  // few blocks even for tiny models
}  // namespace

std::byte* Workspace::take(int64_t bytes) {
  CHECK(bytes >= 0);
  const size_t need = (static_cast<size_t>(bytes) + kAlign - 1) / kAlign * kAlign;
  while (block_ < blocks_.size() && used_ + need > blocks_[block_].bytes()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    auto block = device_.allocate(std::max(need, kBlockMin));
    CHECK(block.has_value(), "out of memory for activations: lower the tokens of a step");
    blocks_.push_back(*std::move(block));
    used_ = 0;
  }
  std::byte* out = blocks_[block_].data() + used_;
  used_ += need;
  return out;
}

}  // namespace hadal::model
