// A test server: the real gateway and HTTP server over a fake backend. Prints its URL on stderr as
// `hadal serve` does, and stops at the end of its standard input.

#include <cstdio>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/fake_backend.h"
#include "gateway/gateway.h"

int main() {
  hadal::MetricsRegistry metrics;
  const hadal::SystemClock clock;
  hadal::gateway::FakeBackend backend;
  hadal::gateway::Gateway gateway(backend, metrics, clock);
  hadal::http::ServerOptions options;
  options.error_body = hadal::gateway::Gateway::error_body;
  options.metrics = &metrics;
  auto server = hadal::http::Server::start(options, gateway.handler());
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  LOG(info, "listening", {"url", (*server)->url()});
  while (std::getchar() != EOF) {
  }
  (*server)->stop(0);
  return 0;
}
