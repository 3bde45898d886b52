#pragma once

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "http/internal/message_reader.h"
#include "http/internal/outbox.h"
#include "http/internal/transport.h"
#include "http/server.h"

namespace hadal::http::internal {

/// The server's own numbers; see api/metrics.md.
struct ServerMetrics {
  explicit ServerMetrics(MetricsRegistry& registry);
  Gauge& connections;
  Counter& accepted;
  Counter& refused;
  Counter& received_bytes;
  Counter& sent_bytes;
  Counter& cut;
};

/// What the connections of one server share. Outlives them.
struct ServerShared {
  ServerShared(ServerOptions o, Handler h, MetricsRegistry& registry)
      : options(std::move(o)), handler(std::move(h)), metrics(registry) {}

  const ServerOptions options;
  const Handler handler;
  ServerMetrics metrics;
  std::atomic<size_t> bodies_bytes{0};
  std::atomic<bool> stopping{false};
};

/// One connection: one strand, one coroutine, at most one read and one write in flight. All waiting
/// goes through wait(): whatever happens (bytes came, bytes went, a handler wrote, the server
/// stops) calls wake().
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Connection(ServerShared& shared, std::unique_ptr<Transport> transport, std::string peer);
  ~Connection();

  /// Serves requests until either side is done. Runs on the socket's strand.
  asio::awaitable<void> run();
  /// The server stops: an idle connection ends, another ends after its answer. Any thread.
  void stop_soon();
  /// Ends now. Any thread.
  void stop_now();
  /// Closes after run() threw. On the strand.
  void abort() { transport_->close(); }

 private:
  enum class Next { serve, close };

  asio::awaitable<bool> handshake();
  asio::awaitable<bool> wait_for_first_byte(bool first);
  asio::awaitable<Next> read_request(Request& request, AnswerStyle& style);
  asio::awaitable<bool> read_head(MessageReader& reader);
  asio::awaitable<bool> read_body(MessageReader& reader);
  asio::awaitable<bool> check_head(MessageReader& reader, Request& request);
  asio::awaitable<bool> serve(Request request, AnswerStyle style);
  asio::awaitable<bool> send_answer(Outbox& outbox);
  asio::awaitable<void> refuse(int status, Error error);
  asio::awaitable<bool> send(std::string bytes);
  asio::awaitable<void> say_goodbye();

  asio::awaitable<bool> wait(Time deadline);
  void wake();
  void start_read();
  void start_write();
  bool take_budget(size_t bytes);
  void release_budget();
  AnswerStyle style_of(const MessageHead& head) const;

  ServerShared& shared_;
  std::unique_ptr<Transport> transport_;
  const std::string peer_;
  asio::steady_timer timer_;
  bool woken_ = false;
  std::atomic<bool> forced_{false};

  std::array<char, 16 << 10> read_buffer_;
  std::string input_;  ///< received, not yet used
  bool reading_ = false;
  bool input_ended_ = false;

  std::string output_;  ///< being sent
  size_t output_sent_ = 0;
  bool writing_ = false;
  bool write_failed_ = false;
  Time write_deadline_ = Time::max();

  size_t budget_ = 0;         ///< body bytes held of bodies_bytes_max
  bool unread_body_ = false;  ///< the peer may still be sending what nobody will read
};

/// The body of an answer that the server gives by itself.
std::string error_body(const ServerOptions& options, int status, const Error& error);

}  // namespace hadal::http::internal
