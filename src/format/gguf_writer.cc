#include "format/gguf_writer.h"

#include "base/units.h"

namespace hadal::format {
namespace {

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_string(std::string& out, std::string_view text) {
  append(out, static_cast<uint64_t>(text.size()));
  out.append(text);
}

}  // namespace

void GgufWriter::key(std::string_view key, GgufType type) {
  append_string(pairs_, key);
  append(pairs_, static_cast<uint32_t>(type));
  ++pair_count_;
}

void GgufWriter::array(std::string_view name, GgufType element, uint64_t count) {
  key(name, GgufType::array);
  append(pairs_, static_cast<uint32_t>(element));
  append(pairs_, count);
}

void GgufWriter::put_u32(std::string_view name, uint32_t value) {
  key(name, GgufType::u32);
  append(pairs_, value);
}
void GgufWriter::put_f32(std::string_view name, float value) {
  key(name, GgufType::f32);
  append(pairs_, value);
}
void GgufWriter::put_bool(std::string_view name, bool value) {
  key(name, GgufType::boolean);
  append(pairs_, static_cast<uint8_t>(value ? 1 : 0));
}
void GgufWriter::put_string(std::string_view name, std::string_view value) {
  key(name, GgufType::string);
  append_string(pairs_, value);
}
void GgufWriter::put_strings(std::string_view name, std::span<const std::string> values) {
  array(name, GgufType::string, values.size());
  for (const std::string& v : values) append_string(pairs_, v);
}
void GgufWriter::put_i32s(std::string_view name, std::span<const int32_t> values) {
  array(name, GgufType::i32, values.size());
  for (const int32_t v : values) append(pairs_, v);
}
void GgufWriter::put_u32s(std::string_view name, std::span<const uint32_t> values) {
  array(name, GgufType::u32, values.size());
  for (const uint32_t v : values) append(pairs_, v);
}
void GgufWriter::put_f32s(std::string_view name, std::span<const float> values) {
  array(name, GgufType::f32, values.size());
  for (const float v : values) append(pairs_, v);
}

Status GgufWriter::add_tensor(std::string_view name, DType dtype, const Shape& shape) {
  const GgufTensorType* type = gguf_tensor_type(dtype);
  if (type == nullptr) {
    return unsupported("tensor '" + std::string(name) + "': GGUF has no type for " +
                       std::string(dtype_name(dtype)));
  }
  if (shape.rank() < 1 || shape.rank() > 4) {
    return unsupported("tensor '" + std::string(name) + "': rank " + std::to_string(shape.rank()) +
                       "; GGUF holds 1 to 4");
  }
  if (name.empty() || name.size() > 64) {
    return invalid_argument("tensor '" + std::string(name) + "': GGUF names have 1 to 64 bytes");
  }
  auto bytes = storage_bytes(dtype, static_cast<uint64_t>(shape.rows()),
                             static_cast<uint64_t>(shape.cols()));
  if (!bytes) return std::move(bytes).error().in("tensor '" + std::string(name) + "'");
  append_string(entries_, name);
  append(entries_, static_cast<uint32_t>(shape.rank()));
  for (int i = shape.rank(); i-- > 0;) append(entries_, static_cast<uint64_t>(shape[i]));
  append(entries_, type->id);
  append(entries_, data_bytes_);
  data_bytes_ += (*bytes + kAlignment - 1) / kAlignment * kAlignment;
  ++tensor_count_;
  return {};
}

std::string GgufWriter::header() const {
  std::string out = "GGUF";
  append(out, uint32_t{3});
  append(out, tensor_count_);
  append(out, pair_count_);
  out += pairs_;
  out += entries_;
  out.resize((out.size() + kAlignment - 1) / kAlignment * kAlignment, '\0');
  return out;
}

}  // namespace hadal::format
