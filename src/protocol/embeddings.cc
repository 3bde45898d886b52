#include "protocol/embeddings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "protocol/internal/body.h"
#include "protocol/internal/object_reader.h"

namespace hadal::protocol {
namespace {

using engine_api::Pooling;
using internal::ObjectReader;

/// Source: RFC 4648, section 4.
std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < n ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += j <= n ? kDigits[group >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

std::string little_endian(std::span<const float> values) {
  std::string bytes;
  bytes.reserve(values.size() * 4);
  for (const float v : values) {
    uint32_t bits = 0;
    std::memcpy(&bits, &v, sizeof bits);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 255);
  }
  return bytes;
}

/// The shortest digits that read back.
void append_numbers(std::string& out, std::span<const float> values) {
  out += '[';
  for (const float v : values) {
    if (out.back() != '[') out += ',';
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, v);
    out.append(text, end.ptr);
  }
  out += ']';
}

/// The first `n` elements, scaled to length 1.
std::vector<float> shortened(const std::vector<float>& values, int64_t n) {
  std::vector<float> out(values.begin(), values.begin() + n);
  double squares = 0;
  for (const float v : out) squares += static_cast<double>(v) * v;
  if (squares == 0) return out;
  for (float& v : out) v = static_cast<float>(v / std::sqrt(squares));
  return out;
}

}  // namespace

Result<ParsedEmbeddings> parse_embeddings_request(std::string_view text,
                                                  const RequestLimits& limits) {
  TRY(const json::Value value, internal::parse_body(text, limits));
  TRY(const ObjectReader body, ObjectReader::of(value, ""));
  ParsedEmbeddings out;
  TRY(out.request.model, body.string("model"));
  TRY_VOID(internal::read_scheduling(body, out.request));
  TRY(out.request.prompt, internal::read_prompts(body, "input", {}, limits));
  if (const auto* list = std::get_if<engine_api::PromptList>(&out.request.prompt)) {
    out.inputs = static_cast<int>(list->prompts.size());
  }
  TRY(const std::string pooling, body.string("pooling", "mean"));
  if (pooling != "mean" && pooling != "last") return body.bad("pooling", "must be mean or last");
  out.request.pooling = pooling == "mean" ? Pooling::mean : Pooling::last;
  TRY(const std::string encoding, body.string("encoding_format", "float"));
  if (encoding != "float" && encoding != "base64") {
    return body.bad("encoding_format", "must be float or base64");
  }
  out.base64 = encoding == "base64";
  TRY(const auto dimensions, body.integer("dimensions", 1, int64_t{1} << 31));
  out.dimensions = dimensions.value_or(0);
  return out;
}

std::string embeddings_answer(std::string_view model, std::span<const std::vector<float>> vectors,
                              const engine_api::Usage& usage, const ParsedEmbeddings& form) {
  // Written without a json::Value for each of what may be millions of numbers.
  std::string out = R"({"object":"list","data":[)";
  for (size_t i = 0; i < vectors.size(); ++i) {
    out.append(i > 0 ? "," : "").append(R"({"object":"embedding","index":)");
    out.append(std::to_string(i)).append(R"(,"embedding":)");
    const auto size = static_cast<int64_t>(vectors[i].size());
    const bool shorter = form.dimensions > 0 && form.dimensions < size;
    const std::vector<float> cut =
        shorter ? shortened(vectors[i], form.dimensions) : std::vector<float>();
    const std::span<const float> values = shorter ? cut : vectors[i];
    if (form.base64) {
      json::append_quoted(out, base64(little_endian(values)));
    } else {
      append_numbers(out, values);
    }
    out += '}';
  }
  out += R"(],"model":)";
  json::append_quoted(out, model);
  const std::string tokens = std::to_string(usage.prompt_tokens);
  return out + R"(,"usage":{"prompt_tokens":)" + tokens + R"(,"total_tokens":)" + tokens + "}}";
}

}  // namespace hadal::protocol
