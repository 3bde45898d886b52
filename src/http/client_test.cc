#include "http/client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include "http/server.h"

namespace hadal::http {
namespace {

class HttpClientTest : public testing::Test {
 protected:
  void serve(Handler handler, ServerOptions options = {}) {
    auto started = Server::start(options, std::move(handler));
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
  }
  Result<Response> get(const std::string& path, ClientOptions options = {}, Headers headers = {}) {
    if (!client) client = *Client::create(options);
    return client->get({.url = server->url() + path, .headers = std::move(headers), .body = {}});
  }
  std::unique_ptr<Server> server;
  std::unique_ptr<Client> client;
};

TEST_F(HttpClientTest, ReadsWholeAndChunkedAnswersOnOneConnection) {
  std::mutex mutex;
  std::string first_peer;
  std::atomic<int> peers{0};
  serve([&](std::shared_ptr<Exchange> x) {
    std::lock_guard lock(mutex);
    if (first_peer != x->request().client) ++peers;
    first_peer = x->request().client;
    if (x->request().path == "/chunked") {
      x->start_stream(200, {});
      x->write("one,");
      x->write("two");
      x->finish();
    } else {
      x->respond(404, {{"X-Y", "z"}}, "whole " + x->request().method);
    }
  });
  EXPECT_EQ(get("/chunked")->body, "one,two");
  const auto whole = get("/x");
  EXPECT_EQ(whole->body, "whole GET");
  EXPECT_EQ(whole->head.status, 404);
  EXPECT_EQ(whole->head.header("x-y"), "z");
  EXPECT_EQ(peers, 1);
}

TEST_F(HttpClientTest, FollowsRedirectsButKeepsSecretsHome) {
  std::string seen_there = "unset";
  auto other = *Server::start({}, [&](std::shared_ptr<Exchange> x) {
    seen_there = x->request().header("Authorization");
    x->respond(200, {}, "there");
  });
  std::string seen_here;
  serve([&](std::shared_ptr<Exchange> x) {
    const std::string& path = x->request().path;
    if (path == "/away") return x->respond(302, {{"Location", other->url() + "/x"}}, "moved");
    if (path == "/here") return x->respond(307, {{"Location", "final"}}, "");
    if (path == "/loop") return x->respond(302, {{"Location", "/loop"}}, "");
    seen_here = x->request().header("Authorization");
    x->respond(200, {}, "here");
  });
  const Headers secret = {{"Authorization", "Bearer t"}};
  EXPECT_EQ(get("/away", {}, secret)->body, "there");
  EXPECT_EQ(seen_there, "");
  EXPECT_EQ(get("/here", {}, secret)->body, "here");
  EXPECT_EQ(seen_here, "Bearer t");
  EXPECT_EQ(get("/loop").error().code, ErrorCode::unavailable);
}

TEST_F(HttpClientTest, SaysHowItFailed) {
  std::atomic<bool> cancel{false};
  std::vector<std::shared_ptr<Exchange>> held;
  serve([&](std::shared_ptr<Exchange> x) {
    if (x->request().path == "/cut") {
      x->start_stream(200, {});
      x->write("half");
    } else if (x->request().path == "/big") {
      x->respond(200, {}, std::string(1000, 'x'));
    } else {
      held.push_back(std::move(x));
    }
  });
  ClientOptions options;
  options.idle_timeout_ms = 150;
  EXPECT_EQ(get("/cut", options).error().code, ErrorCode::unavailable);
  EXPECT_EQ(get("/never").error().code, ErrorCode::timeout);
  EXPECT_EQ(
      client->get({.url = server->url() + "/big", .headers = {}, .body = {}}, 999).error().code,
      ErrorCode::too_large);
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    cancel = true;
  });
  EXPECT_EQ(
      client->get({.url = server->url() + "/never", .headers = {}, .body = {}, .cancel = &cancel})
          .error()
          .code,
      ErrorCode::cancelled);
  canceller.join();
  EXPECT_EQ(client->get({.url = "http://127.0.0.1:1/", .headers = {}, .body = {}}).error().code,
            ErrorCode::unavailable);
  EXPECT_EQ(client->get({.url = "http://192.0.2.1/", .headers = {}, .body = {}}).error().code,
            ErrorCode::permission_denied)
      << "plain http stays on this machine";
  EXPECT_EQ(client->get({.url = "gopher://x", .headers = {}, .body = {}}).error().code,
            ErrorCode::invalid_argument);
  held.clear();
}

TEST_F(HttpClientTest, ReconnectsWhenAKeptConnectionDied) {
  ServerOptions options;
  options.limits.idle_timeout_ms = 50;
  serve([](std::shared_ptr<Exchange> x) { x->respond(200, {}, "ok"); }, options);
  EXPECT_EQ(get("/")->body, "ok");
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  const auto again = get("/");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->body, "ok");
}

TEST_F(HttpClientTest, SpeaksTlsAndVerifiesIt) {
  const auto dir =
      std::filesystem::temp_directory_path() / ("hadal_tls_" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  const std::string key = dir / "key.pem";
  const std::string certificate = dir / "cert.pem";
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
      "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " +
      key + " -out " + certificate + " 2>/dev/null";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "needs the openssl command";
  ServerOptions options;
  options.tls_certificate_file = certificate;
  options.tls_key_file = key;
  options.limits.body_bytes_max = 10;
  serve([](std::shared_ptr<Exchange> x) { x->respond(200, {}, std::string(300'000, 's')); },
        options);
  EXPECT_TRUE(server->url().starts_with("https://"));
  EXPECT_EQ(get("/").error().code, ErrorCode::permission_denied) << "not a trusted authority";
  ClientOptions trusting;
  trusting.ca_file = certificate;
  auto good = *Client::create(trusting);
  for (int i = 0; i < 2; ++i) {
    const auto answer = good->get({.url = server->url() + "/", .headers = {}, .body = {}});
    ASSERT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->body.size(), 300'000u);
  }
  const auto refused = good->get(
      {.method = "POST", .url = server->url() + "/", .headers = {}, .body = std::string(100, 'x')});
  ASSERT_TRUE(refused) << refused.error().message;
  EXPECT_EQ(refused->head.status, 413);
  std::filesystem::remove_all(dir);
}

TEST_F(HttpClientTest, GoesThroughAProxy) {
  // The proxy sees the absolute form for plain http.
  std::string target;
  serve([&](std::shared_ptr<Exchange> x) {
    target = x->request().path + " " + std::string(x->request().header("Host"));
    x->respond(200, {}, "proxied");
  });
  ClientOptions options;
  options.proxy = server->url();
  options.allow_plain_http = true;
  auto through = *Client::create(options);
  EXPECT_EQ(through->get({.url = "http://hub.invalid/a", .headers = {}, .body = {}})->body,
            "proxied");
  EXPECT_EQ(target, "/a hub.invalid");
}

}  // namespace
}  // namespace hadal::http
