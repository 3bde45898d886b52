#include <algorithm>
#include <set>
#include <system_error>

#include "base/units.h"
#include "format/internal/checkpoint_base.h"
#include "format/safetensors.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

constexpr size_t kConfigBytesMax = 8 * kMiB;
constexpr size_t kTokenizerBytesMax = 128 * kMiB;
constexpr size_t kIndexBytesMax = 64 * kMiB;
constexpr size_t kShardsMax = 4096;

/// A file name without any path in it: an index may not lead out of its directory.
bool plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

Result<json::Value> read_json_file(const fs::path& path, size_t bytes_max) {
  TRY(const std::string text, read_text_file(path, bytes_max));
  auto value = json::parse(text, {.bytes_max = bytes_max, .depth_max = 64});
  if (!value) return corrupt(path.string() + ": " + value.error().message);
  if (!value->is_object()) return corrupt(path.string() + ": not a JSON object");
  return std::move(*value);
}

/// The text of a file that may be absent.
Result<std::string> optional_text(const fs::path& path, size_t bytes_max) {
  std::error_code ec;
  if (!fs::exists(path, ec)) return std::string();
  return read_text_file(path, bytes_max);
}

/// `chat_template` of tokenizer_config.json: a string, or a list of named ones with a "default".
std::string template_in(const json::Value& config) {
  const json::Value* t = config.find("chat_template");
  if (t == nullptr) return {};
  if (t->is_string()) return t->as_string();
  if (!t->is_array()) return {};
  std::string first;
  for (const json::Value& named : t->as_array()) {
    const json::Value* name = named.find("name");
    const json::Value* body = named.find("template");
    if (body == nullptr || !body->is_string()) continue;
    if (name != nullptr && name->is_string() && name->as_string() == "default") {
      return body->as_string();
    }
    if (first.empty()) first = body->as_string();
  }
  return first;
}

class HfCheckpoint final : public CheckpointBase {
 public:
  Status load(const fs::path& path) {
    std::error_code ec;
    const bool is_directory = fs::is_directory(path, ec);
    directory_ = is_directory ? path : path.parent_path();
    name_ = path.string();
    if (!fs::exists(directory_ / "config.json", ec)) {
      return not_found(name_ + ": there is no config.json beside it");
    }
    TRY(config_, read_json_file(directory_ / "config.json", kConfigBytesMax));
    if (fs::exists(directory_ / "generation_config.json", ec)) {
      TRY(generation_config_,
          read_json_file(directory_ / "generation_config.json", kConfigBytesMax));
    }
    TRY(const std::vector<std::string> shards, shard_names(path, is_directory));
    for (const std::string& shard : shards) TRY_VOID(add_shard(directory_ / shard));
    TRY_VOID(index_tensors());
    TRY_VOID(check_index());
    present_packed_types();
    return {};
  }

  CheckpointKind kind() const override { return CheckpointKind::safetensors; }

  Result<TokenizerSource> tokenizer_source() const override {
    TokenizerSource out;
    TRY(out.tokenizer_json, optional_text(directory_ / "tokenizer.json", kTokenizerBytesMax));
    if (out.tokenizer_json.empty()) {
      return not_found(directory_.string() + ": there is no tokenizer.json");
    }
    TRY(out.tokenizer_config_json,
        optional_text(directory_ / "tokenizer_config.json", kTokenizerBytesMax));
    TRY(out.chat_template, optional_text(directory_ / "chat_template.jinja", kConfigBytesMax));
    if (out.chat_template.empty() && !out.tokenizer_config_json.empty()) {
      auto config = json::parse(out.tokenizer_config_json, {.bytes_max = kTokenizerBytesMax});
      if (!config) {
        return corrupt((directory_ / "tokenizer_config.json").string() + ": " +
                       config.error().message);
      }
      out.chat_template = template_in(*config);
    }
    return out;
  }

