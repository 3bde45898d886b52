#include "http/internal/connection.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"

namespace hadal::http::internal {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Bytes of later requests that are taken in while one is answered. Reading stops there, and with
/// it the notice that the client has gone: only a client that pipelines that much loses it.
constexpr size_t kReadAheadMax = 64 << 10;
/// How long a peer that is still sending gets to read our refusal.
constexpr milliseconds kLinger{2000};
constexpr size_t kLingerBytesMax = 256u << 20;

Connection::Time after_ms(int64_t ms) { return Clock::now() + milliseconds(ms); }

}  // namespace

std::string error_body(const ServerOptions& options, int status, const Error& error) {
  if (options.error_body) return options.error_body(status, error);
  return R"({"error":{"message":")" + error.message + "\"}}";
}

ServerMetrics::ServerMetrics(MetricsRegistry& r)
    : connections(r.gauge("hadal_http_connections", "Open connections.")),
      accepted(r.counter("hadal_http_connections_total", "Connections accepted.")),
      refused(r.counter("hadal_http_connections_refused_total",
                        "Connections refused because too many were open.")),
      received_bytes(r.counter("hadal_http_received_bytes_total", "Bytes received, inside TLS.")),
      sent_bytes(r.counter("hadal_http_sent_bytes_total", "Bytes sent, inside TLS.")),
      cut(r.counter("hadal_http_answers_cut_total",
                    "Answers that did not reach their client completely.")) {}

Connection::Connection(ServerShared& shared, std::unique_ptr<Transport> transport, std::string peer)
    : shared_(shared),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      timer_(transport_->socket().get_executor()) {
  shared_.metrics.connections.add(1);
  shared_.metrics.accepted.add();
}

Connection::~Connection() {
  release_budget();
  shared_.metrics.connections.add(-1);
}

void Connection::stop_soon() {
  asio::post(timer_.get_executor(), [self = shared_from_this()] { self->wake(); });
}

void Connection::stop_now() {
  forced_ = true;
  stop_soon();
}

// --- waiting, reading, writing -------------------------------------------------------------------

void Connection::wake() {
  woken_ = true;
  timer_.cancel();
}

/// False when the deadline passed before anything happened.
asio::awaitable<bool> Connection::wait(Time deadline) {
  if (!woken_) {
    timer_.expires_at(deadline);
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  const bool woken = woken_;
  woken_ = false;
  co_return woken;
}

void Connection::start_read() {
  if (reading_ || input_ended_ || input_.size() >= kReadAheadMax) return;
  reading_ = true;
  transport_->read_some(asio::buffer(read_buffer_),
                        [self = shared_from_this()](error_code ec, size_t n) {
                          self->reading_ = false;
                          if (ec) {
                            self->input_ended_ = true;
                          } else {
                            self->input_.append(self->read_buffer_.data(), n);
                            self->shared_.metrics.received_bytes.add(n);
                          }
                          self->wake();
                        });
}

void Connection::start_write() {
  if (writing_ || output_.empty() || write_failed_) return;
  writing_ = true;
  write_deadline_ = after_ms(shared_.options.limits.write_timeout_ms);
  const size_t n = std::min<size_t>(output_.size() - output_sent_, 64 << 10);
  transport_->write_some(asio::buffer(output_.data() + output_sent_, n),
                         [self = shared_from_this()](error_code ec, size_t sent) {
                           self->writing_ = false;
                           self->write_deadline_ = Time::max();
                           self->write_failed_ = static_cast<bool>(ec);
                           self->output_sent_ += sent;
                           self->shared_.metrics.sent_bytes.add(sent);
                           if (self->output_sent_ == self->output_.size()) {
                             self->output_.clear();
                             self->output_sent_ = 0;
                           }
                           self->wake();
                         });
}

/// Sends bytes that belong to no exchange. False when the peer does not take them.
asio::awaitable<bool> Connection::send(std::string bytes) {
  output_ += bytes;
  while (!output_.empty() && !forced_) {
    start_write();
    co_await wait(write_deadline_);
    if (write_failed_ || Clock::now() >= write_deadline_) co_return false;
  }
  co_return !forced_;
}

bool Connection::take_budget(size_t bytes) {
  const size_t before = shared_.bodies_bytes.fetch_add(bytes);
  budget_ += bytes;
  return before + bytes <= shared_.options.limits.bodies_bytes_max;
}

void Connection::release_budget() {
  shared_.bodies_bytes.fetch_sub(budget_);
  budget_ = 0;
}

// --- one connection ------------------------------------------------------------------------------

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  bool first = true;
  bool open = co_await handshake();
  // No co_await behind && or ||: g++ 12 evaluates it whatever the left side says.
  while (open) {
    open = co_await wait_for_first_byte(first);
    if (!open) break;
    first = false;
    Request request;
    AnswerStyle style;
    const Next next = co_await read_request(request, style);
    if (next == Next::close) break;
    open = co_await serve(std::move(request), std::move(style));
    release_budget();
  }
  co_await say_goodbye();
  transport_->close();
}

