#include "http/server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "http/internal/connection.h"

namespace hadal::http {
namespace {

using namespace internal;

Error listen_error(const ServerOptions& options, const error_code& ec) {
  const std::string where = options.address + ":" + std::to_string(options.port);
  if (ec == asio::error::address_in_use) {
    return unavailable("listen on " + where + ": the port is in use")
        .with_hint("choose another port, or 0 for a free one");
  }
  if (ec == asio::error::access_denied) {
    return make_error(ErrorCode::permission_denied, "listen on " + where + ": not allowed")
        .with_hint("ports below 1024 need a privilege");
  }
  return invalid_argument("listen on " + where + ": " + ec.message());
}

std::string peer_text(const tcp::socket& socket) {
  error_code ec;
  const tcp::endpoint peer = socket.remote_endpoint(ec);
  if (ec) return "unknown";
  const std::string address = peer.address().to_string();
  return (peer.address().is_v6() ? "[" + address + "]" : address) + ":" +
         std::to_string(peer.port());
}

class ServerImpl final : public Server {
 public:
  ServerImpl(ServerOptions options, Handler handler)
      : shared_(std::move(options), std::move(handler),
                options.metrics != nullptr ? *options.metrics : own_metrics_),
        acceptor_(asio::make_strand(io_)),
        retry_(acceptor_.get_executor()) {}
  ~ServerImpl() override { stop(0); }

  Status open() {
    const ServerOptions& o = shared_.options;
    if (!o.tls_certificate_file.empty() || !o.tls_key_file.empty()) {
      TRY(tls_, make_server_context(o.tls_certificate_file, o.tls_key_file));
    }
    error_code ec;
    const auto address = asio::ip::make_address(o.address, ec);
    if (ec) {
      return invalid_argument("listen on " + o.address + ": not an IP address")
          .with_hint("use 127.0.0.1 for this machine only, 0.0.0.0 for every interface");
    }
    const tcp::endpoint endpoint(address, o.port);
    acceptor_.open(endpoint.protocol(), ec);
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return listen_error(o, ec);
    port_ = acceptor_.local_endpoint(ec).port();
    accept();
    for (int i = 0; i < std::max(1, o.threads); ++i) {
      threads_.emplace_back([this] { io_.run(); });
    }
    return {};
  }

  uint16_t port() const override { return port_; }

  std::string url() const override {
    error_code ec;
    const auto address = asio::ip::make_address(shared_.options.address, ec);
    std::string host = address.to_string();
    if (address.is_unspecified()) host = address.is_v6() ? "::1" : "127.0.0.1";
    if (host.find(':') != std::string::npos) host = "[" + host + "]";
    return (tls_ ? "https://" : "http://") + host + ":" + std::to_string(port_);
  }

  void stop(int64_t grace_ms) override {
    if (shared_.stopping.exchange(true)) return;
    asio::post(acceptor_.get_executor(), [this] {
      error_code ec;
      acceptor_.close(ec);
      retry_.cancel();
    });
    for_each_connection([](Connection& c) { c.stop_soon(); });
    {
      std::unique_lock lock(mutex_);
      ended_.wait_for(lock, std::chrono::milliseconds(grace_ms),
                      [this] { return connections_.empty(); });
    }
    force_ = true;
    for_each_connection([](Connection& c) { c.stop_now(); });
    // Nothing is left to do once the acceptor and every connection are closed: run() returns.
    for (std::thread& t : threads_) t.join();
  }

 private:
  void accept() {
    const asio::any_io_executor strand = asio::make_strand(io_);
    acceptor_.async_accept(strand, [this](error_code ec, tcp::socket socket) {
      if (shared_.stopping) return;
      if (ec) {
        // Usually no file descriptor is free: wait for connections to end.
        LOG(warn, "http_accept_failed", {"why", ec.message()});
        retry_.expires_after(std::chrono::milliseconds(100));
        retry_.async_wait([this](error_code) {
          if (!shared_.stopping) accept();
        });
        return;
      }
      begin(std::move(socket));
      accept();
    });
  }

  void begin(tcp::socket socket) {
    error_code ec;
    socket.set_option(tcp::no_delay(true), ec);
    if (count() >= shared_.options.limits.connections_max) return turn_away(socket);
    std::string peer = peer_text(socket);
    const auto executor = socket.get_executor();
    auto transport = tls_ ? make_tls_transport(std::move(socket), *tls_, TlsRole::server)
                          : make_plain_transport(std::move(socket));
    auto connection = std::make_shared<Connection>(shared_, std::move(transport), std::move(peer));
    Connection* const key = connection.get();
    {
      std::lock_guard lock(mutex_);
      connections_.emplace(key, connection);
    }
    asio::co_spawn(executor, connection->run(), [this, connection](std::exception_ptr failure) {
      if (failure) LOG(error, "http_connection_threw");
      if (failure) connection->abort();
      std::lock_guard lock(mutex_);
      connections_.erase(connection.get());
      ended_.notify_all();
    });
    // stop() may have passed over the list before we were in it.
    if (shared_.stopping) connection->stop_soon();
    if (force_) connection->stop_now();
  }

  /// One best-effort write: whoever floods us gets no patience.
  void turn_away(tcp::socket& socket) {
    shared_.metrics.refused.add();
    if (tls_) return;
    const std::string body =
        error_body(shared_.options, 503, unavailable("too many connections; try again"));
    const std::string answer =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\nRetry-After: 1\r\nConnection: close\r\n\r\n" + body;
    error_code ec;
    socket.non_blocking(true, ec);
    socket.write_some(asio::buffer(answer), ec);
  }

  size_t count() {
    std::lock_guard lock(mutex_);
    return connections_.size();
  }

  template <class F>
  void for_each_connection(F f) {
    std::vector<std::shared_ptr<Connection>> all;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [key, weak] : connections_) {
        if (auto c = weak.lock()) all.push_back(std::move(c));
      }
    }
    for (const auto& c : all) f(*c);
  }

  MetricsRegistry own_metrics_;
  ServerShared shared_;
  std::shared_ptr<asio::ssl::context> tls_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections_;
  std::atomic<bool> force_{false};
  asio::io_context io_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  uint16_t port_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, Handler handler) {
  CHECK(handler != nullptr, "a server needs a handler");
  auto server = std::make_unique<ServerImpl>(std::move(options), std::move(handler));
  TRY_VOID(server->open());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace hadal::http
