#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine_api/backend.h"
#include "http/server.h"
#include "protocol/openai_request.h"

namespace hadal::gateway {

struct GatewayOptions {
  std::string api_key;             ///< what `Authorization: Bearer` must carry; empty: no check
  int64_t keep_alive_ms = 15'000;  ///< a comment goes into streams that are silent so long
  bool chat_page = true;           ///< serve the built-in chat page at /
  /// Names that a Host field may have. Empty: any. Without a key, a page that somebody visits could
  /// otherwise use a server that only this machine should reach (DNS rebinding, cross-site posts).
  std::vector<std::string> hosts;
  std::string cors_origin;  ///< "*" or the one foreign origin whose pages may call
  protocol::RequestLimits limits;
};

/// The public API over any Backend:
///
///   POST /v1/chat/completions, /v1/completions, /v1/embeddings, /tokenize, /detokenize
///   GET  /v1/models, /v1/models/{id}, /health, /ready, /metrics, /
///
/// All but the last four need the key and are also served below /v1, below /beta, and without.
///
/// A client that goes away cancels its request. Every answer carries `x-request-id`: the client's
/// own, when it sent a sane one. Each request is one log line, without any text of it.
///
/// Threading: handler() may run on any number of network threads. The backend, the registry and the
/// clock must outlive the Gateway and all requests; the http::Server must be stopped before the
/// Gateway goes.
class Gateway {
 public:
  Gateway(engine_api::Backend& backend, MetricsRegistry& metrics, const Clock& clock,
          GatewayOptions options = {});
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// What http::Server calls.
  http::Handler handler();
  /// For ServerOptions::error_body: errors of HTTP itself in the API's format.
  static std::string error_body(int status, const Error& error);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hadal::gateway
