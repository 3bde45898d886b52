#include "format/convert.h"

#include <algorithm>
#include <map>
#include <system_error>

#include "base/units.h"
#include "format/gguf_metadata.h"
#include "format/gguf_names.h"
#include "format/gguf_writer.h"
#include "format/hf_directory.h"
#include "format/internal/weight_rows.h"
#include "format/quantize.h"
#include "format/safetensors_writer.h"
#include "format/weight_scale.h"

namespace hadal::format {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kExpertsMax = 4096;

/// A tensor to be written: parts one after another (experts of a stack), or made on demand.
struct Planned {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::vector<WeightRows> parts;
  const ImportanceEntry* importance = nullptr;
  std::function<Result<std::vector<float>>()> make;  ///< instead of parts
};

bool is_integer(DType dtype) {
  return dtype == DType::i8 || dtype == DType::u8 || dtype == DType::i16 || dtype == DType::i32 ||
         dtype == DType::i64;
}

/// Builds the list of what is written, from the tensors of a checkpoint.
class Planner {
 public:
  Planner(const Checkpoint& from, const ConvertOptions& options, std::string_view arch)
      : from_(from), options_(options), arch_(arch) {}

  Status run() {
    TRY_VOID(read_config());
    for (const CheckpointTensor& t : from_.tensors()) {
      if (t.name == "rope_freqs.weight" && !to_gguf()) {
        notes_.push_back("rope_freqs.weight is llama.cpp's; it is left out");
        continue;
      }
      if (belongs_to_weight(t)) continue;
      auto added = add(t);
      if (!added) return std::move(added).error().in("tensor '" + t.name + "'");
    }
    if (to_gguf()) TRY_VOID(add_rope_factors());
    TRY_VOID(finish_stacks());
    TRY_VOID(check_overrides());
    return add_importance();
  }

  std::vector<Planned>& plan() { return plan_; }
  std::vector<std::string>& notes() { return notes_; }
  bool latent_split() const { return latent_split_; }

 private:
  bool to_gguf() const { return options_.to == CheckpointKind::gguf; }

  Status read_config() {
    const json::Value& c = from_.config();
    TRY(interleaved_, c.bool_or("hadal_rope_interleaved", false));
    TRY(heads_, c.int_or("num_attention_heads", 1));
    TRY(kv_heads_, c.int_or("num_key_value_heads", heads_));
    TRY(experts_, c.int_or("n_routed_experts", 0));
    TRY(layers_, c.int_or("num_hidden_layers", 0));
    if (heads_ < 1 || kv_heads_ < 1) return invalid_argument("config: heads are not positive");
    if (experts_ < 0 || experts_ > kExpertsMax) {
      return invalid_argument("config: 'n_routed_experts' is out of range");
    }
    const json::Value* q = c.find("quantization_config");
    const json::Value* block = q == nullptr ? nullptr : q->find("weight_block_size");
    if (block != nullptr && block->is_array() && block->as_array().size() == 2 &&
        block->as_array()[0].is_int() && block->as_array()[1].is_int()) {
      block_rows_ = block->as_array()[0].as_int();
      block_cols_ = block->as_array()[1].as_int();
    }
    if (block_rows_ < 1 || block_cols_ < 1 || block_rows_ > 65536 || block_cols_ > 65536) {
      return invalid_argument("config: 'weight_block_size' does not make sense");
    }
    return {};
  }

  /// Whether a tensor scales another one, which takes it along.
  bool belongs_to_weight(const CheckpointTensor& scale) const {
    if (!is_scale_name(scale.name)) return false;
    const std::string stem = scale.name.substr(0, scale.name.rfind('.'));
    const CheckpointTensor* w = from_.find(stem + ".weight");
    if (w == nullptr) return false;
    const DType d = w->view.dtype;
    return d == DType::f8_e4m3 || d == DType::f4_e2m1 || is_int8_weight(from_, *w);
  }

