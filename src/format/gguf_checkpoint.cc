#include <algorithm>
#include <cstdio>
#include <optional>
#include <system_error>

#include "base/units.h"
#include "format/gguf.h"
#include "format/gguf_config.h"
#include "format/gguf_metadata.h"
#include "format/gguf_names.h"
#include "format/gguf_repack.h"
#include "format/internal/checkpoint_base.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSplitsMax = 1024;
constexpr int64_t kExpertsMax = 4096;
constexpr size_t kTensorsMax = 1u << 18;  ///< after stacks are taken apart
constexpr size_t kTokensMax = 1u << 20;
constexpr size_t kMergesMax = 1u << 21;

/// "name-00001-of-00003.gguf" as its stem and its count.
struct SplitName {
  std::string stem;
  int64_t count = 0;
};
std::optional<SplitName> split_name(const std::string& file) {
  constexpr size_t kTail = std::string_view("-00001-of-00003.gguf").size();
  if (file.size() <= kTail) return std::nullopt;
  const std::string_view tail = std::string_view(file).substr(file.size() - kTail);
  const auto digits = [&](size_t at) {
    return tail.substr(at, 5).find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (tail[0] != '-' || !digits(1) || tail.substr(6, 4) != "-of-" || !digits(10)) {
    return std::nullopt;
  }
  return SplitName{file.substr(0, file.size() - kTail),
                   std::stoll(std::string(tail.substr(10, 5)))};
}

std::string split_file(const SplitName& name, int64_t part) {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%05d-of-%05d.gguf", static_cast<int>(part + 1),
                static_cast<int>(name.count));
  return name.stem + tail;
}

class GgufCheckpoint final : public CheckpointBase {
 public:
  Status load_file(const fs::path& path) {
    name_ = path.string();
    TRY_VOID(add_part(path));
    TRY(const int64_t count, parts_.front().int_or("split.count", 1, 0, kSplitsMax));
    if (count > 1) TRY_VOID(load_parts(path, count));
    return finish();
  }

  Status load_image(std::span<const std::byte> image, std::string_view name) {
    name_ = name;
    auto parsed = Gguf::parse(image);
    if (!parsed) return std::move(parsed).error().in(name_);
    parts_.push_back(*std::move(parsed));
    image_bytes_ = image.size();
    TRY(const int64_t count, parts_.front().int_or("split.count", 1, 0, kSplitsMax));
    if (count > 1) return unsupported(name_ + ": one part of a split file as an image");
    return finish();
  }

  CheckpointKind kind() const override { return CheckpointKind::gguf; }
  uint64_t bytes() const override { return CheckpointBase::bytes() + image_bytes_; }

  Result<TokenizerSource> tokenizer_source() const override {
    auto source = read_tokenizer();
    if (!source) return std::move(source).error().in(name_);
    return source;
  }

 private:
  Status add_part(const fs::path& path) {
    TRY(MappedFile map, MappedFile::open(path));
    auto parsed = Gguf::parse(map.bytes());
    if (!parsed) return std::move(parsed).error().in(path.string());
    maps_.push_back(std::move(map));
    parts_.push_back(*std::move(parsed));
    files_.push_back(path);
    return {};
  }

  /// Opens all parts in order, whichever of them was named.
  Status load_parts(const fs::path& path, int64_t count) {
    const auto split = split_name(path.filename().string());
    if (!split || split->count != count) {
      return corrupt(name_ + ": is one of " + std::to_string(count) +
                     " parts, but its name does not end in -0000N-of-0000M.gguf; rename it");
    }
    parts_.clear();
    maps_.clear();
    files_.clear();
    for (int64_t i = 0; i < count; ++i) {
      const fs::path part = path.parent_path() / split_file(*split, i);
      std::error_code ec;
      if (!fs::exists(part, ec)) {
        return not_found(part.string() + ": this part is missing; download it");
      }
      TRY_VOID(add_part(part));
      TRY(const int64_t number, parts_.back().int_or("split.no", -1, -1, kSplitsMax));
      TRY(const int64_t of, parts_.back().int_or("split.count", 1, 0, kSplitsMax));
      if (number != i || of != count) {
        return corrupt(part.string() + ": says it is part " + std::to_string(number) + " of " +
                       std::to_string(of));
      }
    }
    return {};
  }

