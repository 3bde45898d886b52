#include "http/client.h"

#include <algorithm>
#include <utility>

#include "http/internal/blocking_stream.h"
#include "http/internal/message_reader.h"

namespace hadal::http {
namespace {

// A redirect says what it has to say in its head.
constexpr uint64_t kRedirectBodyMax = 64 << 10;

using internal::BlockingStream;
using internal::MessageReader;

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && std::all_of(host.begin(), host.end(), [](char c) {
            return c == '.' || (c >= '0' && c <= '9');
          }));
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

class ClientImpl final : public Client {
 public:
  ClientImpl(ClientOptions options, std::optional<Url> proxy)
      : options_(std::move(options)), proxy_(std::move(proxy)) {}

  Result<ResponseHead> fetch(const ClientRequest& request, const Receiver& receiver) override {
    TRY(Url url, parse_url(request.url));
    Headers headers = request.headers;
    const bool may_follow = request.method == "GET" || request.method == "HEAD";
    for (int hops = 0;; ++hops) {
      TRY_VOID(check_plain(url));
      TRY(ResponseHead head, exchange(request, url, headers, receiver, may_follow));
      const std::string_view location = head.header("Location");
      if (!may_follow || !is_redirect(head.status) || location.empty()) return head;
      if (hops == options_.redirects_max) {
        return unavailable(request.url + ": more than " + std::to_string(options_.redirects_max) +
                           " redirects");
      }
      TRY(Url next, resolve_url(url, location));
      if (url.tls && !next.tls && !is_loopback(next.host)) {
        return make_error(ErrorCode::permission_denied,
                          url.origin() + " redirects to plain http at " + next.origin());
      }
      if (next.origin() != url.origin()) {
        // What we were trusted with for one origin is not for another.
        std::erase_if(headers, [](const auto& h) {
          return equal_ignoring_case(h.first, "Authorization") ||
                 equal_ignoring_case(h.first, "Cookie");
        });
      }
      url = std::move(next);
    }
  }

 private:
  Status check_plain(const Url& url) const {
    if (url.tls || options_.allow_plain_http || is_loopback(url.host)) return {};
    return make_error(ErrorCode::permission_denied,
                      "plain http to another machine: " + url.origin())
        .with_hint("use https, or allow plain http explicitly");
  }

  bool through_proxy(const Url& url) const { return proxy_ && !is_loopback(url.host); }

  Status connect(const Url& url, const std::atomic<bool>* cancel) {
    close();
    stream_ = std::make_unique<BlockingStream>(options_.idle_timeout_ms);
    const Url& first = through_proxy(url) ? *proxy_ : url;
    TRY_VOID(stream_->connect(first.host, first.port, options_.connect_timeout_ms, cancel));
    if (url.tls) {
      if (through_proxy(url)) TRY_VOID(open_tunnel(url, cancel));
      if (!tls_) {
        TRY(tls_, internal::make_client_context(options_.ca_file, options_.verify_tls));
      }
      TRY_VOID(stream_->start_tls(*tls_, url.host, options_.verify_tls, cancel));
    }
    origin_ = url.origin();
    return {};
  }

  /// Source: RFC 9110, 9.3.6 (CONNECT).
  Status open_tunnel(const Url& url, const std::atomic<bool>* cancel) {
    const std::string target = url.host + ":" + url.port;
    TRY_VOID(
        stream_->write("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n", cancel));
    MessageReader reader(MessageReader::Kind::response, {.body_bytes_max = 1 << 20});
    reader.expect_no_body();
    std::string input;
    while (reader.state() == MessageReader::State::head) {
      TRY(const std::string_view bytes, stream_->read(cancel));
      if (bytes.empty()) return unavailable("the proxy closed the connection");
      input += bytes;
      input.erase(0, reader.feed(input));
    }
    if (reader.state() == MessageReader::State::failed || reader.head().status / 100 != 2) {
      return unavailable("the proxy " + proxy_->origin() + " refused to connect to " + target);
    }
    return {};
  }

  void close() {
    stream_.reset();
    origin_.clear();
  }

  std::string request_text(const ClientRequest& request, const Url& url,
                           const Headers& headers) const {
    const bool absolute = through_proxy(url) && !url.tls;
    std::string host = url.origin().substr(url.tls ? 8 : 7);
    std::string out = request.method + " " + (absolute ? url.origin() : "") + url.target +
                      " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + options_.user_agent +
                      "\r\nAccept-Encoding: identity\r\n";
    for (const auto& [name, value] : headers) out.append(name).append(": ").append(value + "\r\n");
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
      out += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
    }
    return out + "\r\n" + request.body;
  }

