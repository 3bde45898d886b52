// `hadal serve`: the OpenAI API over one local model.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <thread>

#include "apps/serving_flags.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/local_backend.h"
#include "engine/warm_up.h"
#include "gateway/gateway.h"
#include "http/server.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {"MODEL", "a checkpoint; the built-in demo model when absent", false, false}};
constexpr Flag kFlags[] = {
    {.name = "listen",
     .fallback = "127.0.0.1:8080",
     .unit = "HOST:PORT",
     .help = "where to listen; port 0: a free one"},
    {.name = "model-id",
     .unit = "NAME",
     .help = "the name clients use; from the checkpoint when absent"},
    HADAL_MODEL_FLAGS,
    {.name = "sequences-max",
     .kind = Kind::integer,
     .fallback = "16",
     .unit = "REQUESTS",
     .help = "answers at a time",
     .min = 1,
     .max = 4096},
    {.name = "queue-max",
     .kind = Kind::integer,
     .fallback = "64",
     .unit = "REQUESTS",
     .help = "waiting requests; one more is refused",
     .min = 1,
     .max = 100000},
    {.name = "request-timeout-ms",
     .kind = Kind::integer,
     .fallback = "600000",
     .unit = "MS",
     .help = "longest time of one request",
     .min = 1,
     .max = 86400000},
    {.name = "body-bytes-max",
     .kind = Kind::integer,
     .fallback = "33554432",
     .unit = "BYTES",
     .help = "longest request body",
     .min = 1024,
     .max = 1 << 30},
    {.name = "connections-max",
     .kind = Kind::integer,
     .fallback = "1024",
     .help = "open connections",
     .min = 1,
     .max = 100000},
    {.name = "tls-certificate", .unit = "FILE", .help = "PEM chain: serve HTTPS"},
    {.name = "tls-key", .unit = "FILE", .help = "PEM key"},
    {.name = "cors-origin", .unit = "ORIGIN", .help = "pages of this origin may call; * for all"},
    {.name = "allow-host",
     .kind = Kind::list,
     .unit = "NAME",
     .help = "name in the Host field that is answered, besides this machine's own; matters only "
             "on a loopback address without an API key"},
    {.name = "api-key-env",
     .unit = "NAME",
     .help = "environment variable with the key that clients must send"},
    {.name = "chat-page",
     .kind = Kind::boolean,
     .fallback = "true",
     .help = "serve the chat page at /"},
    {.name = "warm", .unit = "IMAGE", .help = "take the prompts that `hadal cache build` computed"},
    {.name = "warm-key",
     .unit = "FILE.pem",
     .help = "public key (Ed25519) that must have signed the image"},
    {.name = "config", .unit = "FILE", .help = "TOML file with these settings; flags win over it"},
    {.name = "dump-config", .kind = Kind::boolean, .help = "print the settings as TOML and exit"},
};
constexpr config::Spec kSpec{"serve", "Serves the OpenAI API for one model.", kPositionals, kFlags,
                             "Ctrl-C or SIGTERM stops accepting, lets answers finish for 5 "
                             "seconds, and exits. A second one exits at once."};

Result<std::string> api_key(const config::Flags& flags) {
  const std::string& name = flags.text("api-key-env");
  if (name.empty()) return std::string();
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == 0) {
    return invalid_argument("the environment variable " + name + " is empty or not set")
        .about("api-key-env");
  }
  return std::string(value);
}

bool is_loopback(std::string_view host) { return host.starts_with("127.") || host == "::1"; }

http::ServerOptions server_options(const config::Flags& flags, const Address& address,
                                   MetricsRegistry& metrics) {
  http::ServerOptions o;
  o.address = address.host;
  o.port = address.port;
  o.limits.body_bytes_max = static_cast<size_t>(flags.integer("body-bytes-max"));
  o.limits.bodies_bytes_max = std::max(o.limits.bodies_bytes_max, 2 * o.limits.body_bytes_max);
  o.limits.connections_max = static_cast<size_t>(flags.integer("connections-max"));
  o.tls_certificate_file = flags.text("tls-certificate");
  o.tls_key_file = flags.text("tls-key");
  o.cors_origin = flags.text("cors-origin");
  o.error_body = gateway::Gateway::error_body;
  o.metrics = &metrics;
  return o;
}