  Status finish() {
    auto done = translate();
    if (!done) return std::move(done).error().in(name_);
    return index_tensors();
  }

  Status translate() {
    // Config looks at tensors too, which may lie in any part.
    Gguf whole = parts_.front();
    size_t count = 0;
    for (const Gguf& part : parts_) count += part.tensors().size();
    TRY(const int64_t said,
        whole.int_or("split.tensors.count", static_cast<int64_t>(count), 0, int64_t{1} << 31));
    if (said != static_cast<int64_t>(count)) {
      return corrupt("its parts hold " + std::to_string(count) + " tensors, " +
                     std::to_string(said) + " were written");
    }
    for (size_t i = 1; i < parts_.size(); ++i) whole.append_tensors(parts_[i]);
    TRY(config_, hf_config_of_gguf(whole));
    TRY(const std::string generation, whole.string_or("hadal.generation_config_json", ""));
    if (!generation.empty()) {
      auto value = json::parse(generation);
      if (!value) return corrupt("'hadal.generation_config_json': " + value.error().message);
      generation_config_ = *std::move(value);
    }
    TRY(const std::string arch, whole.string_at("general.architecture"));
    // The exact formula stands in the configuration; the table of its results would be applied on
    // top of it.
    const json::Value* scaling = rope_scaling_of(config_);
    const bool formula = scaling != nullptr && scaling->find("low_freq_factor") != nullptr;
    for (const GgufTensor& t : whole.tensors()) {
      if (formula && t.name == "rope_freqs.weight") continue;
      auto added = add_tensor(arch, t);
      if (!added) return std::move(added).error().in("tensor '" + std::string(t.name) + "'");
    }
    return {};
  }

  Status add_tensor(std::string_view arch, const GgufTensor& t) {
    TRY(const ConstTensorView view, present(t));
    std::string name = hf_name_of_gguf(arch, t.name);
    const size_t hole = name.find("{e}");
    if (hole == std::string::npos) {
      tensors_.push_back({std::move(name), view});
      return {};
    }
    if (view.shape.rank() != 3) return corrupt("a stack of experts that is not 3-dimensional");
    const int64_t experts = view.shape[0];
    TRY(const int64_t expected, config_.int_at("n_routed_experts"));
    if (experts != expected || experts > kExpertsMax ||
        tensors_.size() + static_cast<size_t>(experts) > kTensorsMax) {
      return corrupt("holds " + std::to_string(experts) + " experts, the metadata says " +
                     std::to_string(expected));
    }
    for (int64_t e = 0; e < experts; ++e) {
      std::string one = name;
      one.replace(hole, 3, std::to_string(e));
      tensors_.push_back({std::move(one), view.rows(e * view.shape[1], view.shape[1])});
    }
    return {};
  }

  /// The tensor as a type we compute with. What ggml packs in another way is packed anew.
  Result<ConstTensorView> present(const GgufTensor& t) {
    const GgufTensorType& type = *gguf_tensor_type(t.type);
    if (type.dtype) return ConstTensorView{t.bytes.data(), *type.dtype, t.shape};
    if (!type.presented) {
      return unsupported("type " + std::string(type.name) +
                         " is not computed with; use a file of Q8_0, Q6_K, Q5_K, Q4_K, Q4_0, "
                         "BF16 or F16");
    }
    TRY(auto packed, repack(t));
    owned_.push_back(std::move(packed));
    return ConstTensorView{owned_.back().data(), *type.presented, t.shape};
  }

  Result<TokenizerSource> read_tokenizer() const;

  std::vector<Gguf> parts_;
  std::vector<std::vector<std::byte>> owned_;  ///< tensors packed anew
  uint64_t image_bytes_ = 0;
};

