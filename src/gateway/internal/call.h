#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine_api/backend.h"
#include "http/server.h"

namespace hadal::gateway::internal {

/// The gateway's numbers; see api/metrics.md.
struct GatewayMetrics {
  explicit GatewayMetrics(MetricsRegistry& registry);

  MetricsRegistry& registry;
  Gauge& in_flight;
  Counter& client_gone;
  Counter& prompt_tokens;
  Counter& cached_tokens;
  Counter& completion_tokens;
  Counter& reasoning_tokens;
  Histogram& first_token_seconds;
  Histogram& delta_seconds;
  Histogram& duration_seconds;
};

/// One request from arrival to its line in the log. Registry and clock must outlive it.
/// Threading: one thread at a time.
class Call {
 public:
  Call(std::shared_ptr<http::Exchange> exchange, std::shared_ptr<GatewayMetrics> metrics,
       const Clock& clock);
  /// Counts and logs the call.
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const http::Request& request() const { return exchange_->request(); }
  http::Exchange& exchange() { return *exchange_; }
  std::shared_ptr<http::Exchange> share_exchange() const { return exchange_; }
  const std::string& id() const { return id_; }
  const Clock& clock() const { return clock_; }
  /// The route's name, for metrics: never a path that a client made up.
  void set_route(std::string_view route) { route_ = route; }

  void respond(int status, std::string_view content_type, std::string body,
               http::Headers headers = {});
  void respond(const Error& error);
  /// Begins a stream of server-sent events.
  void start_stream(http::Heartbeat heartbeat);
  /// The status to count when nothing was answered.
  void set_status(int status) { status_ = status; }
  /// Set it when the client goes away: the call is then counted as abandoned. Any thread.
  std::shared_ptr<std::atomic<bool>> client_gone() const { return client_gone_; }
  /// Counts an answer by what ended it.
  void count_answer(std::string_view finish_reason);
  /// Counts the tokens of all answers.
  void set_usage(const engine_api::Usage& usage);
  /// Records that new text of an answer came.
  void on_delta(int index);

 private:
  std::shared_ptr<http::Exchange> exchange_;
  const std::shared_ptr<GatewayMetrics> metrics_;
  const Clock& clock_;
  const std::string id_;
  const int64_t begin_ns_;
  std::vector<int64_t> last_delta_ns_;  ///< by answer; 0: none yet
  int64_t first_delta_ns_ = 0;
  std::string route_ = "other";
  int status_ = 0;
  engine_api::Usage usage_;
  std::string finish_reason_;
  std::shared_ptr<std::atomic<bool>> client_gone_ = std::make_shared<std::atomic<bool>>(false);
};

/// 16 hexadecimal digits that nobody else has.
std::string random_hex();

}  // namespace hadal::gateway::internal
