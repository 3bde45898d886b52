#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace hadal::http::internal {

struct ReaderLimits {
  size_t head_bytes_max = 64 << 10;
  uint64_t body_bytes_max = 32 << 20;
};

/// The start line and the fields of a message.
struct MessageHead {
  std::string method;  ///< of a request
  std::string target;  ///< of a request, as sent
  int status = 0;      ///< of a response
  bool is_http10 = false;
  Headers headers;
  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = false;
};

/// Reads one HTTP/1 message from bytes that come in pieces. Pure: no sockets, no clock.
/// Errors: state() is failed and error_status() is what a server answers: 400, 413, 431, 501, 505.
class MessageReader {
 public:
  enum class Kind { request, response };
  enum class State { head, body, complete, failed };

  MessageReader(Kind kind, const ReaderLimits& limits);
  ~MessageReader();
  MessageReader(MessageReader&&) noexcept;
  MessageReader& operator=(MessageReader&&) noexcept;

  /// Takes bytes from the front of `bytes` and returns how many: the rest must be presented again,
  /// followed by more. Returns early once, between head and body; call it again for the body.
  size_t feed(std::string_view bytes);
  /// The peer will send no more.
  void feed_eof();
  /// Of a response to HEAD: there is no body whatever the head says. Call before the first feed.
  void expect_no_body();

  State state() const;
  /// Valid once the state is body or complete.
  const MessageHead& head() const;
  MessageHead& head();
  /// The decoded body so far; the caller may take bytes out of it at any time.
  std::string& body();
  /// Whether any byte of the message was seen.
  bool started() const;

  int error_status() const;
  const Error& error() const;

 private:
  class Impl;
  template <bool is_request>
  class Parser;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::http::internal