  /// One request on one connection, a kept one if it still lives.
  Result<ResponseHead> exchange(const ClientRequest& request, const Url& url,
                                const Headers& headers, const Receiver& receiver, bool may_follow) {
    for (const auto& [name, value] : headers) {
      if ((name + value).find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
        return invalid_argument("a line break in header field " + name);
      }
    }
    const std::string text = request_text(request, url, headers);
    bool kept = stream_ != nullptr && stream_->is_open() && origin_ == url.origin();
    while (true) {
      if (!kept) TRY_VOID(connect(url, request.cancel));
      MessageReader reader(
          MessageReader::Kind::response,
          {.head_bytes_max = options_.head_bytes_max, .body_bytes_max = uint64_t{1} << 62});
      if (request.method == "HEAD") reader.expect_no_body();
      auto result = converse(request, url, text, receiver, may_follow, reader);
      if (!result) {
        const bool stale =
            kept && !reader.started() && result.error().code == ErrorCode::unavailable;
        close();
        if (!stale) return result;
        // The server closed the connection while it was idle: nothing of the request was done.
        kept = false;
        continue;
      }
      if (!reader.head().keep_alive) close();
      return result;
    }
  }

  Result<ResponseHead> converse(const ClientRequest& request, const Url& url,
                                const std::string& text, const Receiver& receiver, bool may_follow,
                                MessageReader& reader) {
    TRY_VOID(stream_->write(text, request.cancel));
    std::string input;
    ResponseHead head;
    bool have_head = false;
    bool wanted = true;
    while (true) {
      if (!input.empty()) input.erase(0, reader.feed(input));
      if (reader.state() == MessageReader::State::failed) {
        return corrupt(url.origin() + ": " + reader.error().message);
      }
      if (!have_head && reader.state() != MessageReader::State::head) {
        have_head = true;
        head = {.status = reader.head().status,
                .headers = reader.head().headers,
                .url = url.origin() + url.target,
                .content_length = reader.head().content_length};
        wanted = !(may_follow && is_redirect(head.status) && !head.header("Location").empty());
        if (!wanted && head.content_length.value_or(kRedirectBodyMax + 1) > kRedirectBodyMax) {
          reader.head().keep_alive = false;  // not worth reading to its end
          return head;
        }
        if (wanted && receiver.on_head) TRY_VOID(receiver.on_head(head));
        if (!input.empty() && reader.state() == MessageReader::State::body) continue;
      }
      if (!reader.body().empty()) {
        const std::string piece = std::exchange(reader.body(), {});
        if (wanted && receiver.on_body) TRY_VOID(receiver.on_body(piece));
      }
      if (reader.state() == MessageReader::State::complete) return head;
      TRY(const std::string_view bytes, stream_->read(request.cancel));
      input += bytes;
      if (bytes.empty()) {
        if (!reader.started()) return unavailable(url.origin() + ": closed without an answer");
        reader.feed_eof();
        if (reader.state() != MessageReader::State::complete) {
          return unavailable(url.origin() + ": the connection was cut in the middle of an answer");
        }
        reader.head().keep_alive = false;
        input.clear();
      }
    }
  }

  const ClientOptions options_;
  const std::optional<Url> proxy_;
  std::shared_ptr<internal::asio::ssl::context> tls_;
  std::unique_ptr<BlockingStream> stream_;
  std::string origin_;  ///< what stream_ is connected to
};

}  // namespace

Result<std::unique_ptr<Client>> Client::create(ClientOptions options) {
  std::optional<Url> proxy;
  if (!options.proxy.empty()) {
    const bool bare = options.proxy.find("://") == std::string::npos;
    TRY(proxy, parse_url(bare ? "http://" + options.proxy : options.proxy));
    if (proxy->tls) return invalid_argument("a proxy is reached by http://, not https://");
  }
  if (!options.ca_file.empty()) {
    TRY_VOID(internal::make_client_context(options.ca_file, options.verify_tls));
  }
  return std::unique_ptr<Client>(
      std::make_unique<ClientImpl>(std::move(options), std::move(proxy)));
}

Result<Response> Client::get(const ClientRequest& request, size_t body_bytes_max) {
  Response response;
  TRY(response.head,
      fetch(request, {.on_head = nullptr, .on_body = [&](std::string_view bytes) -> Status {
                        if (bytes.size() > body_bytes_max - response.body.size()) {
                          return too_large(request.url + ": the answer is longer than " +
                                           std::to_string(body_bytes_max) + " bytes");
                        }
                        response.body += bytes;
                        return {};
                      }}));
  return response;
}

}  // namespace hadal::http