 private:
  /// The shards in order: the file itself, those of the index, model.safetensors, or the only one.
  Result<std::vector<std::string>> shard_names(const fs::path& path, bool is_directory) {
    if (!is_directory) return std::vector<std::string>{path.filename().string()};
    std::error_code ec;
    const fs::path index = directory_ / "model.safetensors.index.json";
    if (fs::exists(index, ec)) return indexed_shards(index);
    if (fs::exists(directory_ / "model.safetensors", ec)) {
      return std::vector<std::string>{"model.safetensors"};
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory_, ec)) {
      if (entry.path().extension() == ".safetensors") {
        found.push_back(entry.path().filename().string());
      }
    }
    if (found.size() == 1) return found;
    return not_found(name_ + (found.empty() ? ": holds no .safetensors file"
                                            : ": holds several .safetensors files but no "
                                              "model.safetensors.index.json"));
  }

  Result<std::vector<std::string>> indexed_shards(const fs::path& index) {
    TRY(const json::Value root, read_json_file(index, kIndexBytesMax));
    const json::Value* map = root.find("weight_map");
    if (map == nullptr || !map->is_object()) {
      return corrupt(index.string() + ": 'weight_map' is not an object");
    }
    std::set<std::string> names;
    for (const auto& [tensor, shard] : map->as_object()) {
      if (!shard.is_string() || !plain_file_name(shard.as_string())) {
        return corrupt(index.string() + ": a shard is not a plain file name");
      }
      names.insert(shard.as_string());
      indexed_.push_back(tensor);
    }
    if (names.empty() || names.size() > kShardsMax) {
      return corrupt(index.string() + ": names " + std::to_string(names.size()) + " shards");
    }
    return std::vector<std::string>(names.begin(), names.end());
  }

  Status add_shard(const fs::path& file) {
    std::error_code ec;
    if (!fs::exists(file, ec)) {
      return not_found(file.string() + ": this shard is missing; download the model again");
    }
    TRY(MappedFile map, MappedFile::open(file));
    auto parsed = parse_safetensors(map.bytes());
    if (!parsed) return std::move(parsed).error().in(file.string());
    for (SafetensorsTensor& t : parsed->tensors) {
      tensors_.push_back({std::move(t.name), t.view});
    }
    files_.push_back(file);
    maps_.push_back(std::move(map));
    return {};
  }

  Status check_index() const {
    for (const std::string& tensor : indexed_) {
      if (find(tensor) == nullptr) {
        return corrupt(name_ + ": tensor '" + tensor.substr(0, 200) +
                       "' of the index is in none of the shards; download the model again");
      }
    }
    return {};
  }

  /// FP4 weights and E8M0 scales are stored as plain bytes by older writers. A byte matrix
  /// [N, K / 2] whose scale has one byte per 32 weights is FP4 [N, K].
  /// Source: the V4 checkpoints (experts I8 with two values per byte, scale per 32, UE8M0).
  void present_packed_types() {
    for (CheckpointTensor& t : tensors_) {
      const bool bytes = t.view.dtype == DType::i8 || t.view.dtype == DType::u8;
      constexpr std::string_view kWeight = ".weight";
      if (!t.name.ends_with(kWeight) || t.view.shape.rank() != 2) continue;
      auto* scale = const_cast<CheckpointTensor*>(
          find(t.name.substr(0, t.name.size() - kWeight.size()) + ".scale"));
      if (scale == nullptr || scale->view.shape.rank() != 2) continue;
      const bool byte_scale = scale->view.dtype == DType::u8 || scale->view.dtype == DType::f8_e8m0;
      if (!byte_scale ||
          (!bytes && t.view.dtype != DType::f8_e4m3 && t.view.dtype != DType::f4_e2m1)) {
        continue;
      }
      const Shape& s = t.view.shape;
      if (bytes) {
        if (scale->view.shape[0] != s[0] || scale->view.shape[1] * 16 != s[1]) continue;
        t.view.shape = Shape{s[0], 2 * s[1]};
        t.view.dtype = DType::f4_e2m1;
      }
      scale->view.dtype = DType::f8_e8m0;
    }
  }

  fs::path directory_;
  std::vector<std::string> indexed_;  ///< the tensors that the index names
};

}  // namespace

Result<std::unique_ptr<const Checkpoint>> open_hf(const fs::path& path) {
  auto checkpoint = std::make_unique<HfCheckpoint>();
  TRY_VOID(checkpoint->load(path));
  return std::unique_ptr<const Checkpoint>(std::move(checkpoint));
}

}  // namespace hadal::format