  /// Whether rows of this tensor change places, and among how many heads.
  void set_order(const std::string& name, WeightRows& rows) const {
    if (arch_ != "llama" && arch_ != "deepseek") return;
    const bool q = name.find(".self_attn.q_proj.") != std::string::npos;
    const bool k = name.find(".self_attn.k_proj.") != std::string::npos;
    if ((!q && !k) || interleaved_ == to_gguf()) return;
    rows.heads = q ? heads_ : kv_heads_;
    rows.order = to_gguf() ? RowOrder::to_neighbours : RowOrder::to_halves;
    // A bias is one row; its elements are what moves.
    if (rows.weight.data.shape.rank() == 1) {
      rows.weight.data.shape = Shape{rows.weight.data.shape[0], 1};
    }
  }

  DType wanted_dtype(const std::string& name, const Shape& shape) const {
    if (options_.mix == nullptr) return storage_dtype(name, shape, options_.dtype);
    const std::string gguf_name = gguf_name_of_hf(arch_, name).name;
    return options_.mix->dtype_of(
        {.hf_name = name, .gguf_name = gguf_name, .shape = shape, .layers = layers_});
  }

  DType target(const CheckpointTensor& t) const {
    const DType d = t.view.dtype;
    if (d == DType::i64 && to_gguf()) return DType::i32;
    if (is_integer(d) && !is_int8_weight(from_, t)) return d;
    // A vector that is plain already keeps its type in safetensors, as Hugging Face stores it.
    const bool plain = d == DType::f32 || d == DType::f16 || d == DType::bf16;
    const DType wanted = wanted_dtype(t.name, t.view.shape);
    return !to_gguf() && plain && t.view.shape.rank() < 2 ? d : wanted;
  }

  Status add(const CheckpointTensor& t) {
    if (to_gguf() && t.view.shape.rank() == 0) return unsupported("a scalar");
    if (t.name.find(".k_b_proj.") != std::string::npos) {
      latent_split_ = true;
      if (!to_gguf()) return join_latent(t);
    }
    if (t.name.find(".v_b_proj.") != std::string::npos && !to_gguf()) return {};
    Planned p{.name = t.name, .dtype = target(t), .shape = t.view.shape};
    TRY_VOID(check_twice(t.view.dtype, p.dtype));
    WeightRows rows;
    TRY(const ScaledWeight scaled, with_scale(from_, t, block_rows_, block_cols_));
    rows.weight = scaled.view;
    set_order(t.name, rows);
    if (rows.order != RowOrder::as_is && rows.rows() % (2 * rows.heads) != 0) {
      return corrupt("its rows are not whole heads of an even size");
    }
    if (!to_gguf()) {
      p.parts.push_back(rows);
      plan_.push_back(std::move(p));
      return {};
    }
    const GgufName name = gguf_name_of_hf(arch_, t.name);
    p.name = name.name;
    p.parts.push_back(rows);
    if (name.expert) return add_expert(std::move(p), *name.expert);
    plan_.push_back(std::move(p));
    return {};
  }

  /// Rounding what was rounded already loses more than rounding once.
  Status check_twice(DType from, DType to) const {
    const auto blocks = [](DType d) { return d == DType::i8 || dtype_info(d).block_elems > 2; };
    if (options_.requantize || from == to || !blocks(from) || !blocks(to)) return {};
    return invalid_argument("it is quantized already, as " + std::string(dtype_name(from)))
        .with_hint("start from the original weights, or accept the loss with --allow-requantize");
  }

  Status check_overrides() const {
    if (options_.mix == nullptr) return {};
    const std::vector<std::string> unmatched = options_.mix->unmatched();
    if (unmatched.empty()) return {};
    return invalid_argument("'" + unmatched[0] + "' matches no matrix of this model")
        .about("tensor-type")
        .with_hint("`hadal inspect --tensors` lists the names");
  }

