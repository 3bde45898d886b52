#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "http/server.h"

namespace hadal::http::internal {

/// How the head of an answer is framed; fixed when its request was read.
struct AnswerStyle {
  bool is_head = false;    ///< no body goes out
  bool is_http10 = false;  ///< no chunks
  bool keep_alive = true;
  std::string cors_origin;
};

/// The answer of one exchange on its way from any thread to the connection that sends it.
/// Threading: any thread.
class Outbox {
 public:
  /// `wake` tells the connection that something changed; it is called with the lock held and must
  /// only post.
  Outbox(AnswerStyle style, size_t output_bytes_max, std::function<void()> wake)
      : style_(std::move(style)), output_bytes_max_(output_bytes_max), wake_(std::move(wake)) {}

  // For the exchange.
  void respond(int status, Headers&& headers, std::string&& body);
  void start_stream(int status, Headers&& headers, Heartbeat&& heartbeat);
  bool write(std::string_view bytes);
  void finish();
  void on_disconnect(std::function<void()> callback);
  /// The exchange was dropped.
  void abandon();

  // For the connection.
  struct Taken {
    std::string bytes;         ///< to send now
    bool complete = false;     ///< nothing follows them
    int64_t heartbeat_ms = 0;  ///< send one after so long a silence; 0: none
  };
  Taken take();
  /// Queues a heartbeat if the stream is open.
  void beat();
  /// The client has gone: calls the callback, and forgets the connection.
  void client_gone();
  /// The answer was sent completely: forgets the connection.
  void sent();
  bool keep_alive() const { return style_.keep_alive; }
  /// Whether the stream cannot go on, also while bytes of it wait to be sent.
  bool cut() const;

 private:
  std::string head_text(int status, const Headers& headers, const std::string& framing) const;
  void append_chunk(std::string_view bytes);

  const AnswerStyle style_;
  const size_t output_bytes_max_;
  mutable std::mutex mutex_;
  std::function<void()> wake_;  ///< empty once the connection is done with us
  std::string pending_;
  Heartbeat heartbeat_;
  std::function<void()> callback_;
  bool begun_ = false;
  bool finished_ = false;
  bool cut_ = false;
  bool gone_ = false;
};

/// The Exchange that handlers hold.
std::shared_ptr<Exchange> make_exchange(Request request, std::shared_ptr<Outbox> outbox);

}  // namespace hadal::http::internal