Result<std::vector<std::string>> string_list(const Gguf& g, std::string_view key, size_t max) {
  std::vector<std::string> out;
  const GgufValue* value = g.find(key);
  if (value == nullptr) return out;
  if (value->count() > max) {
    return corrupt("'" + std::string(key) + "' has " + std::to_string(value->count()) + " entries");
  }
  const auto strings = value->as_strings();
  if (!strings) return corrupt("'" + std::string(key) + "' is not a list of strings");
  out.reserve(strings->size());
  for (const std::string_view s : *strings) {
    if (s.size() > 65535) return corrupt("'" + std::string(key) + "' has an entry over 64 KiB");
    out.emplace_back(s);
  }
  return out;
}

Result<std::optional<int64_t>> token_id(const Gguf& g, std::string_view key, size_t tokens) {
  if (g.find(key) == nullptr) return std::optional<int64_t>();
  TRY(const int64_t id, g.int_at(key, 0, static_cast<int64_t>(tokens) - 1));
  return std::optional<int64_t>(id);
}

Result<TokenizerSource> GgufCheckpoint::read_tokenizer() const {
  const Gguf& g = parts_.front();
  TokenizerSource out;
  if (g.find("tokenizer.ggml.model") == nullptr) return not_found("holds no tokenizer");
  TRY(out.gguf_model, g.string_at("tokenizer.ggml.model"));
  TRY(out.gguf_pre, g.string_or("tokenizer.ggml.pre", ""));
  TRY(out.chat_template, g.string_or("tokenizer.chat_template", ""));
  TRY(out.tokenizer_config_json, g.string_or("hadal.tokenizer_config_json", ""));
  TRY(out.tokenizer_json, g.string_or("hadal.tokenizer_json", ""));
  TRY(out.tokens, string_list(g, "tokenizer.ggml.tokens", kTokensMax));
  TRY(out.merges, string_list(g, "tokenizer.ggml.merges", kMergesMax));
  if (out.tokens.empty()) return corrupt("'tokenizer.ggml.tokens' is missing or empty");
  for (const std::string& m : out.merges) {
    // A space is a byte-level space only as U+0120, so the first one after a character parts them.
    const size_t space = m.find(' ', 1);
    if (space == std::string::npos || space + 1 == m.size()) {
      return corrupt("'tokenizer.ggml.merges' has an entry that is not a pair");
    }
  }
  if (const GgufValue* types = g.find("tokenizer.ggml.token_type")) {
    const auto list = types->as_ints();
    if (!list || list->size() != out.tokens.size()) {
      return corrupt("'tokenizer.ggml.token_type' does not have one integer for each token");
    }
    for (const int64_t t : *list) {
      if (t < 0 || t > 6) return corrupt("'tokenizer.ggml.token_type' has " + std::to_string(t));
      out.token_types.push_back(static_cast<int32_t>(t));
    }
  } else {
    out.token_types.assign(out.tokens.size(), 1);
  }
  TRY(out.bos_id, token_id(g, "tokenizer.ggml.bos_token_id", out.tokens.size()));
  TRY(out.eos_id, token_id(g, "tokenizer.ggml.eos_token_id", out.tokens.size()));
  if (g.find("tokenizer.ggml.add_bos_token") != nullptr) {
    TRY(const bool add, g.bool_or("tokenizer.ggml.add_bos_token", false));
    out.add_bos = add;
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<const Checkpoint>> open_gguf(const fs::path& path) {
  auto checkpoint = std::make_unique<GgufCheckpoint>();
  TRY_VOID(checkpoint->load_file(path));
  return std::unique_ptr<const Checkpoint>(std::move(checkpoint));
}

Result<std::unique_ptr<const Checkpoint>> open_gguf_image(std::span<const std::byte> image,
                                                          std::string_view name) {
  auto checkpoint = std::make_unique<GgufCheckpoint>();
  TRY_VOID(checkpoint->load_image(image, name));
  return std::unique_ptr<const Checkpoint>(std::move(checkpoint));
}

}  // namespace hadal::format