asio::awaitable<bool> Connection::handshake() {
  if (!transport_->is_tls()) co_return true;
  bool done = false;
  bool ok = false;
  transport_->handshake([&done, &ok, self = shared_from_this()](error_code ec, size_t) {
    done = true;
    ok = !ec;
    self->wake();
  });
  const Time deadline = after_ms(shared_.options.limits.head_timeout_ms);
  while (!done) {
    const bool give_up = forced_ || shared_.stopping;
    if (Clock::now() >= deadline || give_up) transport_->close();
    co_await wait(done || give_up ? Time::max() : deadline);
  }
  if (!ok) input_ended_ = write_failed_ = true;
  co_return ok;
}

asio::awaitable<bool> Connection::wait_for_first_byte(bool first) {
  const ServerLimits& limits = shared_.options.limits;
  const Time deadline = after_ms(first ? limits.head_timeout_ms : limits.idle_timeout_ms);
  while (input_.empty()) {
    if (input_ended_ || shared_.stopping || forced_ || Clock::now() >= deadline) co_return false;
    start_read();
    co_await wait(deadline);
  }
  co_return !shared_.stopping && !forced_;
}

asio::awaitable<bool> Connection::read_head(MessageReader& reader) {
  const Time deadline = after_ms(shared_.options.limits.head_timeout_ms);
  size_t seen = 0;
  while (true) {
    // An empty line before a request is skipped. Source: RFC 9112, 2.2.
    if (!reader.started()) input_.erase(0, input_.find_first_not_of("\r\n"));
    if (input_.size() > seen) {
      input_.erase(0, reader.feed(input_));
      seen = input_.size();
    }
    if (reader.state() != MessageReader::State::head) break;
    if (forced_ || input_ended_ || shared_.stopping) co_return false;
    if (Clock::now() >= deadline) {
      co_await refuse(408, make_error(ErrorCode::timeout, "the request head came too slowly"));
      co_return false;
    }
    start_read();
    co_await wait(deadline);
  }
  if (reader.state() == MessageReader::State::failed) {
    unread_body_ = true;
    co_await refuse(reader.error_status(), reader.error());
    co_return false;
  }
  co_return true;
}