constexpr int64_t kGraceMs = 5000;
constexpr int64_t kLastWordsMs = 1000;

int g_stop_pipe[2] = {-1, -1};

void note_stop(int signal) {
  const char byte = static_cast<char>(signal);
  [[maybe_unused]] const ssize_t written = ::write(g_stop_pipe[1], &byte, 1);
}

/// From here on the first SIGINT or SIGTERM is noted and the second ends the process.
Status catch_stop() {
  if (::pipe2(g_stop_pipe, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  struct sigaction action {};
  action.sa_handler = note_stop;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return {};
}

/// The signal that came.
int wait_for_stop() {
  char byte = 0;
  while (::read(g_stop_pipe[0], &byte, 1) < 0 && errno == EINTR) {
  }
  return byte;
}

Status warm(engine::LoadedModel& model, const config::Flags& flags) {
  const std::string& image = flags.text("warm");
  const std::string& key = flags.text("warm-key");
  if (image.empty()) {
    if (key.empty()) return {};
    return invalid_argument("--warm-key needs --warm IMAGE").about("warm-key");
  }
  TRY(const int64_t pages, engine::load_warm_image(model, image, key));
  if (key.empty()) {
    LOG(warn, "warm_image_not_verified", {"image", image},
        {"why", "whoever can write it can change answers; see --warm-key"});
  }
  LOG(info, "warmed", {"image", image}, {"tokens", pages * model.kv->page_tokens()});
  return {};
}

Result<int> run(const config::Flags& flags) {
  if (flags.boolean("dump-config")) {
    std::fputs(flags.dump().c_str(), stdout);
    return 0;
  }
  TRY(const Address address, parse_address(flags.text("listen")));
  TRY(const std::string key, api_key(flags));
  TRY(auto model, load_for_answers(flags.positional(0), flags, flags.integer("sequences-max")));
  if (!flags.text("model-id").empty()) model->id = flags.text("model-id");
  TRY_VOID(warm(*model, flags));
  const std::string id = model->id;
  const std::string device = model->device->description();

  const SystemClock clock;
  MetricsRegistry metrics;
  engine::BackendOptions backend_options;
  backend_options.queue_max = static_cast<size_t>(flags.integer("queue-max"));
  backend_options.timeout_ms_max = flags.integer("request-timeout-ms");
  backend_options.fixed_seed = flags.boolean("deterministic");
  engine::LocalBackend backend(std::move(model), backend_options, clock, metrics);
  gateway::GatewayOptions gateway_options;
  gateway_options.api_key = key;
  gateway_options.limits.body_bytes_max = static_cast<size_t>(flags.integer("body-bytes-max"));
  gateway_options.chat_page = flags.boolean("chat-page");
  gateway_options.cors_origin = flags.text("cors-origin");
  if (key.empty() && is_loopback(address.host)) {
    gateway_options.hosts = flags.list("allow-host");
    for (const char* own : {"localhost", "127.0.0.1", "::1"}) gateway_options.hosts.push_back(own);
  }
  gateway::Gateway gateway(backend, metrics, clock, gateway_options);
  TRY(const auto server,
      http::Server::start(server_options(flags, address, metrics), gateway.handler()));
  if (!is_loopback(address.host) && key.empty()) {
    LOG(warn, "open_to_the_network", {"listen", flags.text("listen")},
        {"why", "anyone who reaches this address may use the model; see --api-key-env"});
  }
  TRY_VOID(catch_stop());
  // Whoever started us learns the URL from this line, whatever the log level is.
  log_line(LogLevel::info, "listening",
           {{"url", server->url()}, {"model", id}, {"device", device}});
  const int signal = wait_for_stop();
  LOG(info, "stopping", {"signal", signal});
  // Answers get their time; then the backend ends them, so that streams end with a word of it.
  std::promise<void> stopped;
  std::thread impatience([&, over = stopped.get_future()] {
    if (over.wait_for(std::chrono::milliseconds(kGraceMs)) == std::future_status::timeout)
      backend.stop();
  });
  server->stop(kGraceMs + kLastWordsMs);
  stopped.set_value();
  impatience.join();
  return 0;
}

}  // namespace

extern const Command kServeCommand;
const Command kServeCommand{kSpec, run};

}  // namespace hadal::apps