  /// Finds for each matrix that is quantized with choices what its input looked like.
  Status add_importance() {
    if (options_.importance == nullptr) return {};
    size_t without = 0;
    std::string example;
    for (Planned& p : plan_) {
      if (dtype_info(p.dtype).block_elems <= 2 || p.dtype == DType::q8_0 || p.parts.empty())
        continue;
      p.importance = options_.importance->find(p.name);
      if (p.importance == nullptr) {
        if (p.name == "token_embd.weight") continue;  // its rows are looked up
        ++without;
        example = p.name;
        continue;
      }
      const int64_t rows =
          p.parts.size() > 1 ? static_cast<int64_t>(p.parts.size()) : p.parts[0].rows();
      const int64_t blocks = p.importance->blocks;
      const bool fits = p.importance->channels == p.shape.cols() &&
                        (p.parts.size() > 1 ? blocks == rows : rows % blocks == 0);
      if (!fits) {
        return invalid_argument("the importance matrix has " + std::to_string(blocks) + " x " +
                                std::to_string(p.importance->channels) + " numbers for '" + p.name +
                                "' " + p.shape.to_string() + "; it is of another model");
      }
    }
    if (without > 0) {
      notes_.push_back("the importance matrix has nothing for " + std::to_string(without) +
                       " quantized tensors, such as '" + example + "'");
    }
    return {};
  }

  Status add_expert(Planned&& one, int64_t expert) {
    if (expert >= experts_) return corrupt("the configuration has fewer experts");
    if (one.shape.rank() != 2) return corrupt("an expert that is not a matrix");
    Planned& stack = stacks_[one.name];
    if (stack.parts.empty()) {
      stack = Planned{.name = one.name,
                      .dtype = one.dtype,
                      .shape = Shape{experts_, one.shape[0], one.shape[1]}};
      stack.parts.resize(static_cast<size_t>(experts_));
    }
    if (stack.shape[1] != one.shape[0] || stack.shape[2] != one.shape[1]) {
      return corrupt("its shape differs from the other experts'");
    }
    stack.parts[static_cast<size_t>(expert)] = one.parts[0];
    return {};
  }

  Status finish_stacks() {
    for (auto& [name, stack] : stacks_) {
      for (size_t e = 0; e < stack.parts.size(); ++e) {
        if (stack.parts[e].weight.empty()) {
          return corrupt("tensor '" + name + "': expert " + std::to_string(e) + " is missing");
        }
      }
      plan_.push_back(std::move(stack));
    }
    return {};
  }

  /// kv_b [H (nope + v), C] from k_b [H, C, nope] and v_b [H, v, C].
  Status join_latent(const CheckpointTensor& k_b) {
    std::string v_name = k_b.name;
    v_name.replace(v_name.find(".k_b_proj."), 10, ".v_b_proj.");
    const CheckpointTensor* v_b = from_.find(v_name);
    const Shape& ks = k_b.view.shape;
    if (v_b == nullptr || ks.rank() != 3 || v_b->view.shape.rank() != 3 ||
        v_b->view.shape[0] != ks[0] || v_b->view.shape[2] != ks[1]) {
      return corrupt("it does not fit its v_b_proj");
    }
    const int64_t heads = ks[0], latent = ks[1], nope = ks[2], value = v_b->view.shape[1];
    Planned p{
        .name = k_b.name, .dtype = options_.dtype, .shape = Shape{heads * (nope + value), latent}};
    p.name.replace(p.name.find(".k_b_proj."), 10, ".kv_b_proj.");
    p.dtype = wanted_dtype(p.name, p.shape);
    const ConstTensorView k = k_b.view, v = v_b->view;
    p.make = [=]() -> Result<std::vector<float>> {
      std::vector<float> from_k(static_cast<size_t>(k.shape.elements()));
      std::vector<float> from_v(static_cast<size_t>(v.shape.elements()));
      TRY_VOID(dequantize(k.dtype, {k.data, static_cast<size_t>(k.bytes())}, from_k));
      TRY_VOID(dequantize(v.dtype, {v.data, static_cast<size_t>(v.bytes())}, from_v));
      std::vector<float> out;
      out.reserve(from_k.size() + from_v.size());
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t n = 0; n < nope; ++n) {
          for (int64_t c = 0; c < latent; ++c) {
            out.push_back(from_k[static_cast<size_t>((h * latent + c) * nope + n)]);
          }
        }
        const auto begin = from_v.begin() + h * value * latent;
        out.insert(out.end(), begin, begin + value * latent);
      }
      return out;
    };
    plan_.push_back(std::move(p));
    return {};
  }

  /// llama.cpp reads llama3 scaling from a tensor.
  Status add_rope_factors() {
    if (arch_ != "llama" || from_.find("rope_freqs.weight") != nullptr) return {};
    TRY(std::vector<float> factors, llama3_rope_factors(from_.config()));
    if (factors.empty()) return {};
    Planned p{.name = "rope_freqs.weight",
              .dtype = DType::f32,
              .shape = Shape{static_cast<int64_t>(factors.size())}};
    p.make = [factors]() -> Result<std::vector<float>> { return factors; };
    plan_.push_back(std::move(p));
    return {};
  }

  const Checkpoint& from_;
  const ConvertOptions& options_;
  std::string arch_;
  bool interleaved_ = false, latent_split_ = false;
  int64_t heads_ = 1, kv_heads_ = 1, experts_ = 0, layers_ = 0;
  int64_t block_rows_ = 128, block_cols_ = 128;
  std::vector<Planned> plan_;
  std::map<std::string, Planned> stacks_;
  std::vector<std::string> notes_;
};

