#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/checkpoint.h"

namespace hadal::format {

/// For tests: a checkpoint with some of its tensors under other names, others added, and another
/// configuration. Not to be changed once it is in use.
class RearrangedCheckpoint final : public Checkpoint {
 public:
  explicit RearrangedCheckpoint(std::unique_ptr<const Checkpoint> inner)
      : inner_(std::move(inner)),
        config_(inner_->config()),
        tensors_(inner_->tensors().begin(), inner_->tensors().end()) {}

  json::Value& config_to_change() { return config_; }
  /// Every tensor whose name begins with `from` also gets a name that begins with `to`.
  void alias(std::string_view from, const std::string& to) {
    std::vector<CheckpointTensor> more;
    for (const CheckpointTensor& t : tensors_) {
      if (t.name.starts_with(from)) more.push_back({to + t.name.substr(from.size()), t.view});
    }
    for (CheckpointTensor& t : more) put(std::move(t));
  }
  void drop(std::string_view prefix) {
    std::erase_if(tensors_, [&](const auto& t) { return t.name.starts_with(prefix); });
  }
  /// Adds or replaces a tensor of f32.
  void add(std::string name, Shape shape, std::vector<float> values) {
    const auto& kept = added_.emplace_back(std::move(values));
    put({std::move(name), {reinterpret_cast<const std::byte*>(kept.data()), DType::f32, shape}});
  }

  CheckpointKind kind() const override { return inner_->kind(); }
  const std::string& name() const override { return inner_->name(); }
  const json::Value& config() const override { return config_; }
  const json::Value& generation_config() const override { return inner_->generation_config(); }
  Result<TokenizerSource> tokenizer_source() const override { return inner_->tokenizer_source(); }
  std::span<const CheckpointTensor> tensors() const override { return tensors_; }
  const CheckpointTensor* find(std::string_view name) const override {
    const auto at = std::ranges::lower_bound(tensors_, name, {}, &CheckpointTensor::name);
    return at != tensors_.end() && at->name == name ? &*at : nullptr;
  }
  std::vector<std::filesystem::path> files() const override { return inner_->files(); }
  uint64_t bytes() const override { return inner_->bytes(); }

 private:
  void put(CheckpointTensor tensor) {
    const auto at = std::ranges::lower_bound(tensors_, tensor.name, {}, &CheckpointTensor::name);
    if (at != tensors_.end() && at->name == tensor.name) {
      *at = std::move(tensor);
    } else {
      tensors_.insert(at, std::move(tensor));
    }
  }

  std::unique_ptr<const Checkpoint> inner_;
  json::Value config_;
  std::vector<CheckpointTensor> tensors_;  ///< sorted by name
  std::deque<std::vector<float>> added_;
};

}  // namespace hadal::format
