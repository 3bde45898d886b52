#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace hadal::http::internal {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

using IoCallback = std::function<void(error_code ec, size_t bytes)>;

/// A byte stream to one peer: TCP, or TLS over TCP. At most one read and one write run at a time;
/// callbacks run on the socket's executor. The object must outlive its operations.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void handshake(IoCallback done) = 0;
  virtual void read_some(asio::mutable_buffer into, IoCallback done) = 0;
  virtual void write_some(asio::const_buffer from, IoCallback done) = 0;
  /// Says goodbye: TLS's close_notify, TCP's end of stream.
  virtual void shutdown(IoCallback done) = 0;
  virtual bool is_tls() const = 0;
  /// Ends everything; pending operations fail.
  void close();
  tcp::socket& socket() { return socket_; }

 protected:
  explicit Transport(tcp::socket socket) : socket_(std::move(socket)) {}
  tcp::socket socket_;
};

enum class TlsRole { server, client };

std::unique_ptr<Transport> make_plain_transport(tcp::socket socket);
/// As client, the peer's certificate must be for `host` when `verify` is set.
std::unique_ptr<Transport> make_tls_transport(tcp::socket socket, asio::ssl::context& context,
                                              TlsRole role, const std::string& host = "",
                                              bool verify = true);

/// TLS 1.2 and newer with a certificate chain and its key.
Result<std::shared_ptr<asio::ssl::context>> make_server_context(const std::string& certificate_file,
                                                                const std::string& key_file);
/// TLS 1.2 and newer that trusts `ca_file`, or the system's authorities when it is empty.
Result<std::shared_ptr<asio::ssl::context>> make_client_context(const std::string& ca_file,
                                                                bool verify);

}  // namespace hadal::http::internal
