#include "format/safetensors_writer.h"

#include <cstring>

#include "json/json.h"

namespace hadal::format {
namespace {

std::string_view safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "F32";
    case DType::f16: return "F16";
    case DType::bf16: return "BF16";
    case DType::f8_e4m3: return "F8_E4M3";
    case DType::f8_e8m0: return "F8_E8M0";
    case DType::f4_e2m1: return "I8";  // two to a byte, as the official V4 files store them
    case DType::i8: return "I8";
    case DType::u8: return "U8";
    case DType::i16: return "I16";
    case DType::i32: return "I32";
    case DType::i64: return "I64";
    default: return {};
  }
}

}  // namespace

Status SafetensorsWriter::add_tensor(std::string_view name, DType dtype, const Shape& shape) {
  const std::string_view type = safetensors_name(dtype);
  if (type.empty()) {
    return unsupported("tensor '" + std::string(name) + "': safetensors has no type for " +
                       std::string(dtype_name(dtype)));
  }
  auto bytes = storage_bytes(dtype, static_cast<uint64_t>(shape.rows()),
                             static_cast<uint64_t>(shape.cols()));
  if (!bytes) return std::move(bytes).error().in("tensor '" + std::string(name) + "'");
  json::Array dims;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool packed = dtype == DType::f4_e2m1 && i + 1 == shape.rank();
    dims.emplace_back(packed ? shape[i] / 2 : shape[i]);
  }
  json::Value entry;
  entry.set("dtype", type);
  entry.set("shape", std::move(dims));
  entry.set("data_offsets", json::Array{json::Value(static_cast<int64_t>(data_bytes_)),
                                        json::Value(static_cast<int64_t>(data_bytes_ + *bytes))});
  json::append_quoted(entries_, name);
  entries_.append(":").append(json::dump(entry)).append(",");
  data_bytes_ += *bytes;
  return {};
}

void SafetensorsWriter::add_metadata(std::string_view key, std::string_view value) {
  metadata_ += ',';
  json::append_quoted(metadata_, key);
  metadata_ += ':';
  json::append_quoted(metadata_, value);
}

std::string SafetensorsWriter::header() const {
  std::string text = "{" + entries_ + R"("__metadata__":{"format":"pt")" + metadata_ + "}}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out(8, '\0');
  const uint64_t length = text.size();
  std::memcpy(out.data(), &length, 8);
  return out + text;
}

}  // namespace hadal::format
