#include "format/gguf.h"

#include <algorithm>
#include <limits>

#include "base/units.h"
#include "format/internal/little_endian.h"

namespace hadal::format {
namespace {

// What a file may ask for at most; real models stay far below.
constexpr uint64_t kPairsMax = 1u << 16;
constexpr uint64_t kTensorsMax = 1u << 17;
constexpr uint64_t kKeyBytesMax = 65535;
constexpr uint64_t kStringBytesMax = 16 * kMiB;
constexpr uint64_t kTensorNameMax = 64;
constexpr uint64_t kAlignmentMax = 65536;
// The least bytes of one entry, with which counts are checked before anything is reserved.
constexpr uint64_t kPairBytesMin = 8 + 1 + 4 + 1;
constexpr uint64_t kTensorBytesMin = 8 + 1 + 4 + 8 + 4 + 8;

/// Reads forward through a span and never past its end.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t at() const { return at_; }
  uint64_t remaining() const { return bytes_.size() - at_; }

  template <class T>
  Result<T> number() {
    if (remaining() < sizeof(T)) return ends_early();
    const T value = load<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  Result<std::span<const std::byte>> take(uint64_t count) {
    if (remaining() < count) return ends_early();
    const auto out = bytes_.subspan(at_, count);
    at_ += count;
    return out;
  }
  Result<std::string_view> string(uint64_t bytes_max) {
    TRY(const uint64_t length, number<uint64_t>());
    if (length > bytes_max) {
      return corrupt("a string of " + std::to_string(length) + " bytes at byte " +
                     std::to_string(at_ - 8) + "; at most " + std::to_string(bytes_max));
    }
    TRY(const auto text, take(length));
    return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
  }

 private:
  Error ends_early() const {
    return corrupt("the file ends inside its header, at byte " + std::to_string(bytes_.size()) +
                   "; download it again");
  }
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
};

bool plain(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c > ' ' && c != 127; });
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The int64 of an integer scalar's bytes.
std::optional<int64_t> integer(GgufType type, const std::byte* p) {
  switch (type) {
    case GgufType::u8: return load<uint8_t>(p);
    case GgufType::i8: return load<int8_t>(p);
    case GgufType::u16: return load<uint16_t>(p);
    case GgufType::i16: return load<int16_t>(p);
    case GgufType::u32: return load<uint32_t>(p);
    case GgufType::i32: return load<int32_t>(p);
    case GgufType::i64: return load<int64_t>(p);
    case GgufType::u64: {
      const auto v = load<uint64_t>(p);
      if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(v);
    }
    default: return std::nullopt;
  }
}

std::optional<double> real(GgufType type, const std::byte* p) {
  if (type == GgufType::f32) return load<float>(p);
  if (type == GgufType::f64) return load<double>(p);
  const auto i = integer(type, p);
  if (i) return static_cast<double>(*i);
  return std::nullopt;
}

Result<GgufType> read_type(Reader& in) {
  TRY(const uint32_t type, in.number<uint32_t>());
  if (type >= kGgufTypeCount) return corrupt("value type " + std::to_string(type));
  return static_cast<GgufType>(type);
}

Result<GgufValue> read_array(Reader& in) {
  TRY(const GgufType element, read_type(in));
  TRY(const uint64_t count, in.number<uint64_t>());
  if (element == GgufType::array) return corrupt("an array of arrays");
  const uint64_t each = element == GgufType::string ? 8 : gguf_scalar_bytes(element);
  if (count > in.remaining() / each) {
    return corrupt("an array of " + std::to_string(count) + " elements, but only " +
                   std::to_string(in.remaining()) + " bytes remain");
  }
  if (element != GgufType::string) {
    TRY(const auto bytes, in.take(count * each));
    return GgufValue(GgufType::array, element, count, bytes);
  }
  // Walked once here, so that reading it later cannot fail.
  Reader look = in;
  for (uint64_t i = 0; i < count; ++i) TRY_VOID(look.string(kStringBytesMax));
  TRY(const auto bytes, in.take(look.at() - in.at()));
  return GgufValue(GgufType::array, element, count, bytes);
}

Result<GgufValue> read_value(Reader& in) {
  TRY(const GgufType type, read_type(in));
  if (type == GgufType::array) return read_array(in);
  if (type == GgufType::string) {
    TRY(const std::string_view text, in.string(kStringBytesMax));
    return GgufValue(type, type, 1, std::as_bytes(std::span(text.data(), text.size())));
  }
  TRY(const auto bytes, in.take(gguf_scalar_bytes(type)));
  if (type == GgufType::boolean && load<uint8_t>(bytes.data()) > 1) {
    return corrupt("a boolean that is neither 0 nor 1");
  }
  return GgufValue(type, type, 1, bytes);
}

struct Header {
  uint32_t version;
  uint64_t tensors;
  uint64_t pairs;
};

Result<Header> read_header(Reader& in) {
  TRY(const uint32_t magic, in.number<uint32_t>());
  if (magic != 0x46554747) return corrupt("does not begin with \"GGUF\"");
  Header h{};
  TRY(h.version, in.number<uint32_t>());
  if (h.version != 0 && (h.version & 0xFFFF) == 0) return unsupported("a big-endian GGUF file");
  if (h.version != 2 && h.version != 3) {
    return unsupported("GGUF version " + std::to_string(h.version) + "; versions 2 and 3 are read");
  }
  TRY(h.tensors, in.number<uint64_t>());
  TRY(h.pairs, in.number<uint64_t>());
  if (h.tensors > kTensorsMax || h.tensors > in.remaining() / kTensorBytesMin) {
    return corrupt("claims " + std::to_string(h.tensors) + " tensors");
  }
  if (h.pairs > kPairsMax || h.pairs > in.remaining() / kPairBytesMin) {
    return corrupt("claims " + std::to_string(h.pairs) + " metadata pairs");
  }
  return h;
}

Result<std::vector<GgufPair>> read_pairs(Reader& in, uint64_t count) {
  std::vector<GgufPair> pairs;
  pairs.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string where = "metadata pair " + std::to_string(i);
    auto key = in.string(kKeyBytesMax);
    if (!key) return std::move(key).error().in(where);
    if (key->empty() || !plain(*key)) return corrupt(where + ": its key is empty or not ASCII");
    auto value = read_value(in);
    if (!value) return std::move(value).error().in("metadata '" + std::string(*key) + "'");
    pairs.push_back({*key, *value});
  }
  const auto by_key = [](const GgufPair& a, const GgufPair& b) { return a.key < b.key; };
  std::sort(pairs.begin(), pairs.end(), by_key);
  const auto twin =
      std::adjacent_find(pairs.begin(), pairs.end(),
                         [](const GgufPair& a, const GgufPair& b) { return a.key == b.key; });
  if (twin != pairs.end()) {
    return corrupt("metadata '" + std::string(twin->key) + "' appears twice");
  }
  return pairs;
}