/// Refuses what must not reach a handler, and fills the request from the head.
asio::awaitable<bool> Connection::check_head(MessageReader& reader, Request& request) {
  MessageHead& head = reader.head();
  unread_body_ = reader.state() == MessageReader::State::body;
  int hosts = 0;
  bool odd_coding = false;
  for (const auto& [name, value] : head.headers) {
    if (equal_ignoring_case(name, "Host")) ++hosts;
    if (equal_ignoring_case(name, "Transfer-Encoding") &&
        (!equal_ignoring_case(value, "chunked") || head.content_length || head.is_http10)) {
      odd_coding = true;
    }
  }
  if (odd_coding) {
    co_await refuse(501, unsupported("the only Transfer-Encoding spoken here is chunked"));
    co_return false;
  }
  if (hosts > 1 || (hosts == 0 && !head.is_http10)) {
    co_await refuse(400, invalid_argument("a request needs exactly one Host field"));
    co_return false;
  }
  std::string_view target = head.target;
  if (target.starts_with("http://") || target.starts_with("https://")) {
    const size_t slash = target.find('/', target.find("//") + 2);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  const size_t mark = std::min(target.find('?'), target.size());
  auto path = percent_decode(target.substr(0, mark));
  if (!path || (!path->starts_with('/') && *path != "*")) {
    co_await refuse(400, invalid_argument("the request target is not a path"));
    co_return false;
  }
  request.path = std::move(*path);
  request.query = target.substr(std::min(mark + 1, target.size()));
  request.method = std::move(head.method);
  request.headers = std::move(head.headers);
  request.is_http10 = head.is_http10;
  request.client = peer_;
  co_return true;
}

asio::awaitable<bool> Connection::read_body(MessageReader& reader) {
  const Time deadline = after_ms(shared_.options.limits.body_timeout_ms);
  // What has come is charged, not what was announced: announcing costs a peer nothing.
  size_t charged = 0;
  bool affordable = true;
  bool fresh = true;
  while (reader.state() == MessageReader::State::body && affordable) {
    if (fresh && !input_.empty()) input_.erase(0, reader.feed(input_));
    if (reader.body().size() > charged) {
      affordable = take_budget(reader.body().size() - charged);
      charged = reader.body().size();
    }
    if (reader.state() != MessageReader::State::body || !affordable) break;
    if (forced_ || input_ended_) co_return false;
    if (Clock::now() >= deadline) {
      co_await refuse(408, make_error(ErrorCode::timeout, "the body came too slowly"));
      co_return false;
    }
    const size_t before = input_.size();
    start_read();
    co_await wait(deadline);
    fresh = input_.size() > before;
  }
  if (!affordable) {
    release_budget();  // others need not wait until this peer has read its refusal
    co_await refuse(503, unavailable("too many large requests at once; try again"));
    co_return false;
  }
  if (reader.state() == MessageReader::State::failed) {
    co_await refuse(reader.error_status(), reader.error());
    co_return false;
  }
  unread_body_ = false;
  co_return true;
}

AnswerStyle Connection::style_of(const MessageHead& head) const {
  AnswerStyle style;
  style.is_head = head.method == "HEAD";
  style.is_http10 = head.is_http10;
  // An HTTP/1.0 stream ends where its connection ends, so those are not kept.
  style.keep_alive = head.keep_alive && !head.is_http10 && !shared_.stopping;
  style.cors_origin = shared_.options.cors_origin;
  return style;
}

asio::awaitable<Connection::Next> Connection::read_request(Request& request, AnswerStyle& style) {
  const ServerLimits& limits = shared_.options.limits;
  MessageReader reader(MessageReader::Kind::request, {.head_bytes_max = limits.head_bytes_max,
                                                      .body_bytes_max = limits.body_bytes_max});
  if (!co_await read_head(reader)) co_return Next::close;
  style = style_of(reader.head());
  if (!co_await check_head(reader, request)) co_return Next::close;
  if (reader.state() == MessageReader::State::body) {
    const std::string_view expect = request.header("Expect");
    if (!expect.empty() && !equal_ignoring_case(expect, "100-continue")) {
      co_await refuse(417, invalid_argument("the only Expect understood is 100-continue"));
      co_return Next::close;
    }
    if (!expect.empty() && input_.empty()) {
      const bool sent = co_await send("HTTP/1.1 100 Continue\r\n\r\n");
      if (!sent) co_return Next::close;
    }
    if (!co_await read_body(reader)) co_return Next::close;
  }
  request.body = std::move(reader.body());
  co_return Next::serve;
}

/// Answers a request that never reaches a handler; the connection ends afterwards.
asio::awaitable<void> Connection::refuse(int status, Error error) {
  AnswerStyle style;
  style.keep_alive = false;
  style.cors_origin = shared_.options.cors_origin;
  Outbox answer(style, 0, nullptr);
  answer.respond(status, {{"Content-Type", "application/json"}},
                 error_body(shared_.options, status, error));
  LOG(debug, "http_refused", {"client", peer_}, {"status", status}, {"why", error.message});
  co_await send(answer.take().bytes);
}

namespace {

/// Answers a browser's question before a cross-origin call. Source: Fetch standard, 3.2.
void answer_preflight(Outbox& outbox, const Request& request) {
  Headers headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"},
                     {"Access-Control-Max-Age", "600"}};
  const std::string_view wanted = request.header("Access-Control-Request-Headers");
  if (!wanted.empty()) headers.emplace_back("Access-Control-Allow-Headers", std::string(wanted));
  outbox.respond(204, std::move(headers), "");
}

}  // namespace

