#include "gateway/internal/call.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "base/log.h"
#include "base/rng.h"
#include "protocol/openai_response.h"

namespace hadal::gateway::internal {
namespace {

double seconds(int64_t ns) { return static_cast<double>(ns) * 1e-9; }

std::vector<double> latency_bounds() {
  return {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

/// The client's id when it is short and plain, so that logs and headers stay what they are.
std::string request_id(const http::Request& request) {
  const std::string_view given = request.header("x-request-id");
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (!given.empty() && given.size() <= 128 && std::all_of(given.begin(), given.end(), plain)) {
    return std::string(given);
  }
  return "req_" + random_hex();
}

}  // namespace

std::string random_hex() {
  static const uint64_t start = [] {
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32) ^ device();
  }();
  static std::atomic<uint64_t> count{0};
  char text[20];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(splitmix64(start + count.fetch_add(1))));
  return text;
}

GatewayMetrics::GatewayMetrics(MetricsRegistry& r)
    : registry(r),
      in_flight(r.gauge("hadal_requests_in_flight", "Requests being answered.")),
      client_gone(r.counter("hadal_requests_abandoned_total",
                            "Requests whose client went away before the answer was complete.")),
      prompt_tokens(r.counter("hadal_prompt_tokens_total", "Prompt tokens of answered requests.")),
      cached_tokens(r.counter("hadal_cached_prompt_tokens_total",
                              "Prompt tokens found in the prefix cache.")),
      completion_tokens(r.counter("hadal_completion_tokens_total", "Tokens written.")),
      reasoning_tokens(
          r.counter("hadal_reasoning_tokens_total", "Tokens written that were reasoning.")),
      first_token_seconds(r.histogram("hadal_time_to_first_token_seconds",
                                      "From a request's arrival to its first text.",
                                      latency_bounds())),
      delta_seconds(r.histogram("hadal_inter_token_seconds",
                                "Between two pieces of text of one answer.",
                                {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5})),
      duration_seconds(r.histogram("hadal_request_duration_seconds",
                                   "From a request's arrival to the end of its answer.",
                                   latency_bounds())) {}

Call::Call(std::shared_ptr<http::Exchange> exchange, std::shared_ptr<GatewayMetrics> metrics,
           const Clock& clock)
    : exchange_(std::move(exchange)),
      metrics_(std::move(metrics)),
      clock_(clock),
      id_(request_id(exchange_->request())),
      begin_ns_(clock.now_ns()) {
  metrics_->in_flight.add(1);
}

Call::~Call() {
  const int64_t end_ns = clock_.now_ns();
  if (*client_gone_) {
    // Source: nginx's status for a client that closed its request.
    status_ = 499;
    metrics_->client_gone.add();
  }
  metrics_->in_flight.add(-1);
  metrics_->duration_seconds.observe(seconds(end_ns - begin_ns_));
  metrics_->registry
      .counter("hadal_requests_total", "Requests by route and HTTP status.",
               {{"route", route_}, {"status", std::to_string(status_)}})
      .add();
  if (status_ >= 500) {
    LOG(warn, "request_failed", {"request_id", id_}, {"route", route_}, {"status", status_},
        {"client", request().client}, {"duration_ms", (end_ns - begin_ns_) / 1'000'000});
  } else if (first_delta_ns_ != 0 || !finish_reason_.empty()) {
    LOG(info, "answer", {"request_id", id_}, {"route", route_}, {"status", status_},
        {"client", request().client}, {"duration_ms", (end_ns - begin_ns_) / 1'000'000},
        {"first_token_ms", first_delta_ns_ == 0 ? -1 : (first_delta_ns_ - begin_ns_) / 1'000'000},
        {"prompt_tokens", usage_.prompt_tokens}, {"cached_tokens", usage_.cached_tokens},
        {"completion_tokens", usage_.completion_tokens}, {"finish_reason", finish_reason_});
  } else if (status_ >= 400) {
    LOG(info, "request", {"request_id", id_}, {"route", route_}, {"status", status_},
        {"method", request().method}, {"client", request().client},
        {"duration_ms", (end_ns - begin_ns_) / 1'000'000});
  } else {
    LOG(debug, "request", {"request_id", id_}, {"route", route_}, {"status", status_},
        {"method", request().method}, {"client", request().client},
        {"duration_ms", (end_ns - begin_ns_) / 1'000'000});
  }
}

void Call::respond(int status, std::string_view content_type, std::string body,
                   http::Headers headers) {
  status_ = status;
  headers.emplace_back("Content-Type", std::string(content_type));
  headers.emplace_back("x-request-id", id_);
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  exchange_->respond(status, std::move(headers), std::move(body));
}

void Call::respond(const Error& error) {
  const int status = error_class(error.code).http_status;
  http::Headers headers;
  if (status == 503 || status == 429) {
    const int64_t seconds = std::max<int64_t>(error.retry_after_s, 1);
    headers.emplace_back("Retry-After", std::to_string(seconds));
  }
  if (status == 401) headers.emplace_back("WWW-Authenticate", "Bearer");
  respond(status, "application/json", protocol::error_body(error), std::move(headers));
}

void Call::start_stream(http::Heartbeat heartbeat) {
  status_ = 200;
  exchange_->start_stream(200,
                          {{"Content-Type", "text/event-stream; charset=utf-8"},
                           {"Cache-Control", "no-cache"},
                           {"X-Accel-Buffering", "no"},
                           {"x-request-id", id_}},
                          std::move(heartbeat));
}

void Call::count_answer(std::string_view finish_reason) {
  finish_reason_ = finish_reason;
  metrics_->registry
      .counter("hadal_answers_total", "Answers by what ended them.",
               {{"finish_reason", finish_reason_}})
      .add();
}

void Call::set_usage(const engine_api::Usage& usage) {
  usage_ = usage;
  const auto count = [](int64_t n) { return static_cast<uint64_t>(std::max<int64_t>(0, n)); };
  metrics_->prompt_tokens.add(count(usage.prompt_tokens));
  metrics_->cached_tokens.add(count(usage.cached_tokens));
  metrics_->completion_tokens.add(count(usage.completion_tokens));
  metrics_->reasoning_tokens.add(count(usage.reasoning_tokens));
}

void Call::on_delta(int index) {
  const int64_t now = clock_.now_ns();
  const auto i = static_cast<size_t>(index);
  if (i >= last_delta_ns_.size()) last_delta_ns_.resize(i + 1);
  if (first_delta_ns_ == 0) {
    first_delta_ns_ = now;
    metrics_->first_token_seconds.observe(seconds(now - begin_ns_));
  }
  if (last_delta_ns_[i] != 0) metrics_->delta_seconds.observe(seconds(now - last_delta_ns_[i]));
  last_delta_ns_[i] = now;
}

}  // namespace hadal::gateway::internal
