#include "format/type_mix.h"

#include <regex.h>

#include <charconv>

namespace hadal::format {
namespace {

bool has(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

bool stays_f32(std::string_view name, const Shape& shape) {
  const bool router = name.ends_with(".mlp.gate.weight") || name.ends_with(".ffn.gate.weight") ||
                      name.ends_with("ffn_gate_inp.weight");
  return shape.rank() < 2 || router || has(name, "hc_attn_") || has(name, "hc_ffn_") ||
         has(name, "hc_head") || has(name, "attn_sink") || has(name, "compressor.ape") ||
         has(name, "indexer.weights_proj");
}

bool is_vocabulary(std::string_view name) {
  return has(name, "embed_tokens.") || has(name, "lm_head.") || name == "embed.weight" ||
         name == "head.weight";
}

bool few_bits(DType dtype) {
  switch (dtype) {
    case DType::q4_0:
    case DType::q4_k:
    case DType::q5_k:
    case DType::iq4_nl:
    case DType::mxfp4: return true;
    default: return false;
  }
}

/// `wanted`, or the nearest type that the rows are whole blocks of.
DType whole_blocks(DType wanted, const Shape& shape) {
  const auto fits = [&](DType d) { return shape.cols() % dtype_info(d).block_elems == 0; };
  if (fits(wanted)) return wanted;
  if (wanted == DType::q4_k && fits(DType::iq4_nl)) return DType::iq4_nl;
  return fits(DType::q8_0) ? DType::q8_0 : DType::f16;
}

/// What feeds the values of attention, and the down projections: an error there is passed on
/// undamped. Source: the mixes of llama.cpp's "M" file types.
bool is_sensitive(std::string_view name) {
  constexpr std::string_view kParts[] = {
      ".v_proj.",   ".kv_b_proj.", ".v_b_proj.", ".kv_a_proj_with_mqa.",
      ".attn.wkv.", ".down_proj.", ".w2."};
  for (const std::string_view part : kParts) {
    if (has(name, part)) return true;
  }
  return false;
}

/// N of "layers.N.", or -1.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kLayers = "layers.";
  const size_t at = name.find(kLayers);
  int64_t layer = -1;
  if (at == std::string_view::npos) return layer;
  const char* from = name.data() + at + kLayers.size();
  std::from_chars(from, name.data() + name.size(), layer);
  return layer;
}

bool gets_more_bits(int64_t layer, int64_t layers) {
  if (layer < 0) return false;
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

}  // namespace

/// An expression and the type of what it matches.
struct TypeMix::Override {
  explicit Override(std::string_view written) : text(written) {}
  Override(const Override&) = delete;
  Override& operator=(const Override&) = delete;
  ~Override() {
    if (compiled) ::regfree(&expression);
  }

  Status compile() {
    const size_t equals = text.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return invalid_argument("'" + text + "' is not REGEX=TYPE").about("tensor-type");
    }
    const auto named = dtype_from_name(text.substr(equals + 1));
    const bool plain = named == DType::f32 || named == DType::f16 || named == DType::bf16;
    const bool known = named == DType::q8_0 || named == DType::q6_k || (named && few_bits(*named));
    if (!plain && !known) {
      return invalid_argument("'" + text + "': '" + text.substr(equals + 1) + "' is no type")
          .about("tensor-type")
          .with_hint("f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q4_0, iq4_nl or mxfp4");
    }
    dtype = *named;
    const int code = ::regcomp(&expression, text.substr(0, equals).c_str(), REG_EXTENDED);
    if (code != 0) {
      char why[128];
      ::regerror(code, &expression, why, sizeof why);
      return invalid_argument("'" + text + "': " + why).about("tensor-type");
    }
    compiled = true;
    return {};
  }
  bool matches(std::string_view name) const {
    return ::regexec(&expression, std::string(name).c_str(), 0, nullptr, 0) == 0;
  }

  std::string text;
  DType dtype = DType::f32;
  regex_t expression{};
  bool compiled = false;
  bool matched = false;
};

TypeMix::TypeMix() = default;
TypeMix::TypeMix(TypeMix&&) noexcept = default;
TypeMix& TypeMix::operator=(TypeMix&&) noexcept = default;
TypeMix::~TypeMix() = default;

DType storage_dtype(std::string_view name, const Shape& shape, DType dtype) {
  if (stays_f32(name, shape)) return DType::f32;
  return whole_blocks(few_bits(dtype) && is_vocabulary(name) ? DType::q6_k : dtype, shape);
}

Result<TypeMix> TypeMix::create(std::string_view name, std::span<const std::string> overrides) {
  TypeMix mix;
  mix.name_ = name;
  mix.medium_ = name.ends_with("_m");
  const auto base = dtype_from_name(mix.medium_ ? name.substr(0, name.size() - 2) : name);
  const bool known = base && (few_bits(*base) || base == DType::q6_k || base == DType::q8_0);
  if (!known || (mix.medium_ && base != DType::q4_k && base != DType::q5_k)) {
    return invalid_argument("'" + mix.name_ + "' is no type of a quantized file").about("type");
  }
  mix.base_ = *base;
  for (const std::string& text : overrides) {
    mix.overrides_.push_back(std::make_unique<Override>(text));
    TRY_VOID(mix.overrides_.back()->compile());
  }
  return mix;
}

DType TypeMix::dtype_of(const TensorPlace& place) const {
  if (stays_f32(place.hf_name, place.shape)) return DType::f32;
  for (const auto& one : overrides_) {
    if (!one->matches(place.hf_name) && !one->matches(place.gguf_name)) continue;
    one->matched = true;
    return whole_blocks(one->dtype, place.shape);
  }
  const bool more = medium_ && is_sensitive(place.hf_name) &&
                    gets_more_bits(layer_of(place.hf_name), place.layers);
  return more ? whole_blocks(DType::q6_k, place.shape)
              : storage_dtype(place.hf_name, place.shape, base_);
}

std::vector<std::string> TypeMix::unmatched() const {
  std::vector<std::string> out;
  for (const auto& one : overrides_) {
    if (!one->matched) out.push_back(one->text);
  }
  return out;
}

}  // namespace hadal::format
