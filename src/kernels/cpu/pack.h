#pragma once

#include "kernels/cpu/packed.h"
#include "tensor/tensor_view.h"

namespace hadal::kernels::cpu {

/// The layout of a packed `w`, without its tiles; tile_bytes is 0 when `w` cannot be packed (rows
/// that are not whole words, scales that do not follow the tiles).
PackedWeight packed_layout(const WeightView& w);
/// Writes tile `i` of a weight with that layout. out [tile_bytes].
void pack_tile(std::byte* out, const PackedWeight& layout, const WeightView& w, int64_t i);
/// The scale of weight row n in its block of columns, as a number.
float weight_scale(const WeightView& w, int64_t n, int64_t block);

}  // namespace hadal::kernels::cpu
