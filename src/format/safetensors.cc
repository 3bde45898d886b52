#include "format/safetensors.h"

#include <algorithm>

#include "base/units.h"
#include "format/internal/little_endian.h"
#include "json/json.h"

namespace hadal::format {
namespace {

struct DTypeName {
  std::string_view name;
  DType dtype;
};

constexpr DTypeName kDTypes[] = {
    {"F32", DType::f32},         {"F16", DType::f16},         {"BF16", DType::bf16},
    {"F8_E4M3", DType::f8_e4m3}, {"F8_E8M0", DType::f8_e8m0}, {"F4", DType::f4_e2m1},
    {"I8", DType::i8},           {"U8", DType::u8},           {"I16", DType::i16},
    {"I32", DType::i32},         {"I64", DType::i64},         {"BOOL", DType::u8},
};

/// A tensor with where its bytes lie in the data section.
struct Placed {
  SafetensorsTensor tensor;
  uint64_t begin = 0;
  uint64_t end = 0;
};

Result<DType> read_dtype(const json::Value& entry) {
  TRY(const std::string name, entry.string_at("dtype"));
  for (const DTypeName& row : kDTypes) {
    if (row.name == name) return row.dtype;
  }
  return unsupported("dtype " + name.substr(0, 32) + "; convert it to F32, F16 or BF16");
}

Result<uint64_t> unsigned_of(const json::Value& v, std::string_view what) {
  if (!v.is_int() || v.as_int() < 0) {
    return corrupt(std::string(what) + " holds something that is not a non-negative integer");
  }
  return static_cast<uint64_t>(v.as_int());
}

/// The shape, whose element count is known to fit in 62 bits.
Result<Shape> read_shape(const json::Value& entry) {
  const json::Value* dims = entry.find("shape");
  if (dims == nullptr || !dims->is_array()) return corrupt("'shape' is not an array");
  if (dims->as_array().size() > Shape::kRankMax) {
    return unsupported("shape of rank " + std::to_string(dims->as_array().size()) +
                       "; at most 5 is supported");
  }
  Shape shape;
  uint64_t product = 1;
  for (const json::Value& d : dims->as_array()) {
    TRY(const uint64_t extent, unsigned_of(d, "'shape'"));
    const auto next = checked_mul(product, std::max<uint64_t>(extent, 1));
    if (!next || *next >= (uint64_t{1} << 62)) return corrupt("the product of 'shape' overflows");
    product = *next;
    shape.push_back(static_cast<int64_t>(extent));
  }
  return shape;
}

/// Names end up in messages and metrics: they must fit on a line.
bool plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 512 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c != 127; });
}

Result<Placed> read_entry(const std::string& name, const json::Value& entry,
                          std::span<const std::byte> data) {
  if (!entry.is_object()) return corrupt("its entry is not an object");
  Placed out;
  TRY(const DType dtype, read_dtype(entry));
  TRY(const Shape shape, read_shape(entry));
  const json::Value* range = entry.find("data_offsets");
  if (range == nullptr || !range->is_array() || range->as_array().size() != 2) {
    return corrupt("'data_offsets' is not a pair");
  }
  TRY(out.begin, unsigned_of(range->as_array()[0], "'data_offsets'"));
  TRY(out.end, unsigned_of(range->as_array()[1], "'data_offsets'"));
  if (out.begin > out.end || out.end > data.size()) {
    return corrupt("bytes [" + std::to_string(out.begin) + ", " + std::to_string(out.end) +
                   ") do not lie in the data section of " + std::to_string(data.size()) +
                   " bytes; the file may be cut short, download it again");
  }
  TRY(const uint64_t bytes, storage_bytes(dtype, static_cast<uint64_t>(shape.rows()),
                                          static_cast<uint64_t>(shape.cols())));
  if (bytes != out.end - out.begin) {
    return corrupt("shape " + shape.to_string() + " of " + std::string(dtype_name(dtype)) +
                   " needs " + std::to_string(bytes) + " bytes, its range has " +
                   std::to_string(out.end - out.begin));
  }
  out.tensor = {name, {data.data() + out.begin, dtype, shape}};
  return out;
}

