#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hadal::http {

/// Header fields in the order of the wire. Names compare without case.
using Headers = std::vector<std::pair<std::string, std::string>>;

/// The value of the first field `name`, or "" when there is none.
std::string_view find_header(const Headers& headers, std::string_view name);
/// Whether two ASCII texts are equal but for case.
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// A request, read completely.
struct Request {
  std::string method;  ///< as sent: "GET", "POST"
  std::string path;    ///< percent-decoded, begins with '/'; "*" for OPTIONS *
  std::string query;   ///< what follows '?', not decoded
  Headers headers;
  std::string body;
  std::string client;      ///< address and port of the peer
  bool is_http10 = false;  ///< spoke HTTP/1.0: no chunks

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
};

/// The standard words for a status: "Not Found"; "Unknown" for others.
std::string_view reason_phrase(int status);

/// The parts of an absolute http or https URL. Source: RFC 3986.
struct Url {
  bool tls = false;
  std::string host;          ///< lower case, without the brackets of an IPv6 address
  std::string port;          ///< always set: "443" or "80" by default
  std::string target = "/";  ///< path and query as sent, never empty

  /// "https://host:port", the port left out when it is the default.
  std::string origin() const;
};

/// Errors: invalid_argument for other schemes, user names, and characters that do not belong there.
Result<Url> parse_url(std::string_view text);
/// The URL a `Location` of an answer to `base` means. Errors: as parse_url.
Result<Url> resolve_url(const Url& base, std::string_view location);

/// The text with %XX decoded. Nothing when an escape is broken or decodes to NUL.
std::optional<std::string> percent_decode(std::string_view text);
/// The text with all but unreserved characters and `keep` written as %XX.
std::string percent_encode(std::string_view text, std::string_view keep = "");

}  // namespace hadal::http
