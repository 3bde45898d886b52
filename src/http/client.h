#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace hadal::http {

struct ClientOptions {
  std::string ca_file;            ///< PEM with the trusted authorities; empty: the system's
  bool verify_tls = true;         ///< false trusts anybody: for tests of one's own servers only
  bool allow_plain_http = false;  ///< also to other machines; this machine is always allowed
  std::string proxy;              ///< "http://host:port", used for every other machine; empty: none
  int64_t connect_timeout_ms = 15'000;
  int64_t idle_timeout_ms = 60'000;  ///< without a byte in either direction
  int redirects_max = 8;
  size_t head_bytes_max = 64 << 10;
  std::string user_agent = "hadal";
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;  ///< Authorization and Cookie are not sent on to another origin
  std::string body;
  const std::atomic<bool>* cancel = nullptr;  ///< set it to give up within about 0.1 s
};

struct ResponseHead {
  int status = 0;
  Headers headers;
  std::string url;  ///< where it came from, after redirects
  std::optional<uint64_t> content_length;

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
};

/// Takes an answer while it comes. An Error from either ends the exchange and is what fetch gives.
struct Receiver {
  std::function<Status(const ResponseHead& head)> on_head;
  std::function<Status(std::string_view bytes)> on_body;
};

/// An answer that fits into memory.
struct Response {
  ResponseHead head;
  std::string body;
};

/// A blocking HTTP/1.1 client that keeps one connection for the next request to the same origin.
/// TLS certificates and host names are verified unless told otherwise.
/// Threading: one thread at a time; use one Client per thread.
class Client {
 public:
  /// Errors: invalid_argument for the CA file or the proxy.
  static Result<std::unique_ptr<Client>> create(ClientOptions options);
  virtual ~Client() = default;

  /// Follows redirects (GET and HEAD only) and hands the last answer to `receiver`, whatever its
  /// status. Errors: invalid_argument (URL), unavailable (no connection, cut off in the middle),
  /// timeout, cancelled, corrupt (not HTTP), permission_denied (the certificate, or plain http to
  /// another machine).
  virtual Result<ResponseHead> fetch(const ClientRequest& request, const Receiver& receiver) = 0;

  /// As fetch, into memory. Errors: also too_large beyond `body_bytes_max`.
  Result<Response> get(const ClientRequest& request, size_t body_bytes_max = 16 << 20);
};

}  // namespace hadal::http
