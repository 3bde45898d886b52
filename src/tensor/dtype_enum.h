#pragma once

// The enumeration alone, without any library header: kernels that are compiled for one instruction
// set must not emit inline functions that the rest of the program might share.

namespace hadal {

/// How elements are stored. Blocked types pack `block_elems` neighbours of a row into
/// `block_bytes`.
enum class DType : unsigned char {
  f32,
  f16,
  bf16,
  f8_e4m3,  ///< OCP FP8, finite, max 448; its scales are a second tensor
  f8_e8m0,  ///< a power of two, 2^(x-127); the scales of FP8/FP4 blocks
  f4_e2m1,  ///< two per byte, low nibble first; its scales are a second tensor
  i8,
  u8,
  i16,
  i32,
  i64,
  q8_0,  ///< GGUF blocks from here on
  q4_0,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,  ///< sixteen unevenly spaced values, a scale per 32
  mxfp4,   ///< FP4 (e2m1) with an e8m0 scale per 32, in GGUF's order
};

}  // namespace hadal
