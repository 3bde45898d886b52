#include "format/synth.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <system_error>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "base/units.h"
#include "base/utf8.h"
#include "format/gguf_metadata.h"
#include "format/gguf_names.h"
#include "format/gguf_writer.h"
#include "format/hf_directory.h"
#include "format/internal/half.h"
#include "format/internal/little_endian.h"
#include "format/internal/random_weights.h"
#include "format/output_file.h"
#include "format/safetensors_writer.h"
#include "format/tensor_list.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFirstSpecial = 256;

/// A tensor to be made.
struct Made {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  float deviation = 0;  ///< 0: every element is `constant`
  float constant = 0;
  int64_t integers_below = 0;  ///< above 0: random integers
};

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> tails) {
  return std::any_of(tails.begin(), tails.end(),
                     [&](std::string_view t) { return name.ends_with(t); });
}

/// The start values that keep every activation near magnitude 1: 1 / sqrt(K) for a projection of a
/// normed vector, less by sqrt(2 L) for what is added to the residual stream.
void set_start(Made& m, int64_t layers) {
  const std::string& n = m.name;
  if (n.find("hc_") != std::string::npos && n.ends_with("_scale")) {
    m.constant = 1;
  } else if (m.shape.rank() < 2) {
    // Norms are 1; biases, sinks and bases 0.
    m.constant = n.ends_with("norm.weight") ? 1.0f : 0.0f;
  } else if (ends_with_any(n, {"embed_tokens.weight", "embed.weight"}) || n == "embed.weight") {
    m.deviation = 1;
  } else {
    m.deviation = 1 / std::sqrt(static_cast<float>(m.shape.cols()));
    const bool residual =
        ends_with_any(n, {"o_proj.weight", "down_proj.weight", "wo_b.weight", ".w2.weight"});
    if (residual) m.deviation /= std::sqrt(2 * static_cast<float>(layers));
    if (ends_with_any(n, {"lm_head.weight", "head.weight"})) m.deviation *= 3;
  }
}

/// Made-up words: "Ġ" (a space) and syllables spelling the number.
std::string word(int64_t number) {
  constexpr std::string_view kConsonants = "bdfgklmnprstvz", kVowels = "aeiou";
  std::string out = "\xC4\xA0";
  do {
    out += kConsonants[static_cast<size_t>(number) % kConsonants.size()];
    number /= static_cast<int64_t>(kConsonants.size());
    out += kVowels[static_cast<size_t>(number) % kVowels.size()];
    number /= static_cast<int64_t>(kVowels.size());
  } while (number > 0);
  return out;
}

/// GPT-2's printable character for a byte. Source: OpenAI gpt-2, encoder.py, bytes_to_unicode.
std::string byte_token(int byte) {
  int shifted = 0;
  for (int b = 0; b < byte; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    if (!printable) ++shifted;
  }
  const bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  std::string out;
  append_utf8(out, static_cast<uint32_t>(itself ? byte : 256 + shifted));
  return out;
}

TokenizerSource tokenizer(std::string_view model_type, int64_t vocab) {
  TokenizerSource t;
  t.gguf_model = "gpt2";
  t.gguf_pre = model_type.starts_with("qwen") ? "deepseek-r1-qwen"
               : model_type == "llama"        ? "llama-bpe"
                                              : "deepseek-v3";
  for (int b = 0; b < 256; ++b) t.tokens.push_back(byte_token(b));
  t.token_types.assign(256, 1);
  for (const char* special : {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>",
                              "<｜Assistant｜>", "<think>", "</think>", "｜DSML｜"}) {
    t.tokens.emplace_back(special);
    t.token_types.push_back(3);
  }
  for (int64_t i = static_cast<int64_t>(t.tokens.size()); i < vocab; ++i) {
    t.tokens.push_back(word(i));
    t.token_types.push_back(1);
  }
  t.bos_id = kFirstSpecial;
  t.eos_id = kFirstSpecial + 1;
  t.add_bos = true;
  return t;
}

