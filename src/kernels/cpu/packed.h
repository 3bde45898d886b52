#pragma once

// Weights in the order that the kernels read them: tiles of 16 rows, whose words (4 bytes: four
// 8-bit weights, eight 4-bit ones, ...) lie side by side, so that one register holds the same k of
// 16 rows and a tile is one unbroken stream of memory. No weight changes its bits; only small
// scales grow to bytes. Includes nothing that could emit shared inline functions.
//
// A row's words go to lane r of consecutive 64-byte vectors. What a type keeps beside its weights
// stands before them, per unit:
//
// clang-format off
//   type     unit (k)  head of a unit                            then vectors
//   f32      1                                                   1
//   bf16     2                                                   1 (pairs k, k + 1)
//   f16      1                                                   half of one: 16 halves
//   f8_e4m3  4                                                   1; at the end f32 [block][16]
//   i8       4                                                   1; at the end f32 [16]
//   q8_0     64        2 x 16 f16                                2 x 8
//   q4_0     64        2 x 16 f16                                2 x 4 (low: k < 16, high: rest)
//   iq4_nl   64        as q4_0                                   as q4_0
//   f4_e2m1  128       4 x 16 e8m0                               4 x 4 (as q4_0)
//   mxfp4    128       as f4_e2m1                                as f4_e2m1
//   q4_k     256       d, dmin: 16 f16; 8 x (16 scales, minima)  4 x 8 (low: block 2p, high: 2p+1)
//   q5_k     256       as q4_k                                   8 of fifth bits by block, 4 x 8
//   q6_k     256       d: 16 f16, 32 bytes unused; 16 x 16 scales  2 x (8 of bit pairs, 16)
// clang-format on

#include <cstddef>
#include <cstdint>

#include "tensor/dtype_enum.h"

namespace hadal::kernels::cpu {

inline constexpr int kTileRows = 16;
/// The name of this order: kept copies bear it. Change it with the table above.
inline constexpr const char* kPackedLayout = "rows16-1";
/// The longest row of i8: (128 + 127) * 127 * k stays below 2^31.
inline constexpr int64_t kInt8RowMax = 65536;

/// A matrix [n, k] as tiles of 16 rows; the last is filled up with zeros.
struct PackedWeight {
  const std::byte* tiles = nullptr;
  DType dtype = DType::f32;
  int64_t n = 0;
  int64_t k = 0;
  int64_t tile_bytes = 0;
  int64_t scale_cols = 0;  ///< f8_e4m3, i8: columns that share a scale
};

/// Activations of up to 16 tokens, G in number, as the products with packed blocked weights read
/// them. For every block of 32: q [G][32] int8; scale f32 [G]; bias int32 [G], -128 * the block's
/// sum of q; sum f32 [G], scale * sum of q; and the same sum for either half of the block, f32
/// [2][G]. x ~ scale * q: the error of a product is at most 1/254 of the block's largest activation
/// times the sum of its weights' magnitudes.
/// For i8 weights, whose rows have one scale, so has a token: all its blocks repeat it, and block
/// 0's bias is that of the whole row.
inline constexpr int kGroupTokens = 16;
inline constexpr int64_t kGroupBlockBytes = 52;  ///< per token
/// Readers may touch this much behind a group.
inline constexpr int64_t kGroupSlack = kGroupTokens * kGroupBlockBytes;

}  // namespace hadal::kernels::cpu