/// Writes the planned tensors' bytes, each padded to `alignment`.
Status write_tensors(const std::vector<Planned>& plan, uint64_t total, uint64_t alignment,
                     const ConvertOptions& options, OutputFile& file) {
  ThreadPool pool(options.threads);
  const auto step = [&](uint64_t) -> Status {
    if (options.progress && !options.progress(file.bytes(), total)) {
      return make_error(ErrorCode::cancelled, "stopped; nothing was written");
    }
    return {};
  };
  for (const Planned& p : plan) {
    std::vector<WeightRows> parts = p.parts;
    std::vector<float> made;
    if (p.make) {
      TRY(made, p.make());
      WeightRows rows;
      rows.weight.data = {reinterpret_cast<const std::byte*>(made.data()), DType::f32, p.shape};
      parts.push_back(rows);
    }
    std::vector<float> means;
    if (p.importance != nullptr) means = p.importance->means();
    const size_t share = means.size() / std::max<size_t>(1, parts.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      WeightRows& rows = parts[i];
      rows.importance = std::span(means).subspan(i * share, share);
      auto done = write_rows(rows, p.dtype, pool, file, step);
      if (!done) return std::move(done).error().in("tensor '" + p.name + "'");
    }
    TRY_VOID(file.pad(alignment));
  }
  return {};
}

ConvertReport report_of(Planner& planner, uint64_t bytes) {
  ConvertReport out{
      .tensors = planner.plan().size(), .bytes = bytes, .types = {}, .notes = planner.notes()};
  for (const Planned& p : planner.plan()) {
    TypeShare& share = out.types[p.dtype];
    ++share.tensors;
    share.numbers += static_cast<uint64_t>(p.shape.elements());
    share.bytes += static_cast<uint64_t>(ConstTensorView{nullptr, p.dtype, p.shape}.bytes());
  }
  return out;
}

/// What llama.cpp's quantize tool tells of an importance matrix.
void put_importance_metadata(GgufWriter& writer, const ImportanceMatrix& importance) {
  if (!importance.datasets.empty())
    writer.put_string("quantize.imatrix.dataset", importance.datasets[0]);
  writer.put_u32("quantize.imatrix.entries_count",
                 static_cast<uint32_t>(importance.entries().size()));
  writer.put_u32("quantize.imatrix.chunks_count", importance.chunks);
}