/// Runs the handler and sends its answer. True when the connection can take another request.
asio::awaitable<bool> Connection::serve(Request request, AnswerStyle style) {
  const auto outbox =
      std::make_shared<Outbox>(std::move(style), shared_.options.limits.output_bytes_max,
                               [weak = weak_from_this(), executor = timer_.get_executor()] {
                                 asio::post(executor, [weak] {
                                   if (const auto self = weak.lock()) self->wake();
                                 });
                               });
  if (!shared_.options.cors_origin.empty() && request.method == "OPTIONS" &&
      !request.header("Access-Control-Request-Method").empty()) {
    answer_preflight(*outbox, request);
  } else {
    try {
      shared_.handler(make_exchange(std::move(request), outbox));
    } catch (const std::exception& e) {
      LOG(error, "http_handler_threw", {"what", e.what()});
    }
  }

  // An exchange may outlive us; whatever ends this coroutine must reach it.
  struct Guard {
    Outbox& outbox;
    ~Guard() { outbox.client_gone(); }
  } guard{*outbox};
  co_return co_await send_answer(*outbox);
}

asio::awaitable<bool> Connection::send_answer(Outbox& outbox) {
  Time last_output = Clock::now();
  bool complete = false;
  while (true) {
    int64_t heartbeat_ms = 0;
    if (!writing_ && output_.empty()) {
      Outbox::Taken taken = outbox.take();
      output_ = std::move(taken.bytes);
      complete = taken.complete;
      heartbeat_ms = taken.heartbeat_ms;
      if (output_.empty() && complete) {
        outbox.sent();
        co_return outbox.keep_alive() && !shared_.stopping;
      }
      if (!output_.empty()) last_output = Clock::now();
    }
    start_write();
    start_read();
    // A client that closed its sending half still gets an answer that is there already.
    if ((input_ended_ && !complete) || write_failed_ || forced_ || outbox.cut() ||
        Clock::now() >= write_deadline_) {
      outbox.client_gone();
      shared_.metrics.cut.add();
      // What is half sent must look half sent: no goodbye.
      input_ended_ = write_failed_ = true;
      co_return false;
    }
    const bool silent = heartbeat_ms > 0 && !writing_;
    const Time deadline = silent ? last_output + milliseconds(heartbeat_ms) : write_deadline_;
    const bool woken = co_await wait(deadline);
    if (silent && !woken) outbox.beat();
  }
}

/// Ends the connection so that the peer gets our last bytes: a socket closed with unread input is
/// reset, and the reset can overtake the answer.
asio::awaitable<void> Connection::say_goodbye() {
  if (write_failed_ || forced_) co_return;
  const Time deadline = Clock::now() + kLinger;
  bool done = false;
  if (!unread_body_ || !transport_->is_tls()) {
    transport_->shutdown([&done, self = shared_from_this()](error_code, size_t) {
      done = true;
      self->wake();
    });
  }
  size_t dropped = 0;
  const bool drain = unread_body_;
  while (drain ? !input_ended_ : !done) {
    if (Clock::now() >= deadline || forced_ || dropped > kLingerBytesMax) break;
    if (drain) {
      dropped += input_.size();
      input_.clear();
      start_read();
    }
    co_await wait(deadline);
  }
  if (done || (drain && transport_->is_tls())) co_return;
  // The callback refers to this frame: let it come.
  transport_->close();
  while (!done) co_await wait(Time::max());
}

}  // namespace hadal::http::internal
