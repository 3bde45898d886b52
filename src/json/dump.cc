#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "json/json.h"

namespace hadal::json {
namespace {

void append_double(std::string& out, double v) {
  if (!std::isfinite(v)) {
    out += "null";
    return;
  }
  char digits[32];
  const auto r = std::to_chars(digits, digits + sizeof digits, v);
  const std::string_view text(digits, static_cast<size_t>(r.ptr - digits));
  out += text;
  // "1" would read back as an integer.
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

/// Writes values; depth is that of the value, which parse has limited.
class Dumper {
 public:
  Dumper(std::string& out, Style style) : out_(out), style_(style) {}

  void value(const Value& v, size_t depth) {
    if (v.is_null()) {
      out_ += "null";
    } else if (v.is_bool()) {
      out_ += v.as_bool() ? "true" : "false";
    } else if (v.is_int()) {
      out_ += std::to_string(v.as_int());
    } else if (v.is_number()) {
      append_double(out_, v.as_double());
    } else if (v.is_string()) {
      append_quoted(out_, v.as_string());
    } else if (v.is_array()) {
      array(v.as_array(), depth);
    } else {
      object(v.as_object(), depth);
    }
  }

 private:
  void array(const Array& items, size_t depth) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      separate(i == 0, depth + 1);
      value(items[i], depth + 1);
    }
    close(items.empty(), depth, ']');
  }
  void object(const Object& members, size_t depth) {
    out_ += '{';
    for (size_t i = 0; i < members.size(); ++i) {
      separate(i == 0, depth + 1);
      append_quoted(out_, members[i].first);
      out_ += style_ == Style::compact ? ":" : ": ";
      value(members[i].second, depth + 1);
    }
    close(members.empty(), depth, '}');
  }
  void separate(bool first, size_t depth) {
    if (!first) out_ += style_ == Style::spaced ? ", " : ",";
    newline(depth);
  }
  void close(bool empty, size_t depth, char bracket) {
    if (!empty) newline(depth);
    out_ += bracket;
  }
  void newline(size_t depth) {
    if (style_ != Style::pretty) return;
    out_ += '\n';
    out_.append(2 * depth, ' ');
  }

  std::string& out_;
  Style style_;
};

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text[0]);
    if (byte >= 0x80) {
      const Utf8Char c = decode_utf8(text);
      if (c.valid) {
        out += text.substr(0, c.bytes);
      } else {
        append_utf8(out, kUtf8Replacement);
      }
      text.remove_prefix(c.bytes);
      continue;
    }
    text.remove_prefix(1);
    switch (byte) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (byte < 0x20) {
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        } else {
          out += static_cast<char>(byte);
        }
    }
  }
  out += '"';
}

std::string dump(const Value& value, Style style) {
  std::string out;
  Dumper(out, style).value(value, 0);
  return out;
}

}  // namespace hadal::json