/// A tensor entry whose bytes are still to be found.
struct Entry {
  GgufTensor tensor;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

/// Extents, outermost first. Their product is known to fit in 62 bits.
Result<Shape> read_shape(Reader& in) {
  TRY(const uint32_t rank, in.number<uint32_t>());
  if (rank < 1 || rank > 4) return corrupt("rank " + std::to_string(rank));
  uint64_t dims[4] = {};
  uint64_t product = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    TRY(dims[i], in.number<uint64_t>());
    const auto next = checked_mul(product, dims[i]);
    if (dims[i] == 0 || !next || *next >= (uint64_t{1} << 62)) {
      return corrupt("its extents are zero or their product overflows");
    }
    product = *next;
  }
  Shape shape;
  for (uint32_t i = rank; i-- > 0;) shape.push_back(static_cast<int64_t>(dims[i]));
  return shape;
}

Status read_entry(Reader& in, uint64_t alignment, Entry& out) {
  TRY(out.tensor.shape, read_shape(in));
  TRY(out.tensor.type, in.number<uint32_t>());
  TRY(out.offset, in.number<uint64_t>());
  const GgufTensorType* type = gguf_tensor_type(out.tensor.type);
  if (type == nullptr) {
    return unsupported("tensor type " + std::to_string(out.tensor.type) +
                       " is none of ggml's; use a file of Q8_0, Q6_K, Q5_K, Q4_K or F16");
  }
  const auto cols = static_cast<uint64_t>(out.tensor.shape.cols());
  const auto rows = static_cast<uint64_t>(out.tensor.shape.rows());
  const auto block = static_cast<uint64_t>(type->block_elems);
  if (cols % block != 0) {
    return corrupt("a row of " + std::to_string(cols) + " elements is not whole blocks of " +
                   std::string(type->name));
  }
  const auto row_bytes = checked_mul(cols / block, static_cast<uint64_t>(type->block_bytes));
  const auto bytes = row_bytes ? checked_mul(*row_bytes, rows) : row_bytes;
  if (!bytes) return corrupt("its size in bytes overflows");
  if (out.offset % alignment != 0) {
    return corrupt("its offset " + std::to_string(out.offset) + " is not a multiple of " +
                   std::to_string(alignment));
  }
  out.bytes = *bytes;
  return {};
}

