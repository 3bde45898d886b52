#include "model/attention.h"

namespace hadal::model {

int RopeSet::add(const RopeConfig& rope, int64_t dims, std::span<const float> freq_factors) {
  Entry entry{rope_inv_freq(rope, dims), static_cast<float>(rope_attention_factor(rope)), dims};
  for (size_t i = 0; i < freq_factors.size() && i < entry.inv_freq.size(); ++i) {
    entry.inv_freq[i] /= freq_factors[i];
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    if (e.inv_freq == entry.inv_freq && e.scale == entry.scale) return static_cast<int>(i);
  }
  entries_.push_back(std::move(entry));
  return static_cast<int>(entries_.size()) - 1;
}

Status RopeSet::upload(kernels::Device& device, std::vector<Buffer>& buffers) {
  for (Entry& e : entries_) {
    const size_t bytes = e.inv_freq.size() * sizeof(float);
    TRY(Buffer buffer, device.allocate(bytes));
    device.copy_to_device(buffer.data(), e.inv_freq.data(), bytes);
    e.device_inv_freq = reinterpret_cast<const float*>(buffer.data());
    buffers.push_back(std::move(buffer));
  }
  return {};
}

}  // namespace hadal::model
