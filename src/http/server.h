#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"
#include "http/message.h"

namespace hadal::http {

/// What a server accepts at most, and how long it waits. A peer that goes beyond is answered (when
/// it still can be) and its connection is closed.
/// Units: bytes; milliseconds.
struct ServerLimits {
  size_t connections_max = 1024;        ///< one more is answered 503 and closed
  size_t head_bytes_max = 64 << 10;     ///< request line and fields together; beyond: 431
  size_t body_bytes_max = 32 << 20;     ///< beyond: 413, before the body is read
  size_t bodies_bytes_max = 512 << 20;  ///< of all connections together; beyond: 503
  size_t output_bytes_max = 1 << 20;    ///< unsent bytes of one stream; beyond: it is cut
  int64_t head_timeout_ms = 10'000;     ///< from the first byte to the empty line; beyond: 408
  int64_t body_timeout_ms = 60'000;     ///< from the empty line to the last byte; beyond: 408
  int64_t idle_timeout_ms = 75'000;     ///< between requests; beyond: closed
  int64_t write_timeout_ms = 30'000;    ///< without the peer taking a byte; beyond: cut
};

struct ServerOptions {
  std::string address = "127.0.0.1";  ///< an IP address: 0.0.0.0 and :: mean every interface
  uint16_t port = 0;                  ///< 0: a free one; see Server::port
  int threads = 2;                    ///< that run handlers and do the network's work
  ServerLimits limits;
  std::string tls_certificate_file;  ///< PEM chain; empty: no TLS
  std::string tls_key_file;          ///< PEM
  std::string cors_origin;           ///< "*" or one origin that pages may call from; empty: none
  /// The JSON body of the answers that the server gives by itself: 400, 408, 413, 417, 431, 501,
  /// 503, 505. Empty: {"error":{"message":...}}.
  std::function<std::string(int status, const Error& error)> error_body;
  MetricsRegistry* metrics = nullptr;  ///< must outlive the server; see api/metrics.md
};

/// Bytes that a stream sends by itself when nothing was written for a while, so that proxies and
/// dead peers show. `: keep-alive\n\n` for server-sent events.
struct Heartbeat {
  int64_t every_ms = 0;  ///< 0: none
  std::string bytes;
};

/// One request and its answer: either respond once, or start_stream, any number of writes, finish.
/// Keep the shared_ptr for as long as the answer takes; dropping the last one without an answer
/// sends 500, dropping it inside a stream cuts the stream (the client sees that it is incomplete).
///
/// Threading: all members may be called from any thread, in any order that makes sense from one
/// thread; they queue bytes and return without waiting for the network. An Exchange may outlive its
/// Server: it then behaves as if the client had gone.
class Exchange {
 public:
  virtual ~Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const Request& request() const { return request_; }

  /// Answers completely. Content-Length, Date and Connection are added; HEAD gets no body.
  virtual void respond(int status, Headers headers, std::string body) = 0;

  /// Begins an answer of unknown length: chunked, or until close for HTTP/1.0.
  virtual void start_stream(int status, Headers headers, Heartbeat heartbeat = {}) = 0;
  /// Queues bytes of the stream. False once the client is gone; the caller may then stop. When more
  /// than output_bytes_max wait because the client reads too slowly, the stream is cut as if the
  /// client had gone: memory stays bounded and the producer is never blocked.
  virtual bool write(std::string_view bytes) = 0;
  /// Ends the stream properly.
  virtual void finish() = 0;

  /// Calls `callback` once when the client goes away before the answer is complete: it closed, it
  /// closed its sending half, it read too slowly, or the server stopped. At once if it has gone
  /// already; never after a complete answer. It runs on a network thread and must be quick.
  virtual void on_disconnect(std::function<void()> callback) = 0;

 protected:
  explicit Exchange(Request request) : request_(std::move(request)) {}

 private:
  Request request_;
};

/// Called for each request with a complete body, on a network thread: it must not wait.
using Handler = std::function<void(std::shared_ptr<Exchange> exchange)>;

/// An HTTP/1.1 server: keep-alive, pipelined requests answered in order, chunked bodies both ways,
/// Expect: 100-continue, TLS, limits on everything a peer can send or withhold.
///
///   accept ─► read head ─► limits ─► read body ─► handler(exchange) ─► write ─► next request
///                408 431     413 417       408            └ a read stays pending: on_disconnect
///
/// Source: RFC 9110, RFC 9112. A request with both Content-Length and Transfer-Encoding, with a
/// coding other than chunked, or HTTP/1.1 without Host is refused: such framing is how requests are
/// smuggled past a proxy.
class Server {
 public:
  /// Binds, listens and starts the threads. Errors: unavailable (the port is taken),
  /// permission_denied, invalid_argument (address, certificate or key).
  static Result<std::unique_ptr<Server>> start(ServerOptions options, Handler handler);
  /// As stop(0).
  virtual ~Server() = default;

  /// The port in use.
  virtual uint16_t port() const = 0;
  /// "http://127.0.0.1:8080": where a client on this machine reaches it.
  virtual std::string url() const = 0;

  /// Stops accepting, closes idle connections, lets running answers finish for at most `grace_ms`,
  /// then closes what is left and joins the threads. Repeated calls do nothing. Must not be called
  /// from a handler.
  virtual void stop(int64_t grace_ms) = 0;
};

}  // namespace hadal::http
