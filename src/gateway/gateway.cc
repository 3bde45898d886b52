#include "gateway/gateway.h"

#include <algorithm>
#include <vector>

#include "gateway/chat_page.h"
#include "gateway/internal/answer_sink.h"
#include "gateway/internal/call.h"
#include "gateway/internal/embedding_sink.h"
#include "gateway/internal/worker_pool.h"
#include "protocol/openai_response.h"
#include "protocol/tokenize.h"

namespace hadal::gateway {
namespace {

using internal::AnswerForm;
using internal::Call;

constexpr std::string_view kJson = "application/json";

/// Whether two secrets are equal, in a time that does not tell where they differ.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^
                  static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return difference == 0;
}

/// "host:80", "[::1]:80" or "host" without its port and brackets.
std::string_view host_name(std::string_view host) {
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

/// The path of the API without its version: "/v1/models" and "/beta/models" are "/models".
std::string_view without_version(std::string_view path) {
  for (const std::string_view prefix : {"/v1/", "/beta/v1/", "/beta/"}) {
    if (path.starts_with(prefix)) return path.substr(prefix.size() - 1);
  }
  return path;
}

}  // namespace

struct Gateway::Impl {
  Impl(engine_api::Backend& b, MetricsRegistry& registry, const Clock& c, GatewayOptions o)
      : backend(b),
        metrics(std::make_shared<internal::GatewayMetrics>(registry)),
        clock(c),
        options(std::move(o)),
        workers(kWorkers, kWorkQueueMax) {}

  static constexpr int kWorkers = 2;
  static constexpr size_t kWorkQueueMax = 256;

  struct Route {
    std::string_view method;
    std::string_view path;
    std::string_view name;
    bool needs_key;
    void (Impl::*serve)(std::unique_ptr<Call> call);
  };
  static const std::vector<Route>& routes();

  void handle(std::shared_ptr<http::Exchange> exchange);
  bool authorized(const http::Request& request) const;
  Status expected_caller(const http::Request& request) const;

  void on_worker(std::unique_ptr<Call> call, const Route& route);
  void chat(std::unique_ptr<Call> call) { answer(std::move(call), true); }
  void completion(std::unique_ptr<Call> call) { answer(std::move(call), false); }
  void answer(std::unique_ptr<Call> call, bool is_chat);
  void embed(std::unique_ptr<Call> call);
  template <class MakeSink>
  void submit(std::unique_ptr<Call> call, engine_api::Request request, MakeSink make_sink);
  void tokenize(std::unique_ptr<Call> call);
  void detokenize(std::unique_ptr<Call> call);
  engine_api::ModelInfo model_info(const std::string& id) const;
  void models(std::unique_ptr<Call> call);
  void model(std::unique_ptr<Call> call);
  void health(std::unique_ptr<Call> call);
  void ready(std::unique_ptr<Call> call);
  void metrics_text(std::unique_ptr<Call> call);
  void page(std::unique_ptr<Call> call);

