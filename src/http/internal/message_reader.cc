#include "http/internal/message_reader.h"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace hadal::http::internal {

namespace bh = boost::beast::http;
using boost::beast::error_code;
using BoostView = boost::beast::string_view;

namespace {

/// A chunk's size line with its extensions, or the trailer: nobody needs more.
constexpr size_t kChunkLineMax = 16 << 10;

std::string to_std(BoostView text) { return std::string(text.data(), text.size()); }

struct Failure {
  int status;
  ErrorCode code;
  const char* message;
};

Failure describe(const error_code& ec) {
  if (ec == bh::error::header_limit || ec == bh::error::buffer_overflow) {
    return {431, ErrorCode::too_large, "the request line and header fields are too long"};
  }
  if (ec == bh::error::body_limit) {
    return {413, ErrorCode::too_large, "the body is longer than this server accepts"};
  }
  if (ec == bh::error::bad_version) {
    return {505, ErrorCode::unsupported, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
  }
  if (ec == bh::error::bad_transfer_encoding || ec == bh::error::bad_content_length ||
      ec == bh::error::multiple_content_length) {
    return {400, ErrorCode::invalid_argument, "Content-Length or Transfer-Encoding is ambiguous"};
  }
  if (ec == bh::error::bad_chunk || ec == bh::error::bad_chunk_extension) {
    return {400, ErrorCode::invalid_argument, "a chunk of the body is malformed"};
  }
  if (ec == bh::error::partial_message || ec == bh::error::end_of_stream) {
    return {400, ErrorCode::invalid_argument, "the message ends too early"};
  }
  return {400, ErrorCode::invalid_argument, "the message is not HTTP"};
}

}  // namespace

class MessageReader::Impl {
 public:
  virtual ~Impl() = default;
  virtual size_t put(std::string_view bytes, error_code& ec) = 0;
  virtual void put_eof(error_code& ec) = 0;
  virtual void skip_body() = 0;
  virtual bool head_done() const = 0;
  virtual bool done() const = 0;

  void fail(int status, ErrorCode code, const char* message) {
    state = State::failed;
    error_status = status;
    error = make_error(code, message);
  }
  void fail(const error_code& ec) {
    const Failure f = describe(ec);
    fail(f.status, f.code, f.message);
  }

  State state = State::head;
  MessageHead head;
  std::string body;
  size_t head_bytes = 0;
  size_t head_bytes_max = 0;
  bool started = false;
  int error_status = 0;
  Error error;
};

/// Collects what Beast's parser reports.
template <bool is_request>
class MessageReader::Parser final : public Impl, private bh::basic_parser<is_request> {
 public:
  explicit Parser(const ReaderLimits& limits) {
    head_bytes_max = limits.head_bytes_max;
    this->header_limit(static_cast<uint32_t>(std::min<size_t>(limits.head_bytes_max, 1u << 30)));
    this->body_limit(limits.body_bytes_max);
    this->eager(false);
  }
  size_t put(std::string_view bytes, error_code& ec) override {
    return Base::put(boost::asio::const_buffer(bytes.data(), bytes.size()), ec);
  }
  void put_eof(error_code& ec) override { Base::put_eof(ec); }
  void skip_body() override { this->skip(true); }
  bool head_done() const override { return this->is_header_done(); }
  bool done() const override { return this->is_done(); }

 private:
  using Base = bh::basic_parser<is_request>;

  void on_request_impl(bh::verb, BoostView method, BoostView target, int version,
                       error_code&) override {
    head.method = to_std(method);
    head.target = to_std(target);
    head.is_http10 = version == 10;
  }
  void on_response_impl(int code, BoostView, int version, error_code&) override {
    head.status = code;
    head.is_http10 = version == 10;
  }
  void on_field_impl(bh::field, BoostView name, BoostView value, error_code&) override {
    // Fields after the last chunk could overwrite what the head said; nobody here needs them.
    if (state != State::head) return;
    head.headers.emplace_back(to_std(name), to_std(value));
  }
  void on_header_impl(error_code&) override {
    head.chunked = this->chunked();
    if (const auto n = this->content_length()) head.content_length = *n;
    head.keep_alive = this->keep_alive();
  }
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(BoostView text, error_code&) override {
    body.append(text.data(), text.size());
    return text.size();
  }
  void on_chunk_header_impl(uint64_t, BoostView, error_code&) override {}
  size_t on_chunk_body_impl(uint64_t, BoostView text, error_code&) override {
    body.append(text.data(), text.size());
    return text.size();
  }
  void on_finish_impl(error_code&) override {}
};

MessageReader::MessageReader(Kind kind, const ReaderLimits& limits) {
  if (kind == Kind::request) {
    impl_ = std::make_unique<Parser<true>>(limits);
  } else {
    impl_ = std::make_unique<Parser<false>>(limits);
  }
}
MessageReader::~MessageReader() = default;
MessageReader::MessageReader(MessageReader&&) noexcept = default;
MessageReader& MessageReader::operator=(MessageReader&&) noexcept = default;

size_t MessageReader::feed(std::string_view bytes) {
  Impl& m = *impl_;
  size_t used = 0;
  while (m.state == State::head || m.state == State::body) {
    // The parser must not see the same bytes twice without new ones behind them.
    if (used == bytes.size()) return used;
    m.started = true;
    error_code ec;
    const size_t n = m.put(bytes.substr(used), ec);
    used += n;
    if (m.state == State::head) {
      m.head_bytes += n;
      const bool too_long =
          m.head_bytes + (m.head_done() ? 0 : bytes.size() - used) > m.head_bytes_max;
      if (too_long && (!ec || ec == bh::error::need_more)) ec = bh::error::header_limit;
    }
    if (ec == bh::error::need_more) {
      if (m.state == State::body && bytes.size() - used > kChunkLineMax) {
        m.fail(bh::error::bad_chunk);
      }
      return used;
    }
    if (ec) {
      m.fail(ec);
      return used;
    }
    if (m.done()) {
      m.state = State::complete;
    } else if (m.state == State::head && m.head_done()) {
      m.state = State::body;
      return used;
    }
  }
  return used;
}

void MessageReader::feed_eof() {
  Impl& m = *impl_;
  if (m.state != State::head && m.state != State::body) return;
  if (!m.started) return m.fail(400, ErrorCode::invalid_argument, "no message");
  error_code ec;
  m.put_eof(ec);
  if (ec) return m.fail(ec);
  m.state = State::complete;
}

void MessageReader::expect_no_body() { impl_->skip_body(); }
MessageReader::State MessageReader::state() const { return impl_->state; }
const MessageHead& MessageReader::head() const { return impl_->head; }
MessageHead& MessageReader::head() { return impl_->head; }
std::string& MessageReader::body() { return impl_->body; }
bool MessageReader::started() const { return impl_->started; }
int MessageReader::error_status() const { return impl_->error_status; }
const Error& MessageReader::error() const { return impl_->error; }

}  // namespace hadal::http::internal
