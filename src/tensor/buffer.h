#pragma once

#include <cstddef>
#include <utility>

namespace hadal {

/// Memory on some device, freed when the Buffer goes. `data` is an address on that device.
class Buffer {
 public:
  /// Frees `data`; `context` is whatever the allocator needs for it.
  using Free = void (*)(std::byte* data, size_t bytes, void* context);

  Buffer() = default;
  Buffer(std::byte* data, size_t bytes, Free free, void* context)
      : data_(data), bytes_(bytes), free_(free), context_(context) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) free_(data_, bytes_, context_);
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(free_, other.free_);
    std::swap(context_, other.context_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Free free_ = nullptr;
  void* context_ = nullptr;
};

}  // namespace hadal