/// Draws up what is written, in either format.
class Draft {
 public:
  Draft(const SynthOptions& options, const json::Value& config, std::string_view arch)
      : options_(options), config_(config), arch_(arch) {}

  Status run() {
    TRY(const std::vector<TensorSpec> specs, expected_tensors(config_));
    TRY(layers_, config_.int_at("num_hidden_layers"));
    for (const TensorSpec& spec : specs) {
      if (options_.to == CheckpointKind::gguf) {
        TRY_VOID(add_gguf(spec));
      } else {
        add_hf(spec);
      }
    }
    for (auto& [name, stack] : stacks_) made_.push_back(std::move(stack));
    return {};
  }
  const std::vector<Made>& made() const { return made_; }

 private:
  Made make(const TensorSpec& spec) {
    Made m{.name = spec.name,
           .dtype = storage_dtype(spec.name, spec.shape, options_.dtype),
           .shape = spec.shape};
    set_start(m, layers_);
    if (spec.integer) {
      m.dtype = options_.to == CheckpointKind::gguf ? DType::i32 : DType::i64;
      m.integers_below = config_.int_or("n_routed_experts", 1).value_or(1);
    }
    return m;
  }

  Status add_gguf(const TensorSpec& spec) {
    const GgufName name = gguf_name_of_hf(arch_, spec.name);
    if (name.expert && stacks_.count(name.name) == 1) return {};
    Made m = make(spec);
    m.name = name.name;
    if (!name.expert) {
      made_.push_back(std::move(m));
      return {};
    }
    TRY(const int64_t experts, config_.int_at("n_routed_experts"));
    m.shape = Shape{experts, spec.shape[0], spec.shape[1]};
    stacks_.emplace(name.name, std::move(m));
    return {};
  }

  void add_hf(const TensorSpec& spec) {
    Made m = make(spec);
    const bool int8 = m.dtype == DType::i8;
    const bool matrix = m.dtype == DType::f8_e4m3 || int8;
    const bool plain = ends_with_any(m.name, {"embed_tokens.weight", "embed.weight", "head.weight",
                                              "lm_head.weight"}) ||
                       m.name.find("compressor") != std::string::npos;
    if (!matrix || plain) {
      // As the published files: what is not FP8 or INT8 is BF16, but for hyper-connections and
      // biases.
      if (matrix) m.dtype = DType::bf16;
      made_.push_back(std::move(m));
      return;
    }
    if (int8) {
      Made scale{.name = m.name + "_scale", .dtype = DType::f32, .shape = Shape{m.shape[0], 1}};
      scale.constant = m.deviation / kInt8Deviation;
      made_.push_back(std::move(m));
      made_.push_back(std::move(scale));
      return;
    }
    const bool v4 = arch_ == "deepseek4";
    const bool fp4 = v4 && m.name.find(".experts.") != std::string::npos;
    Made scale{.name = v4 ? m.name.substr(0, m.name.rfind('.')) + ".scale" : m.name + "_scale_inv",
               .dtype = v4 ? DType::f8_e8m0 : DType::f32};
    scale.constant = m.deviation / (fp4 ? kFp4Deviation : kFp8Deviation);
    scale.shape = fp4 ? Shape{m.shape[0], ceil_div(m.shape[1], 32)}
                      : Shape{ceil_div(m.shape[0], 128), ceil_div(m.shape[1], 128)};
    if (fp4) m.dtype = DType::f4_e2m1;
    made_.push_back(std::move(m));
    made_.push_back(std::move(scale));
  }

  const SynthOptions& options_;
  const json::Value& config_;
  std::string arch_;
  int64_t layers_ = 1;
  std::vector<Made> made_;
  std::map<std::string, Made> stacks_;
};

