#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "base/function_ref.h"
#include "base/result.h"
#include "http/internal/transport.h"

namespace hadal::http::internal {

/// A connection for one thread that waits: each call runs the network until it is done, its time
/// is up, or `cancel` is set. After an error the stream is closed.
class BlockingStream {
 public:
  explicit BlockingStream(int64_t idle_timeout_ms) : idle_timeout_ms_(idle_timeout_ms) {}
  ~BlockingStream();

  /// Tries every address of the host. Errors: unavailable, timeout, cancelled.
  Status connect(const std::string& host, const std::string& port, int64_t timeout_ms,
                 const std::atomic<bool>* cancel);
  /// Goes on in TLS. Errors: permission_denied for the certificate, unavailable.
  Status start_tls(asio::ssl::context& context, const std::string& host, bool verify,
                   const std::atomic<bool>* cancel);
  Status write(std::string_view bytes, const std::atomic<bool>* cancel);
  /// Some bytes; empty at the end of the stream. Valid until the next call.
  Result<std::string_view> read(const std::atomic<bool>* cancel);
  bool is_open() const { return transport_ != nullptr; }
  void close();

 private:
  Result<size_t> run(std::string_view what, int64_t timeout_ms, const std::atomic<bool>* cancel,
                     FunctionRef<void(IoCallback done)> start);

  asio::io_context io_;
  std::unique_ptr<tcp::socket> socket_;  ///< while it connects
  std::unique_ptr<Transport> transport_;
  std::array<char, 64 << 10> buffer_;
  int64_t idle_timeout_ms_;
  error_code last_error_;
  std::string peer_;
};

}  // namespace hadal::http::internal
