#include "http/internal/transport.h"

#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>

namespace hadal::http::internal {
namespace {

namespace ssl = asio::ssl;

class PlainTransport final : public Transport {
 public:
  using Transport::Transport;
  void handshake(IoCallback done) override { done({}, 0); }
  void read_some(asio::mutable_buffer into, IoCallback done) override {
    socket_.async_read_some(into, std::move(done));
  }
  void write_some(asio::const_buffer from, IoCallback done) override {
    socket_.async_write_some(from, std::move(done));
  }
  void shutdown(IoCallback done) override {
    error_code ec;
    socket_.shutdown(tcp::socket::shutdown_send, ec);
    done(ec, 0);
  }
  bool is_tls() const override { return false; }

 public:
  explicit PlainTransport(tcp::socket socket) : Transport(std::move(socket)) {}
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(tcp::socket socket, ssl::context& context, TlsRole role, const std::string& host,
               bool verify)
      : Transport(std::move(socket)), stream_(socket_, context), role_(role) {
    if (role == TlsRole::client) {
      SSL_set_tlsext_host_name(stream_.native_handle(), host.c_str());
      if (verify) stream_.set_verify_callback(ssl::host_name_verification(host));
    }
  }
  void handshake(IoCallback done) override {
    const auto type =
        role_ == TlsRole::server ? ssl::stream_base::server : ssl::stream_base::client;
    stream_.async_handshake(type, [done = std::move(done)](error_code ec) { done(ec, 0); });
  }
  void read_some(asio::mutable_buffer into, IoCallback done) override {
    stream_.async_read_some(into, std::move(done));
  }
  void write_some(asio::const_buffer from, IoCallback done) override {
    stream_.async_write_some(from, std::move(done));
  }
  void shutdown(IoCallback done) override {
    stream_.async_shutdown([done = std::move(done)](error_code ec) { done(ec, 0); });
  }
  bool is_tls() const override { return true; }

 private:
  ssl::stream<tcp::socket&> stream_;
  TlsRole role_;
};

Result<std::shared_ptr<ssl::context>> new_context(ssl::context::method method) {
  auto context = std::make_shared<ssl::context>(method);
  error_code ec;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_compression, ec);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  return context;
}

Error tls_error(const std::string& file, const error_code& ec, std::string_view hint) {
  return invalid_argument("TLS: " + file + ": " + ec.message()).with_hint(hint);
}

}  // namespace

void Transport::close() {
  error_code ec;
  socket_.close(ec);
}

std::unique_ptr<Transport> make_plain_transport(tcp::socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

std::unique_ptr<Transport> make_tls_transport(tcp::socket socket, ssl::context& context,
                                              TlsRole role, const std::string& host, bool verify) {
  return std::make_unique<TlsTransport>(std::move(socket), context, role, host, verify);
}

Result<std::shared_ptr<ssl::context>> make_server_context(const std::string& certificate_file,
                                                          const std::string& key_file) {
  if (certificate_file.empty() || key_file.empty()) {
    return invalid_argument("TLS needs both, a certificate and its key");
  }
  TRY(auto context, new_context(ssl::context::tls_server));
  error_code ec;
  context->use_certificate_chain_file(certificate_file, ec);
  if (ec) return tls_error(certificate_file, ec, "give a PEM file with the certificate chain");
  context->use_private_key_file(key_file, ssl::context::pem, ec);
  if (ec) return tls_error(key_file, ec, "give the PEM key that belongs to the certificate");
  // Only HTTP/1.1 is offered, so that clients that prefer HTTP/2 do not try it.
  SSL_CTX_set_alpn_select_cb(
      context->native_handle(),
      [](SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
         unsigned in_size, void*) {
        static constexpr unsigned char kProtocols[] = "\x08http/1.1";
        auto* chosen = const_cast<unsigned char*>(*out);
        const int found = SSL_select_next_proto(&chosen, out_size, kProtocols,
                                                sizeof kProtocols - 1, in, in_size);
        *out = chosen;
        return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
      },
      nullptr);
  return context;
}

Result<std::shared_ptr<ssl::context>> make_client_context(const std::string& ca_file, bool verify) {
  TRY(auto context, new_context(ssl::context::tls_client));
  error_code ec;
  if (!verify) {
    context->set_verify_mode(ssl::verify_none, ec);
    return context;
  }
  context->set_verify_mode(ssl::verify_peer, ec);
  if (ca_file.empty()) {
    context->set_default_verify_paths(ec);
    if (ec) return tls_error("system certificates", ec, "name a file with authorities");
  } else {
    context->load_verify_file(ca_file, ec);
    if (ec) return tls_error(ca_file, ec, "give a PEM file with the trusted authorities");
  }
  return context;
}

}  // namespace hadal::http::internal