void fill_constant(const Made& m, std::span<std::byte> out) {
  for (size_t i = 0; i < out.size();) {
    if (m.dtype == DType::f32) {
      store(out.data() + i, m.constant);
      i += 4;
    } else if (m.dtype == DType::f8_e8m0) {
      const int power = static_cast<int>(std::lround(std::log2(m.constant)));
      store(out.data() + i, static_cast<uint8_t>(std::clamp(power + 127, 1, 254)));
      i += 1;
    } else {
      store(out.data() + i,
            m.dtype == DType::f16 ? f16_of_f32(m.constant) : bf16_of_f32(m.constant));
      i += 2;
    }
  }
}

void fill_integers(const Made& m, uint64_t stream, std::span<std::byte> out) {
  Rng rng(stream);
  const size_t each = m.dtype == DType::i64 ? 8 : 4;
  for (size_t i = 0; i < out.size(); i += each) {
    const uint64_t v = rng.next_below(static_cast<uint64_t>(m.integers_below));
    if (each == 8) {
      store(out.data() + i, static_cast<int64_t>(v));
    } else {
      store(out.data() + i, static_cast<int32_t>(v));
    }
  }
}

/// Writes one tensor in pieces that are filled in parallel.
Status write_made(const Made& m, uint64_t seed, ThreadPool& pool, OutputFile& file,
                  const std::function<Status()>& step) {
  const DTypeInfo& info = dtype_info(m.dtype);
  TRY(const uint64_t bytes, storage_bytes(m.dtype, static_cast<uint64_t>(m.shape.rows()),
                                          static_cast<uint64_t>(m.shape.cols())));
  const auto block = static_cast<uint64_t>(info.block_bytes);
  // A piece is a fixed number of blocks, so the bytes do not depend on the number of threads.
  const uint64_t piece = (256 * kKiB / block / 8 + 1) * 8 * block;
  constexpr uint64_t kPiecesAtOnce = 64;
  std::vector<std::byte> out;
  for (uint64_t at = 0; at < bytes; at += kPiecesAtOnce * piece) {
    out.resize(std::min(bytes - at, kPiecesAtOnce * piece));
    const auto pieces = static_cast<int64_t>((out.size() + piece - 1) / piece);
    pool.run(pieces, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        const uint64_t first = static_cast<uint64_t>(p) * piece;
        const auto span = std::span(out).subspan(first, std::min(piece, out.size() - first));
        const uint64_t stream = splitmix64(seed) ^ (at + first);
        if (m.integers_below > 0) {
          fill_integers(m, stream, span);
        } else if (m.deviation == 0) {
          fill_constant(m, span);
        } else {
          fill_random(m.dtype, m.deviation, stream, span);
        }
      }
    });
    TRY_VOID(file.write(out));
    TRY_VOID(step());
  }
  return {};
}

Status write_all(const std::vector<Made>& made, uint64_t total, uint64_t alignment,
                 const SynthOptions& options, OutputFile& file) {
  ThreadPool pool(options.threads);
  const auto step = [&]() -> Status {
    if (options.progress && !options.progress(file.bytes(), total)) {
      return make_error(ErrorCode::cancelled, "stopped; nothing was written");
    }
    return {};
  };
  uint64_t index = 0;
  for (const Made& m : made) {
    TRY_VOID(write_made(m, options.seed * 0x100000001ull + index++, pool, file, step));
    TRY_VOID(file.pad(alignment));
  }
  return {};
}

Result<ConvertReport> write_gguf(const SynthOptions& options, const json::Value& config,
                                 const std::vector<Made>& made, const TokenizerSource& tokens,
                                 const fs::path& out) {
  GgufWriter writer;
  TRY_VOID(put_model_metadata(
      writer, config, {.name = options.shape + " (random weights)", .file_dtype = options.dtype}));
  TRY_VOID(put_tokenizer_metadata(writer, tokens, config, 0));
  for (const Made& m : made) TRY_VOID(writer.add_tensor(m.name, m.dtype, m.shape));
  TRY(OutputFile file, OutputFile::create(out, writer.file_bytes()));
  TRY_VOID(file.write(writer.header()));
  TRY_VOID(write_all(made, writer.file_bytes(), GgufWriter::kAlignment, options, file));
  TRY_VOID(file.commit());
  return ConvertReport{.tensors = made.size(), .bytes = file.bytes(), .types = {}, .notes = {}};
}

