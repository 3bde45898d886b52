#include "format/gguf_repack.h"

#include <algorithm>
#include <array>
#include <string>

#include "format/gguf_types.h"
#include "format/internal/little_endian.h"

namespace hadal::format {
namespace {

constexpr int kSuperBlock = 256;

/// q5_0: f16 d, 32 fifth bits, 16 bytes of nibbles (j low, j + 16 high), 16 added to each.
void q5_0(const std::byte* in, std::byte* out) {
  const auto high = load<uint32_t>(in + 2);
  store(out, load<uint16_t>(in));
  for (int j = 0; j < 32; ++j) {
    const unsigned nibble = static_cast<unsigned>(in[6 + j % 16]) >> (j < 16 ? 0 : 4) & 15;
    const int q = static_cast<int>(nibble | (high >> j & 1u) << 4) - 16;
    store<int8_t>(out + 2 + j, static_cast<int8_t>(q));
  }
}

/// The 16 six-bit scales of a Q3_K block, less 32.
std::array<int8_t, 16> q3_k_scales(const std::byte* packed) {
  std::array<int8_t, 16> out{};
  for (unsigned i = 0; i < 4; ++i) {
    const auto a = static_cast<unsigned>(packed[i]), b = static_cast<unsigned>(packed[4 + i]);
    const auto top = static_cast<unsigned>(packed[8 + i]);
    const unsigned scales[4] = {(a & 15) | ((top & 3) << 4), (b & 15) | ((top >> 2 & 3) << 4),
                                (a >> 4) | ((top >> 4 & 3) << 4), (b >> 4) | ((top >> 6) << 4)};
    for (unsigned k = 0; k < 4; ++k) {
      out[4 * k + i] = static_cast<int8_t>(static_cast<int>(scales[k]) - 32);
    }
  }
  return out;
}

/// Q3_K: hmask[32], qs[64], scales[12], f16 d. Q6_K: ql[128], qh[64], scales[16], f16 d.
void q3_k(const std::byte* in, std::byte* out) {
  const std::byte *hmask = in, *qs = in + 32;
  std::fill(out, out + 192, std::byte{0});
  for (int o = 0; o < kSuperBlock; ++o) {
    const int half = o / 128, row = o % 128 / 32, l = o % 32;
    const int low = static_cast<int>(qs[half * 32 + l]) >> (2 * row) & 3;
    const bool high = (static_cast<int>(hmask[l]) >> (half * 4 + row) & 1) != 0;
    const int q = low - (high ? 0 : 4) + 32;  // Q6_K's numbers are stored with 32 added
    std::byte& ql = out[half * 64 + o % 64];
    ql |= static_cast<std::byte>((q & 15) << (row >= 2 ? 4 : 0));
    out[128 + half * 32 + l] |= static_cast<std::byte>((q >> 4) << (2 * row));
  }
  const auto scales = q3_k_scales(in + 96);
  for (size_t i = 0; i < 16; ++i) store<int8_t>(out + 192 + i, scales[i]);
  store(out + 208, load<uint16_t>(in + 108));
}

}  // namespace

Result<std::vector<std::byte>> repack(const GgufTensor& tensor) {
  const GgufTensorType& type = *gguf_tensor_type(tensor.type);
  if (!type.presented) return unsupported("type " + std::string(type.name));
  const DTypeInfo& to = dtype_info(*type.presented);
  const size_t blocks = tensor.bytes.size() / static_cast<size_t>(type.block_bytes);
  std::vector<std::byte> out(blocks * static_cast<size_t>(to.block_bytes));
  for (size_t b = 0; b < blocks; ++b) {
    const std::byte* from = tensor.bytes.data() + b * static_cast<size_t>(type.block_bytes);
    std::byte* into = out.data() + b * static_cast<size_t>(to.block_bytes);
    if (type.name == "Q5_0") {
      q5_0(from, into);
    } else {
      q3_k(from, into);
    }
  }
  return out;
}

}  // namespace hadal::format
