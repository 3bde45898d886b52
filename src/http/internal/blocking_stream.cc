#include "http/internal/blocking_stream.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <chrono>

namespace hadal::http::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How soon a cancel is noticed.
constexpr milliseconds kPoll{50};

}  // namespace

BlockingStream::~BlockingStream() { close(); }

void BlockingStream::close() {
  if (transport_) transport_->close();
  error_code ec;
  if (socket_) socket_->close(ec);
  // What is pending fails now; its callbacks must run before their targets go.
  io_.restart();
  io_.run_for(milliseconds(100));
  transport_.reset();
  socket_.reset();
}

/// Runs one operation. `start` is given the callback to call at its end.
Result<size_t> BlockingStream::run(std::string_view what, int64_t timeout_ms,
                                   const std::atomic<bool>* cancel,
                                   FunctionRef<void(IoCallback done)> start) {
  struct Outcome {
    bool done = false;
    error_code ec;
    size_t n = 0;
  };
  // Shared: an operation that was given up may still call back.
  const auto outcome = std::make_shared<Outcome>();
  start([outcome](error_code ec, size_t n) { *outcome = {true, ec, n}; });
  const auto deadline = steady_clock::now() + milliseconds(timeout_ms);
  while (!outcome->done) {
    const bool cancelled = cancel != nullptr && *cancel;
    const bool late = steady_clock::now() >= deadline;
    if (cancelled || late) {
      close();
      if (cancelled) return make_error(ErrorCode::cancelled, "cancelled");
      return make_error(ErrorCode::timeout, std::string(what) + " " + peer_ + ": no progress for " +
                                                std::to_string(timeout_ms / 1000) + " s");
    }
    io_.restart();
    io_.run_one_for(kPoll);
  }
  last_error_ = outcome->ec;
  if (outcome->ec) {
    return unavailable(std::string(what) + " " + peer_ + ": " + outcome->ec.message());
  }
  return outcome->n;
}

Status BlockingStream::connect(const std::string& host, const std::string& port, int64_t timeout_ms,
                               const std::atomic<bool>* cancel) {
  peer_ = host + ":" + port;
  tcp::resolver resolver(io_);
  tcp::resolver::results_type addresses;
  const auto found = std::make_shared<tcp::resolver::results_type>();
  TRY_VOID(run("look up", timeout_ms, cancel, [&](IoCallback done) {
    resolver.async_resolve(host, port,
                           [found, done](error_code ec, tcp::resolver::results_type results) {
                             *found = std::move(results);
                             done(ec, 0);
                           });
  }));
  socket_ = std::make_unique<tcp::socket>(io_);
  TRY_VOID(run("connect to", timeout_ms, cancel, [&](IoCallback done) {
    asio::async_connect(*socket_, *found,
                        [done, found](error_code ec, const tcp::endpoint&) { done(ec, 0); });
  }));
  error_code ec;
  socket_->set_option(tcp::no_delay(true), ec);
  transport_ = make_plain_transport(std::move(*socket_));
  socket_.reset();
  return {};
}

Status BlockingStream::start_tls(asio::ssl::context& context, const std::string& host, bool verify,
                                 const std::atomic<bool>* cancel) {
  transport_ =
      make_tls_transport(std::move(transport_->socket()), context, TlsRole::client, host, verify);
  auto done = run("TLS with", idle_timeout_ms_, cancel,
                  [&](IoCallback f) { transport_->handshake(std::move(f)); });
  if (done) return {};
  Error error = std::move(done).error();
  close();
  if (last_error_.category() == asio::error::get_ssl_category()) {
    error.code = ErrorCode::permission_denied;
    error.hint = "the certificate is not trusted for this host; name its authority with a CA file";
  }
  return error;
}

Status BlockingStream::write(std::string_view bytes, const std::atomic<bool>* cancel) {
  while (!bytes.empty()) {
    auto n = run("send to", idle_timeout_ms_, cancel, [&](IoCallback f) {
      transport_->write_some(asio::buffer(bytes.data(), std::min<size_t>(bytes.size(), 64 << 10)),
                             std::move(f));
    });
    if (!n) {
      close();
      return std::move(n).error();
    }
    bytes.remove_prefix(*n);
  }
  return {};
}

Result<std::string_view> BlockingStream::read(const std::atomic<bool>* cancel) {
  auto n = run("receive from", idle_timeout_ms_, cancel,
               [&](IoCallback f) { transport_->read_some(asio::buffer(buffer_), std::move(f)); });
  if (n) return std::string_view(buffer_.data(), *n);
  const bool end = last_error_ == asio::error::eof;
  Error error = std::move(n).error();
  close();
  if (end && error.code == ErrorCode::unavailable) return std::string_view();
  return error;
}

}  // namespace hadal::http::internal