Result<std::vector<Entry>> read_entries(Reader& in, uint64_t count, uint64_t alignment) {
  std::vector<Entry> entries(count);
  std::vector<std::string_view> names;
  names.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    auto name = in.string(kTensorNameMax);
    if (!name) return std::move(name).error().in("tensor " + std::to_string(i) + ": its name");
    if (name->empty() || !plain(*name)) {
      return corrupt("tensor " + std::to_string(i) + ": its name is empty or not ASCII");
    }
    entries[i].tensor.name = *name;
    names.push_back(*name);
    auto done = read_entry(in, alignment, entries[i]);
    if (!done) return std::move(done).error().in("tensor '" + std::string(*name) + "'");
  }
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin != names.end()) return corrupt("tensor '" + std::string(*twin) + "' appears twice");
  return entries;
}

/// Gives every tensor its bytes. Gaps are allowed (padding), overlap is not.
Status place(std::vector<Entry>& entries, std::span<const std::byte> data) {
  std::vector<const Entry*> order;
  for (Entry& e : entries) {
    const auto end = checked_add(e.offset, e.bytes);
    if (!end || *end > data.size()) {
      return corrupt("tensor '" + std::string(e.tensor.name) + "': bytes [" +
                     std::to_string(e.offset) + ", +" + std::to_string(e.bytes) +
                     ") do not lie in the data section of " + std::to_string(data.size()) +
                     " bytes; the file may be cut short, download it again");
    }
    e.tensor.bytes = data.subspan(e.offset, e.bytes);
    order.push_back(&e);
  }
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
      return corrupt("tensors '" + std::string(order[i - 1]->tensor.name) + "' and '" +
                     std::string(order[i]->tensor.name) + "' overlap");
    }
  }
  return {};
}

Error wrong_type(std::string_view key, std::string_view wanted) {
  return corrupt("metadata '" + std::string(key) + "' is not " + std::string(wanted));
}

}  // namespace

std::optional<int64_t> GgufValue::as_int() const { return integer(type_, bytes_.data()); }
std::optional<double> GgufValue::as_double() const { return real(type_, bytes_.data()); }
std::optional<bool> GgufValue::as_bool() const {
  if (type_ != GgufType::boolean) return std::nullopt;
  return load<uint8_t>(bytes_.data()) != 0;
}
std::optional<std::string_view> GgufValue::as_string() const {
  if (type_ != GgufType::string) return std::nullopt;
  return text_of(bytes_);
}

std::optional<std::vector<int64_t>> GgufValue::as_ints() const {
  if (type_ != GgufType::array) return std::nullopt;
  const uint64_t each = gguf_scalar_bytes(element_);
  std::vector<int64_t> out;
  for (uint64_t i = 0; i < count_ && each > 0; ++i) {
    const auto v = integer(element_, bytes_.data() + i * each);
    if (!v) return std::nullopt;
    out.push_back(*v);
  }
  if (out.size() != count_) return std::nullopt;
  return out;
}

