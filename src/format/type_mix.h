#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/tensor_view.h"

namespace hadal::format {

/// The type a tensor is stored as when most matrices are `dtype`: f32 for vectors, routers,
/// hyper-connection matrices and compressor positions; q6_k for embedding and head when `dtype` has
/// fewer bits; otherwise `dtype`, or what its row has whole blocks of: iq4_nl in place of q4_k,
/// q8_0, f16.
DType storage_dtype(std::string_view hf_name, const Shape& shape, DType dtype);

/// What a TypeMix looks at.
struct TensorPlace {
  std::string_view hf_name;
  std::string_view gguf_name;
  Shape shape;
  int64_t layers = 0;  ///< of the model
};

/// Which type each matrix of a quantized file gets: one for most, more bits where errors hurt most,
/// and what the user says of matrices by name.
class TypeMix {
 public:
  /// The names of mixes. With "_m", the values of attention and the down projections are q6_k in
  /// the first and the last eighth of the layers and in every third between.
  static constexpr std::string_view kNames = "q8_0|q6_k|q5_k_m|q5_k|q4_k_m|q4_k|q4_0|iq4_nl|mxfp4";

  /// `overrides` are "REGEX=TYPE": matrices of whose Hugging Face or GGUF name the POSIX extended
  /// expression matches a part; the first that matches counts.
  /// Errors: invalid_argument for an unknown name or type, or a bad expression.
  static Result<TypeMix> create(std::string_view name, std::span<const std::string> overrides = {});
  TypeMix(TypeMix&&) noexcept;
  TypeMix& operator=(TypeMix&&) noexcept;
  ~TypeMix();

  /// The type of most matrices.
  DType base() const { return base_; }
  bool medium() const { return medium_; }
  const std::string& name() const { return name_; }
  /// The type of a tensor. What stays f32 does whatever the overrides say.
  DType dtype_of(const TensorPlace& place) const;
  /// The overrides that no tensor asked about so far has matched.
  std::vector<std::string> unmatched() const;

 private:
  struct Override;
  TypeMix();

  std::string name_;
  DType base_ = DType::q8_0;
  bool medium_ = false;
  std::vector<std::unique_ptr<Override>> overrides_;
};

}  // namespace hadal::format
