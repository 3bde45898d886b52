#include "format/gguf_types.h"

namespace hadal::format {
namespace {

constexpr auto kNone = std::nullopt;

constexpr GgufTensorType kTypes[] = {
    {0, "F32", 1, 4, DType::f32, kNone},
    {1, "F16", 1, 2, DType::f16, kNone},
    {2, "Q4_0", 32, 18, DType::q4_0, kNone},
    {3, "Q4_1", 32, 20, kNone, kNone},
    {6, "Q5_0", 32, 22, kNone, DType::q8_0},
    {7, "Q5_1", 32, 24, kNone, kNone},
    {8, "Q8_0", 32, 34, DType::q8_0, kNone},
    {9, "Q8_1", 32, 36, kNone, kNone},
    {10, "Q2_K", 256, 84, kNone, kNone},
    {11, "Q3_K", 256, 110, kNone, DType::q6_k},
    {12, "Q4_K", 256, 144, DType::q4_k, kNone},
    {13, "Q5_K", 256, 176, DType::q5_k, kNone},
    {14, "Q6_K", 256, 210, DType::q6_k, kNone},
    {15, "Q8_K", 256, 292, kNone, kNone},
    {16, "IQ2_XXS", 256, 66, kNone, kNone},
    {17, "IQ2_XS", 256, 74, kNone, kNone},
    {18, "IQ3_XXS", 256, 98, kNone, kNone},
    {19, "IQ1_S", 256, 50, kNone, kNone},
    {20, "IQ4_NL", 32, 18, DType::iq4_nl, kNone},
    {21, "IQ3_S", 256, 110, kNone, kNone},
    {22, "IQ2_S", 256, 82, kNone, kNone},
    {23, "IQ4_XS", 256, 136, kNone, kNone},
    {24, "I8", 1, 1, DType::i8, kNone},
    {25, "I16", 1, 2, DType::i16, kNone},
    {26, "I32", 1, 4, DType::i32, kNone},
    {27, "I64", 1, 8, DType::i64, kNone},
    {28, "F64", 1, 8, kNone, kNone},
    {29, "IQ1_M", 256, 56, kNone, kNone},
    {30, "BF16", 1, 2, DType::bf16, kNone},
    {34, "TQ1_0", 256, 54, kNone, kNone},
    {35, "TQ2_0", 256, 66, kNone, kNone},
    {39, "MXFP4", 32, 17, DType::mxfp4, kNone},
    {40, "NVFP4", 64, 36, kNone, kNone},
};

}  // namespace

const GgufTensorType* gguf_tensor_type(uint32_t id) {
  for (const GgufTensorType& row : kTypes) {
    if (row.id == id) return &row;
  }
  return nullptr;
}

const GgufTensorType* gguf_tensor_type(DType dtype) {
  for (const GgufTensorType& row : kTypes) {
    if (row.dtype == dtype) return &row;
  }
  return nullptr;
}

}  // namespace hadal::format