  engine_api::Backend& backend;
  // Shared: a call may end after the gateway did.
  const std::shared_ptr<internal::GatewayMetrics> metrics;
  const Clock& clock;
  const GatewayOptions options;
  internal::WorkerPool workers;  ///< last: its threads end before what they use
};

const std::vector<Gateway::Impl::Route>& Gateway::Impl::routes() {
  static const std::vector<Route> table = {
      {"POST", "/chat/completions", "chat_completions", true, &Impl::chat},
      {"POST", "/completions", "completions", true, &Impl::completion},
      {"POST", "/embeddings", "embeddings", true, &Impl::embed},
      {"POST", "/tokenize", "tokenize", true, &Impl::tokenize},
      {"POST", "/detokenize", "detokenize", true, &Impl::detokenize},
      {"GET", "/models", "models", true, &Impl::models},
      {"GET", "/models/", "model", true, &Impl::model},
      {"GET", "/health", "health", false, &Impl::health},
      {"GET", "/ready", "ready", false, &Impl::ready},
      {"GET", "/metrics", "metrics", false, &Impl::metrics_text},
      {"GET", "/", "chat_page", false, &Impl::page},
  };
  return table;
}

void Gateway::Impl::handle(std::shared_ptr<http::Exchange> exchange) {
  auto call = std::make_unique<Call>(std::move(exchange), metrics, clock);
  const http::Request& request = call->request();
  const std::string_view path = without_version(request.path);
  for (const Route& route : routes()) {
    // A route that ends in / takes what follows, except for the page itself.
    const bool open_ended = route.path.size() > 1 && route.path.ends_with('/');
    const bool same = open_ended ? path.starts_with(route.path) && path.size() > route.path.size()
                                 : path == route.path;
    if (!same) continue;
    call->set_route(route.name);
    const bool is_get = route.method == "GET";
    if (request.method == "OPTIONS") {
      return call->respond(204, kJson, "", {{"Allow", is_get ? "GET, HEAD" : "POST"}});
    }
    if (request.method != route.method && !(is_get && request.method == "HEAD")) {
      const Error error = invalid_argument(request.method + " is not a method of " + request.path)
                              .with_hint("use " + std::string(route.method));
      return call->respond(405, kJson, protocol::error_body(error, "method_not_allowed"),
                           {{"Allow", is_get ? "GET, HEAD" : "POST"}});
    }
    if (const Status expected = expected_caller(request); !expected) {
      return call->respond(expected.error());
    }
    if (route.needs_key && !authorized(request)) {
      return call->respond(make_error(ErrorCode::unauthenticated, "the API key is missing or wrong")
                               .with_hint("send Authorization: Bearer <key>"));
    }
    return is_get ? (this->*route.serve)(std::move(call)) : on_worker(std::move(call), route);
  }
  call->respond(
      not_found("no such path: " + request.path)
          .with_hint(
              "the API is at /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/models"));
}

bool Gateway::Impl::authorized(const http::Request& request) const {
  if (options.api_key.empty()) return true;
  constexpr std::string_view kBearer = "Bearer ";
  const std::string_view field = request.header("Authorization");
  return field.size() > kBearer.size() &&
         http::equal_ignoring_case(field.substr(0, kBearer.size()), kBearer) &&
         same_secret(field.substr(kBearer.size()), options.api_key);
}

// A browser lets any page send requests here, under any name that leads here. Where only the place
// of the caller protects the server, both must be what its users would see.
Status Gateway::Impl::expected_caller(const http::Request& request) const {
  if (options.hosts.empty()) return {};
  const std::string_view host = request.header("Host");
  const std::string_view name = host_name(host);
  const bool known = std::ranges::any_of(options.hosts, [&](const std::string& h) {
    return http::equal_ignoring_case(name, h) || (h == "127.0.0.1" && name.starts_with("127."));
  });
  if (!known) {
    return make_error(ErrorCode::permission_denied,
                      "this server does not answer to the name '" + std::string(name) + "'")
        .with_hint("start it with --allow-host " + std::string(name) + " or with an API key");
  }
  const std::string_view origin = request.header("Origin");
  const size_t scheme = origin.find("://");
  const bool same = scheme != std::string_view::npos && origin.substr(scheme + 3) == host;
  if (origin.empty() || same || options.cors_origin == "*" || options.cors_origin == origin)
    return {};
  return make_error(ErrorCode::permission_denied,
                    "pages of '" + std::string(origin) + "' may not call this server")
      .with_hint("start it with --cors-origin to let them");
}

// Reading a body takes as long as its sender likes: not on a network thread.
void Gateway::Impl::on_worker(std::unique_ptr<Call> call, const Route& route) {
  const auto shared = std::make_shared<std::unique_ptr<Call>>(std::move(call));
  const bool posted =
      workers.post([this, shared, &route] { (this->*route.serve)(std::move(*shared)); });
  if (!posted) (*shared)->respond(unavailable("too many requests at once; try again"));
}

// The model of that name, or the default; one without a name when there is none.
engine_api::ModelInfo Gateway::Impl::model_info(const std::string& id) const {
  for (engine_api::ModelInfo& m : backend.models()) {
    if (id.empty() || m.id == id) return m;
  }
  return {};
}

void Gateway::Impl::answer(std::unique_ptr<Call> call, bool is_chat) {
  const std::string& body = call->request().body;
  auto parsed = is_chat ? protocol::parse_chat_request(body, options.limits)
                        : protocol::parse_completion_request(body, options.limits);
  if (!parsed) return call->respond(parsed.error());

  AnswerForm form;
  form.head.id = (is_chat ? "chatcmpl-" : "cmpl-") + internal::random_hex();
  form.head.created_unix_s = clock.unix_ms() / 1000;
  const std::string& model = parsed->request.model;
  form.head.model = model.empty() ? model_info(model).id : model;
  form.chat = is_chat;
  form.stream = parsed->stream;
  form.include_usage = parsed->include_usage;
  form.logprobs = parsed->logprobs;
  form.prompts = parsed->prompts;
  form.n = parsed->n;
  form.choices = parsed->request.choices;
  form.keep_alive_ms = options.keep_alive_ms;

  submit(std::move(call), std::move(parsed->request), [&](std::unique_ptr<Call> c) {
    return internal::make_answer_sink(std::move(c), std::move(form));
  });
}

// Hands the request to the backend, its events to the sink that `make_sink` makes of the call.
template <class MakeSink>
void Gateway::Impl::submit(std::unique_ptr<Call> call, engine_api::Request request,
                           MakeSink make_sink) {
  // The sink may be done, and its call gone, before submit returns.
  const std::shared_ptr<http::Exchange> exchange = call->share_exchange();
  const auto gone = call->client_gone();
  const std::shared_ptr<internal::ResponseSink> sink = make_sink(std::move(call));
  const auto id = backend.submit(std::move(request), sink);
  if (!id) return sink->refuse(id.error());
  sink->begin();
  exchange->on_disconnect([&b = backend, request_id = *id, gone] {
    *gone = true;
    b.cancel(request_id);
  });
}

void Gateway::Impl::embed(std::unique_ptr<Call> call) {
  auto parsed = protocol::parse_embeddings_request(call->request().body, options.limits);
  if (!parsed) return call->respond(parsed.error());
  const engine_api::ModelInfo model = model_info(parsed->request.model);
  if (parsed->dimensions > model.embedding_dimensions && !model.id.empty()) {
    return call->respond(invalid_argument("dimensions must be at most " +
                                          std::to_string(model.embedding_dimensions) +
                                          ", which this model has")
                             .about("dimensions"));
  }
  engine_api::Request request = std::exchange(parsed->request, {});
  submit(std::move(call), std::move(request), [&](std::unique_ptr<Call> c) {
    return std::make_shared<internal::EmbeddingSink>(std::move(c), model.id, *std::move(parsed));
  });
}

void Gateway::Impl::tokenize(std::unique_ptr<Call> call) {
  const auto parsed = protocol::parse_tokenize_request(call->request().body, options.limits);
  if (!parsed) return call->respond(parsed.error());
  const auto tokens = backend.tokenize(parsed->request);
  if (!tokens) return call->respond(tokens.error());
  const int64_t context = model_info(parsed->request.model).context_tokens_max;
  call->respond(200, kJson, protocol::tokenize_answer(*tokens, parsed->style, context));
}

void Gateway::Impl::detokenize(std::unique_ptr<Call> call) {
  const auto parsed = protocol::parse_detokenize_request(call->request().body, options.limits);
  if (!parsed) return call->respond(parsed.error());
  const auto text = backend.detokenize(parsed->model, parsed->ids);
  if (!text) return call->respond(text.error());
  call->respond(200, kJson, protocol::detokenize_answer(*text));
}

void Gateway::Impl::models(std::unique_ptr<Call> call) {
  call->respond(200, kJson, protocol::model_list(backend.models()));
}

void Gateway::Impl::model(std::unique_ptr<Call> call) {
  const std::string_view id =
      without_version(call->request().path).substr(std::string_view("/models/").size());
  const auto all = backend.models();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const auto& m) { return m.id == id; });
  if (found == all.end()) {
    return call->respond(not_found("no such model: " + std::string(id)).about("model"));
  }
  call->respond(200, kJson, protocol::model_object(*found));
}