Result<ConvertReport> to_gguf(const Checkpoint& from, Planner& planner, const fs::path& out,
                              const ConvertOptions& options) {
  GgufWriter writer;
  TRY_VOID(put_model_metadata(writer, from.config(),
                              {.name = out.stem().string(),
                               .file_dtype = options.mix ? options.mix->base() : options.dtype,
                               .medium = options.mix != nullptr && options.mix->medium(),
                               .latent_split = planner.latent_split()}));
  if (!from.generation_config().is_null()) {
    writer.put_string("hadal.generation_config_json", json::dump(from.generation_config()));
  }
  TRY(const int64_t vocab, from.config().int_at("vocab_size"));
  auto tokenizer = from.tokenizer_source();
  if (tokenizer) {
    TRY_VOID(put_tokenizer_metadata(writer, *tokenizer, from.config(), vocab));
  } else if (tokenizer.error().code == ErrorCode::not_found) {
    planner.notes().push_back("no tokenizer: " + tokenizer.error().message);
  } else {
    return tokenizer.error();
  }
  if (options.importance != nullptr) put_importance_metadata(writer, *options.importance);
  for (const Planned& p : planner.plan()) {
    TRY_VOID(writer.add_tensor(p.name, p.dtype, p.shape));
  }
  TRY(OutputFile file, OutputFile::create(out, writer.file_bytes()));
  TRY_VOID(file.write(writer.header()));
  TRY_VOID(
      write_tensors(planner.plan(), writer.file_bytes(), GgufWriter::kAlignment, options, file));
  TRY_VOID(file.commit());
  return report_of(planner, file.bytes());
}

/// The small files of a Hugging Face directory.
Status write_side_files(const Checkpoint& from, const HfDirectory& to, DType dtype,
                        std::vector<std::string>& notes) {
  json::Value config = plain_config(from.config());
  config.set("torch_dtype", dtype == DType::f32   ? "float32"
                            : dtype == DType::f16 ? "float16"
                                                  : "bfloat16");
  TRY_VOID(to.write_text("config.json", json::dump(config, json::Style::pretty)));
  if (!from.generation_config().is_null()) {
    TRY_VOID(to.write_text("generation_config.json",
                           json::dump(from.generation_config(), json::Style::pretty)));
  }
  auto source = from.tokenizer_source();
  if (!source) {
    notes.push_back("no tokenizer: " + source.error().message);
    return {};
  }
  TRY(const std::string tokenizer, tokenizer_json_of(*source));
  if (tokenizer.empty()) {
    notes.push_back("no tokenizer.json: the pre-tokenizer '" + source->gguf_pre +
                    "' of this GGUF file cannot be spelled out");
  }
  TRY_VOID(to.write_text("tokenizer.json", tokenizer));
  TRY_VOID(to.write_text("tokenizer_config.json", tokenizer_config_json_of(*source)));
  return to.write_text("chat_template.jinja", source->chat_template);
}

Result<ConvertReport> to_directory(const Checkpoint& from, Planner& planner, const fs::path& out,
                                   const ConvertOptions& options) {
  SafetensorsWriter writer;
  for (const Planned& p : planner.plan()) {
    TRY_VOID(writer.add_tensor(p.name, p.dtype, p.shape));
  }
  const std::string header = writer.header();
  TRY(HfDirectory directory, HfDirectory::create(out));
  TRY(OutputFile file,
      OutputFile::create(directory.weights(), header.size() + writer.data_bytes()));
  TRY_VOID(file.write(header));
  TRY_VOID(write_tensors(planner.plan(), header.size() + writer.data_bytes(), 1, options, file));
  TRY_VOID(write_side_files(from, directory, options.dtype, planner.notes()));
  TRY_VOID(file.commit());
  directory.keep();
  return report_of(planner, file.bytes());
}

}  // namespace

Result<ConvertReport> convert(const Checkpoint& checkpoint, const fs::path& out,
                              const ConvertOptions& options) {
  const bool gguf = options.to == CheckpointKind::gguf;
  const bool plain =
      options.dtype == DType::f32 || options.dtype == DType::f16 || options.dtype == DType::bf16;
  if (!gguf && !plain) {
    return unsupported("safetensors with " + std::string(dtype_name(options.dtype)) +
                       "; choose f32, f16 or bf16, or write a .gguf");
  }
  TRY(const std::string type, checkpoint.config().string_or("model_type", ""));
  Planner planner(checkpoint, options, gguf_arch_of_model_type(type));
  auto planned = planner.run();
  if (!planned) return std::move(planned).error().in(checkpoint.name());
  return gguf ? to_gguf(checkpoint, planner, out, options)
              : to_directory(checkpoint, planner, out, options);
}

}  // namespace hadal::format
