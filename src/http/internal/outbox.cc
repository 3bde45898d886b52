#include "http/internal/outbox.h"

#include <cstdio>
#include <ctime>

#include "base/check.h"

namespace hadal::http::internal {
namespace {

// Source: RFC 9110, 5.6.7 (IMF-fixdate).
std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[48];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return text;
}

// A field must stay on its line, whatever a handler put into it.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  for (const char c : value) {
    const auto u = static_cast<unsigned char>(c);
    out += u < 0x20 || u == 0x7f ? ' ' : c;
  }
  out += "\r\n";
}

class ExchangeImpl final : public Exchange {
 public:
  ExchangeImpl(Request request, std::shared_ptr<Outbox> outbox)
      : Exchange(std::move(request)), outbox_(std::move(outbox)) {}
  ~ExchangeImpl() override { outbox_->abandon(); }

  void respond(int status, Headers headers, std::string body) override {
    outbox_->respond(status, std::move(headers), std::move(body));
  }
  void start_stream(int status, Headers headers, Heartbeat heartbeat) override {
    outbox_->start_stream(status, std::move(headers), std::move(heartbeat));
  }
  bool write(std::string_view bytes) override { return outbox_->write(bytes); }
  void finish() override { outbox_->finish(); }
  void on_disconnect(std::function<void()> callback) override {
    outbox_->on_disconnect(std::move(callback));
  }

 private:
  std::shared_ptr<Outbox> outbox_;
};

}  // namespace

std::shared_ptr<Exchange> make_exchange(Request request, std::shared_ptr<Outbox> outbox) {
  return std::make_shared<ExchangeImpl>(std::move(request), std::move(outbox));
}

std::string Outbox::head_text(int status, const Headers& headers,
                              const std::string& framing) const {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out.append(reason_phrase(status)).append("\r\n");
  append_field(out, "Date", http_date());
  for (const auto& [name, value] : headers) append_field(out, name, value);
  if (!style_.cors_origin.empty()) {
    append_field(out, "Access-Control-Allow-Origin", style_.cors_origin);
    if (style_.cors_origin != "*") append_field(out, "Vary", "Origin");
    append_field(out, "Access-Control-Expose-Headers", "x-request-id, retry-after");
  }
  out += framing;
  append_field(out, "Connection", style_.keep_alive ? "keep-alive" : "close");
  return out += "\r\n";
}

void Outbox::respond(int status, Headers&& headers, std::string&& body) {
  std::lock_guard lock(mutex_);
  CHECK(!begun_, "an exchange is answered once");
  begun_ = finished_ = true;
  callback_ = nullptr;
  if (gone_) return;
  const bool bodyless = status == 204 || status == 304 || status < 200;
  pending_ = head_text(status, headers,
                       bodyless ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n");
  if (!style_.is_head && !bodyless) pending_ += body;
  if (wake_) wake_();
}

void Outbox::start_stream(int status, Headers&& headers, Heartbeat&& heartbeat) {
  std::lock_guard lock(mutex_);
  CHECK(!begun_, "an exchange is answered once");
  begun_ = true;
  heartbeat_ = std::move(heartbeat);
  if (gone_) return;
  pending_ = head_text(status, headers, style_.is_http10 ? "" : "Transfer-Encoding: chunked\r\n");
  if (wake_) wake_();
}

// Source: RFC 9112, 7.1. An empty chunk would end the body.
void Outbox::append_chunk(std::string_view bytes) {
  if (style_.is_head || bytes.empty()) return;
  if (style_.is_http10) {
    pending_ += bytes;
    return;
  }
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  pending_.append(size).append(bytes).append("\r\n");
}

bool Outbox::write(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  CHECK(begun_ && !finished_, "write belongs between start_stream and finish");
  if (gone_ || cut_) return false;
  if (pending_.size() + bytes.size() > output_bytes_max_) {
    cut_ = true;
    if (wake_) wake_();
    return false;
  }
  append_chunk(bytes);
  if (wake_) wake_();
  return true;
}

void Outbox::finish() {
  std::lock_guard lock(mutex_);
  CHECK(begun_ && !finished_, "finish belongs after start_stream, once");
  finished_ = true;
  callback_ = nullptr;
  if (gone_ || cut_) return;
  if (!style_.is_head && !style_.is_http10) pending_ += "0\r\n\r\n";
  if (wake_) wake_();
}

void Outbox::on_disconnect(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    if (!gone_) {
      callback_ = std::move(callback);
      return;
    }
  }
  callback();
}

void Outbox::abandon() {
  {
    std::lock_guard lock(mutex_);
    callback_ = nullptr;
    if (finished_ || gone_) return;
    if (begun_) {
      cut_ = true;
      if (wake_) wake_();
      return;
    }
  }
  respond(500, {{"Content-Type", "application/json"}},
          R"({"error":{"message":"the request was dropped","type":"server_error",)"
          R"("param":null,"code":"internal"}})");
}

Outbox::Taken Outbox::take() {
  std::lock_guard lock(mutex_);
  Taken taken;
  taken.bytes.swap(pending_);
  taken.complete = finished_ && !cut_;
  taken.heartbeat_ms = begun_ && !finished_ ? heartbeat_.every_ms : 0;
  return taken;
}

void Outbox::beat() {
  std::lock_guard lock(mutex_);
  if (begun_ && !finished_ && pending_.empty()) append_chunk(heartbeat_.bytes);
}

void Outbox::client_gone() {
  std::function<void()> callback;
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
    wake_ = nullptr;
    pending_ = {};
    callback.swap(callback_);
    if (finished_) callback = nullptr;
  }
  if (callback) callback();
}

void Outbox::sent() {
  std::lock_guard lock(mutex_);
  gone_ = true;
  wake_ = nullptr;
}

bool Outbox::cut() const {
  std::lock_guard lock(mutex_);
  return cut_;
}

}  // namespace hadal::http::internal