void Gateway::Impl::health(std::unique_ptr<Call> call) {
  call->respond(200, kJson, R"({"status":"ok"})");
}

void Gateway::Impl::ready(std::unique_ptr<Call> call) {
  if (backend.ready()) return call->respond(200, kJson, R"({"status":"ready"})");
  call->respond(503, kJson, R"({"status":"not_ready"})", {{"Retry-After", "1"}});
}

void Gateway::Impl::metrics_text(std::unique_ptr<Call> call) {
  call->respond(200, "text/plain; version=0.0.4; charset=utf-8",
                metrics->registry.prometheus_text());
}

void Gateway::Impl::page(std::unique_ptr<Call> call) {
  if (!options.chat_page) return call->respond(not_found("no such path: /"));
  // The page needs nothing from elsewhere, and may reach nothing elsewhere.
  call->respond(200, "text/html; charset=utf-8", std::string(chat_page_html()),
                {{"Content-Security-Policy",
                  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                  "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                  "frame-ancestors 'none'"},
                 {"Referrer-Policy", "no-referrer"},
                 {"Cache-Control", "no-cache"}});
}

Gateway::Gateway(engine_api::Backend& backend, MetricsRegistry& metrics, const Clock& clock,
                 GatewayOptions options)
    : impl_(std::make_shared<Impl>(backend, metrics, clock, std::move(options))) {}
Gateway::~Gateway() = default;

http::Handler Gateway::handler() {
  return [impl = impl_](std::shared_ptr<http::Exchange> exchange) {
    impl->handle(std::move(exchange));
  };
}

std::string Gateway::error_body(int status, const Error& error) {
  switch (status) {
    case 408: return protocol::error_body(error, "request_timeout");
    case 431: return protocol::error_body(error, "header_too_large");
    default: return protocol::error_body(error);
  }
}

}  // namespace hadal::gateway