/// What compressed-tensors says of weights per channel and activations per token.
json::Value int8_config() {
  const auto ints = [](const char* strategy, bool dynamic) {
    json::Value v;
    v.set("num_bits", 8);
    v.set("type", "int");
    v.set("symmetric", true);
    v.set("strategy", strategy);
    v.set("dynamic", dynamic);
    return v;
  };
  json::Value group;
  group.set("targets", json::Array{json::Value("Linear")});
  group.set("weights", ints("channel", false));
  group.set("input_activations", ints("token", true));
  json::Value groups;
  groups.set("group_0", std::move(group));
  json::Value q;
  q.set("quant_method", "compressed-tensors");
  q.set("format", "int-quantized");
  q.set("config_groups", std::move(groups));
  return q;
}

Result<ConvertReport> write_directory(const SynthOptions& options, json::Value config,
                                      const std::vector<Made>& made, const TokenizerSource& tokens,
                                      const fs::path& out) {
  SafetensorsWriter writer;
  for (const Made& m : made) TRY_VOID(writer.add_tensor(m.name, m.dtype, m.shape));
  if (options.dtype == DType::f8_e4m3) {
    json::Value q;
    q.set("quant_method", "fp8");
    q.set("fmt", "e4m3");
    q.set("activation_scheme", "dynamic");
    q.set("weight_block_size", json::Array{json::Value(128), json::Value(128)});
    config.set("quantization_config", std::move(q));
  }
  if (options.dtype == DType::i8) config.set("quantization_config", int8_config());
  const std::string header = writer.header();
  TRY(HfDirectory directory, HfDirectory::create(out));
  TRY(OutputFile file,
      OutputFile::create(directory.weights(), header.size() + writer.data_bytes()));
  TRY_VOID(file.write(header));
  TRY_VOID(write_all(made, header.size() + writer.data_bytes(), 1, options, file));
  TRY_VOID(directory.write_text("config.json", json::dump(config, json::Style::pretty)));
  TRY(const std::string tokenizer_json, tokenizer_json_of(tokens));
  TRY_VOID(directory.write_text("tokenizer.json", tokenizer_json));
  TRY_VOID(directory.write_text("tokenizer_config.json", tokenizer_config_json_of(tokens)));
  TRY_VOID(file.commit());
  directory.keep();
  return ConvertReport{.tensors = made.size(), .bytes = file.bytes(), .types = {}, .notes = {}};
}

}  // namespace

Result<ConvertReport> synthesize(const SynthOptions& options, const fs::path& out) {
  if (options.to == CheckpointKind::gguf && options.dtype == DType::i8) {
    return unsupported("GGUF has no weights of i8; write safetensors, or choose q8_0");
  }
  TRY(json::Value config, synth_config(options));
  TRY(const std::string type, config.string_at("model_type"));
  TRY(const int64_t vocab, config.int_at("vocab_size"));
  const TokenizerSource tokens = tokenizer(type, vocab);
  if (static_cast<int64_t>(tokens.tokens.size()) > vocab) {
    return invalid_argument("a vocabulary of " + std::to_string(vocab) + " is too small; " +
                            std::to_string(tokens.tokens.size()) + " is the least");
  }
  config.set("bos_token_id", *tokens.bos_id);
  config.set("eos_token_id", *tokens.eos_id);
  Draft draft(options, config, gguf_arch_of_model_type(type));
  TRY_VOID(draft.run());
  if (options.to == CheckpointKind::gguf) {
    return write_gguf(options, config, draft.made(), tokens, out);
  }
  return write_directory(options, std::move(config), draft.made(), tokens, out);
}

}  // namespace hadal::format