std::optional<std::vector<double>> GgufValue::as_doubles() const {
  if (type_ != GgufType::array) return std::nullopt;
  const uint64_t each = gguf_scalar_bytes(element_);
  std::vector<double> out;
  for (uint64_t i = 0; i < count_ && each > 0; ++i) {
    const auto v = real(element_, bytes_.data() + i * each);
    if (!v) return std::nullopt;
    out.push_back(*v);
  }
  if (out.size() != count_) return std::nullopt;
  return out;
}

std::optional<std::vector<std::string_view>> GgufValue::as_strings() const {
  if (type_ != GgufType::array || element_ != GgufType::string) return std::nullopt;
  std::vector<std::string_view> out;
  out.reserve(count_);
  Reader in(bytes_);
  for (uint64_t i = 0; i < count_; ++i) {
    const auto text = in.string(kStringBytesMax);
    if (!text) return std::nullopt;
    out.push_back(*text);
  }
  return out;
}

Result<Gguf> Gguf::parse(std::span<const std::byte> image) {
  Gguf out;
  Reader in(image);
  TRY(const Header header, read_header(in));
  out.version_ = header.version;
  TRY(out.pairs_, read_pairs(in, header.pairs));
  uint64_t alignment = 32;
  if (const GgufValue* v = out.find("general.alignment")) {
    if (v->type() != GgufType::u32) return wrong_type("general.alignment", "a u32");
    alignment = static_cast<uint64_t>(*v->as_int());
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kAlignmentMax) {
      return corrupt("general.alignment " + std::to_string(alignment) +
                     " is not a power of two up to " + std::to_string(kAlignmentMax));
    }
  }
  TRY(std::vector<Entry> entries, read_entries(in, header.tensors, alignment));
  const uint64_t data_begin = (in.at() + alignment - 1) / alignment * alignment;
  if (data_begin > image.size() && !entries.empty()) {
    return corrupt("the file ends before its data section; download it again");
  }
  TRY_VOID(place(entries, data_begin > image.size() ? std::span<const std::byte>{}
                                                    : image.subspan(data_begin)));
  out.tensors_.reserve(entries.size());
  for (Entry& e : entries) out.tensors_.push_back(e.tensor);
  return out;
}

const GgufValue* Gguf::find(std::string_view key) const {
  const auto it = std::lower_bound(pairs_.begin(), pairs_.end(), key,
                                   [](const GgufPair& p, std::string_view k) { return p.key < k; });
  return it != pairs_.end() && it->key == key ? &it->value : nullptr;
}

Result<int64_t> Gguf::int_or(std::string_view key, int64_t fallback, int64_t min,
                             int64_t max) const {
  if (find(key) == nullptr) return fallback;
  return int_at(key, min, max);
}

Result<int64_t> Gguf::int_at(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return corrupt("metadata '" + std::string(key) + "' is missing");
  const auto v = value->as_int();
  if (!v) return wrong_type(key, "an integer");
  if (*v < min || *v > max) {
    return corrupt("metadata '" + std::string(key) + "' is " + std::to_string(*v) +
                   ", outside of [" + std::to_string(min) + ", " + std::to_string(max) + "]");
  }
  return *v;
}

Result<double> Gguf::double_or(std::string_view key, double fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  const auto v = value->as_double();
  if (!v || !(*v > -1e30 && *v < 1e30)) return wrong_type(key, "a finite number");
  return *v;
}

Result<bool> Gguf::bool_or(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto v = value->as_bool()) return *v;
  return wrong_type(key, "a boolean");
}

Result<std::string> Gguf::string_or(std::string_view key, std::string_view fallback) const {
  if (find(key) == nullptr) return std::string(fallback);
  return string_at(key);
}

Result<std::string> Gguf::string_at(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return corrupt("metadata '" + std::string(key) + "' is missing");
  if (const auto v = value->as_string()) return std::string(*v);
  return wrong_type(key, "a string");
}

}  // namespace hadal::format