/// Ranges must follow one another from the first byte to the last.
Status check_ranges(std::vector<Placed>& placed, uint64_t data_bytes) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t at = 0;
  for (const Placed& p : placed) {
    if (p.begin != at) {
      return corrupt("tensor '" + p.tensor.name + "': begins at " + std::to_string(p.begin) +
                     ", but the tensor before it ends at " + std::to_string(at) +
                     (p.begin < at ? " (overlap)" : " (hole)"));
    }
    at = p.end;
  }
  if (at != data_bytes) {
    return corrupt("the tensors end at byte " + std::to_string(at) + " of " +
                   std::to_string(data_bytes) + " data bytes");
  }
  return {};
}

Result<json::Value> read_header(std::span<const std::byte> file, uint64_t* header_bytes) {
  if (file.size() < 8) return corrupt("shorter than the 8 bytes of a safetensors header length");
  *header_bytes = load<uint64_t>(file.data());
  if (*header_bytes > kSafetensorsHeaderMax) {
    return corrupt("header length " + std::to_string(*header_bytes) + " is over " +
                   std::to_string(kSafetensorsHeaderMax) + "; is this a safetensors file?");
  }
  if (*header_bytes > file.size() - 8) {
    return corrupt("header of " + std::to_string(*header_bytes) + " bytes, but only " +
                   std::to_string(file.size() - 8) + " follow; download the file again");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, *header_bytes);
  // An entry of 48 characters makes 6 to 11 values; more than one in four is no real header.
  const json::Limits limits{
      .bytes_max = kSafetensorsHeaderMax, .depth_max = 8, .values_max = *header_bytes / 4 + 64};
  auto header = json::parse(text, limits);
  if (!header) return corrupt("header: " + header.error().message);
  if (!header->is_object()) return corrupt("header is not a JSON object");
  return std::move(*header);
}

/// How often a key stands in the header cannot be seen after parsing, which keeps the last one; so
/// two entries of one name show as a hole, and are refused by check_ranges.
Result<std::vector<std::pair<std::string, std::string>>> read_metadata(const json::Value& value) {
  std::vector<std::pair<std::string, std::string>> out;
  if (!value.is_object()) return corrupt("'__metadata__' is not an object");
  for (const auto& [key, text] : value.as_object()) {
    if (!text.is_string()) return corrupt("'__metadata__' holds something that is not a string");
    out.emplace_back(key, text.as_string());
  }
  return out;
}

}  // namespace

Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> file) {
  uint64_t header_bytes = 0;
  TRY(const json::Value header, read_header(file, &header_bytes));
  const std::span<const std::byte> data = file.subspan(8 + header_bytes);
  SafetensorsFile out;
  std::vector<Placed> placed;
  placed.reserve(header.as_object().size());
  for (const auto& [name, entry] : header.as_object()) {
    if (name == "__metadata__") {
      TRY(out.metadata, read_metadata(entry));
      continue;
    }
    if (!plain_name(name)) {
      return corrupt("a tensor's name is empty, over 512 bytes, or not plain ASCII");
    }
    auto one = read_entry(name, entry, data);
    if (!one) {
      Error error = std::move(one).error();
      if (error.code == ErrorCode::invalid_argument) error.code = ErrorCode::corrupt;
      return std::move(error).in("tensor '" + name + "'");
    }
    placed.push_back(*std::move(one));
  }
  TRY_VOID(check_ranges(placed, data.size()));
  out.tensors.reserve(placed.size());
  for (Placed& p : placed) out.tensors.push_back(std::move(p.tensor));
  std::sort(out.tensors.begin(), out.tensors.end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) { return a.name < b.name; });
  return out;
}

}  // namespace hadal::format
