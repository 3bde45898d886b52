#include "http/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "http/raw_client.h"

namespace hadal::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

void echo(std::shared_ptr<Exchange> x) {
  const Request& r = x->request();
  x->respond(200, {{"Content-Type", "text/plain"}},
             r.method + " " + r.path + " " + std::to_string(r.body.size()));
}

std::unique_ptr<Server> start(Handler handler, ServerLimits limits = {}) {
  ServerOptions options;
  options.limits = limits;
  auto server = Server::start(options, std::move(handler));
  EXPECT_TRUE(server) << server.error().message;
  return std::move(*server);
}

template <class F>
bool eventually(F f, int timeout_ms = 5000) {
  const auto end = steady_clock::now() + milliseconds(timeout_ms);
  while (!f()) {
    if (steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

TEST(HttpServerTest, KeepsTheConnectionAndAnswersPipelinedRequestsInOrder) {
  auto server = start(echo);
  RawClient client(server->port());
  client.send(
      "GET /one HTTP/1.1\r\nHost: h\r\n\r\nPOST /two%20words?q HTTP/1.1\r\nHost: h\r\n"
      "Content-Length: 3\r\n\r\nabcGET /three HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
      "\r\n");
  const std::string all = client.read_all();
  const size_t one = all.find("GET /one 0");
  const size_t two = all.find("POST /two words 3");
  const size_t three = all.find("GET /three 0");
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_NE(three, std::string::npos);
  EXPECT_TRUE(client.closed());
}

TEST(HttpServerTest, HeadHasTheLengthButNoBody) {
  auto server = start(echo);
  RawClient client(server->port());
  client.send("HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string all = client.read_all();
  EXPECT_NE(all.find("Content-Length: 9\r\n"), std::string::npos);
  EXPECT_TRUE(all.ends_with("\r\n\r\n"));
}

TEST(HttpServerTest, RefusesWhatItCannotServe) {
  ServerLimits limits;
  limits.head_bytes_max = 1000;
  limits.body_bytes_max = 10;
  std::atomic<int> served{0};
  auto server = start(
      [&](std::shared_ptr<Exchange> x) {
        ++served;
        echo(std::move(x));
      },
      limits);
  const struct {
    std::string text;
    const char* status;
  } cases[] = {
      {"nonsense\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
      {"GET no-slash HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"GET /" + std::string(2000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", "431"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", "413"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n", "417"},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"},
  };
  for (const auto& c : cases) {
    RawClient client(server->port());
    client.send(c.text);
    client.half_close();
    const std::string answer = client.read_all();
    EXPECT_TRUE(answer.starts_with(std::string("HTTP/1.1 ") + c.status)) << c.text << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos) << c.text;
    EXPECT_NE(answer.find("{\"error\""), std::string::npos) << c.text;
  }
  EXPECT_EQ(served, 0);
}

TEST(HttpServerTest, TakesALargeBodyAndRefusesATooLargeOneReadably) {
  ServerLimits limits;
  limits.body_bytes_max = 100 << 20;
  auto server = start(echo, limits);
  const std::string piece(1 << 20, 'b');
  for (const int mebibytes : {100, 101}) {
    RawClient client(server->port());
    client.send("POST /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: " +
                std::to_string(mebibytes << 20) + "\r\n\r\n");
    for (int i = 0; i < mebibytes; ++i) client.send(piece);
    const std::string answer = client.read_all(30'000);
    if (mebibytes == 100) {
      EXPECT_NE(answer.find("POST /big 104857600"), std::string::npos) << answer;
    } else {
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 413")) << answer;
    }
    EXPECT_FALSE(client.reset());
  }
}

TEST(HttpServerTest, BodiesOfAllConnectionsShareOneBudget) {
  ServerLimits limits;
  limits.body_bytes_max = 1000;
  limits.bodies_bytes_max = 1500;
  auto server = start(echo, limits);
  RawClient first(server->port());
  first.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + std::string(900, 'x'));
  std::this_thread::sleep_for(milliseconds(50));
  RawClient second(server->port());
  second.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + std::string(900, 'x'));
  EXPECT_NE(second.read_until("\r\n").find("503"), std::string::npos);
  first.send(std::string(100, 'x'));
  EXPECT_NE(first.read_until("\r\n").find("200"), std::string::npos);
  EXPECT_TRUE(eventually([&] {
    RawClient third(server->port());
    third.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" +
               std::string(1000, 'x'));
    return third.read_until("\r\n").starts_with("HTTP/1.1 200");
  })) << "the budget comes back";
}

TEST(HttpServerTest, AnAnnouncedBodyCostsNothingUntilItComes) {
  ServerLimits limits;
  limits.body_bytes_max = 1000;
  limits.bodies_bytes_max = 1500;
  auto server = start(echo, limits);
  std::vector<std::unique_ptr<RawClient>> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(std::make_unique<RawClient>(server->port()));
    silent.back()->send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
  }
  std::this_thread::sleep_for(milliseconds(50));
  RawClient client(server->port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" +
              std::string(1000, 'x'));
  EXPECT_TRUE(client.read_until("\r\n").starts_with("HTTP/1.1 200"));
}

TEST(HttpServerTest, Continues100OnlyWhenTheBodyIsWelcome) {
  ServerLimits limits;
  limits.body_bytes_max = 10;
  auto server = start(echo, limits);
  RawClient client(server->port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_TRUE(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 100"));
  client.send("abc");
  EXPECT_TRUE(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 200"));
  RawClient big(server->port());
  big.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n");
  EXPECT_TRUE(big.read_until("\r\n\r\n").starts_with("HTTP/1.1 413"));
}

TEST(HttpServerTest, SlowPeersAreTurnedAway) {
  ServerLimits limits;
  limits.head_timeout_ms = 150;
  limits.body_timeout_ms = 150;
  limits.idle_timeout_ms = 150;
  auto server = start(echo, limits);
  RawClient loris(server->port());
  const auto begin = steady_clock::now();
  std::thread dripping([&] {
    for (const char c : std::string("GET / HTTP/1.1\r\nHost: some-long-name\r\nA: b\r\n")) {
      if (!loris.send(std::string(1, c))) return;
      std::this_thread::sleep_for(milliseconds(20));
    }
  });
  EXPECT_TRUE(loris.read_until("\r\n").starts_with("HTTP/1.1 408"));
  EXPECT_LT(steady_clock::now() - begin, milliseconds(600));
  dripping.join();
  RawClient body(server->port());
  body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_TRUE(body.read_until("\r\n").starts_with("HTTP/1.1 408"));
  RawClient idle(server->port());
  idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  idle.read_all(2000);
  EXPECT_TRUE(idle.closed());
}

TEST(HttpServerTest, StreamsChunksFromAnotherThread) {
  std::thread writer;
  auto server = start([&](std::shared_ptr<Exchange> x) {
    x->start_stream(200, {{"Content-Type", "text/event-stream"}});
    writer = std::thread([x] {
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(x->write("part" + std::to_string(i)));
      x->finish();
    });
  });
  RawClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string all = client.read_until("0\r\n\r\n");
  EXPECT_NE(all.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_NE(all.find("5\r\npart0\r\n5\r\npart1\r\n5\r\npart2\r\n0\r\n\r\n"), std::string::npos)
      << all;
  writer.join();
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string old = client.read_all();
  EXPECT_TRUE(old.ends_with("\r\n\r\npart0part1part2")) << old;
  EXPECT_TRUE(client.closed());
  writer.join();
}

TEST(HttpServerTest, TellsWhenTheClientGoesAway) {
  std::atomic<int> gone{0};
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> held;
  auto server = start([&](std::shared_ptr<Exchange> x) {
    if (x->request().path == "/stream") x->start_stream(200, {});
    x->on_disconnect([&] { ++gone; });
    std::lock_guard lock(mutex);
    held.push_back(std::move(x));
  });
  for (const char* path : {"/stream", "/waiting"}) {
    gone = 0;
    auto client = std::make_unique<RawClient>(server->port());
    client->send(std::string("GET ") + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_TRUE(eventually([&] {
      std::lock_guard lock(mutex);
      return !held.empty();
    }));
    EXPECT_EQ(gone, 0);
    client.reset();
    EXPECT_TRUE(eventually([&] { return gone == 1; })) << path;
    std::lock_guard lock(mutex);
    if (std::string(path) == "/stream") {
      EXPECT_FALSE(held[0]->write("x"));
    }
    bool at_once = false;
    held[0]->on_disconnect([&] { at_once = true; });
    EXPECT_TRUE(at_once);
    held.clear();
  }
}

TEST(HttpServerTest, CutsAStreamThatItsClientDoesNotRead) {
  ServerLimits limits;
  limits.output_bytes_max = 64 << 10;
  std::promise<std::shared_ptr<Exchange>> promise;
  std::atomic<bool> gone{false};
  auto server = start(
      [&](std::shared_ptr<Exchange> x) {
        x->start_stream(200, {});
        x->on_disconnect([&] { gone = true; });
        promise.set_value(std::move(x));
      },
      limits);
  RawClient client(server->port(), 4096);
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto x = promise.get_future().get();
  const std::string piece(16 << 10, 'x');
  size_t written = 0;
  while (x->write(piece) && written < (64u << 20)) {
    written += piece.size();
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_LT(written, 32u << 20);
  EXPECT_TRUE(eventually([&] { return gone.load(); }));
  EXPECT_TRUE(client.read_all().find("\r\n0\r\n\r\n") == std::string::npos);
}

TEST(HttpServerTest, HeartbeatsFillTheSilence) {
  std::promise<std::shared_ptr<Exchange>> promise;
  auto server = start([&](std::shared_ptr<Exchange> x) {
    x->start_stream(200, {}, {.every_ms = 20, .bytes = ": hi\n\n"});
    promise.set_value(std::move(x));
  });
  RawClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto x = promise.get_future().get();
  client.read_until(": hi\n\n");
  client.read_until(": hi\n\n");
  EXPECT_FALSE(client.closed());
  x->finish();
  EXPECT_TRUE(client.read_until("0\r\n\r\n").ends_with("0\r\n\r\n"));
}

TEST(HttpServerTest, ADroppedExchangeIsAnswered) {
  auto server = start([](std::shared_ptr<Exchange> x) {
    if (x->request().path == "/throw") throw std::runtime_error("oops");
    if (x->request().path == "/stream") x->start_stream(200, {});
  });
  for (const char* path : {"/drop", "/throw"}) {
    RawClient client(server->port());
    client.send(std::string("GET ") + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_TRUE(client.read_until("\r\n").starts_with("HTTP/1.1 500")) << path;
  }
  RawClient client(server->port());
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.read_all().find("0\r\n\r\n"), std::string::npos) << "a cut must look like one";
  EXPECT_TRUE(client.closed());
}

TEST(HttpServerTest, StopsGracefully) {
  std::promise<std::shared_ptr<Exchange>> promise;
  auto server = start([&](std::shared_ptr<Exchange> x) { promise.set_value(std::move(x)); });
  RawClient idle(server->port());
  RawClient busy(server->port());
  busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  auto x = promise.get_future().get();
  std::thread stopping([&] { server->stop(5000); });
  idle.read_all(1000);
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(eventually([&] { return !RawClient(server->port()).connected(); }));
  x->respond(200, {}, "late but complete");
  stopping.join();
  EXPECT_TRUE(busy.read_all().ends_with("late but complete"));
}

TEST(HttpServerTest, StopsWithoutGraceAndExchangesOutliveIt) {
  std::promise<std::shared_ptr<Exchange>> promise;
  std::atomic<bool> gone{false};
  auto server = start([&](std::shared_ptr<Exchange> x) {
    x->start_stream(200, {});
    x->on_disconnect([&] { gone = true; });
    promise.set_value(std::move(x));
  });
  RawClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto x = promise.get_future().get();
  server->stop(0);
  EXPECT_TRUE(gone);
  server.reset();
  EXPECT_FALSE(x->write("into the void"));
  x->finish();
}

TEST(HttpServerTest, LimitsConnections) {
  ServerLimits limits;
  limits.connections_max = 2;
  auto server = start(echo, limits);
  RawClient a(server->port());
  RawClient b(server->port());
  a.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  b.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  a.read_until("\r\n");
  b.read_until("\r\n");
  RawClient c(server->port());
  EXPECT_TRUE(c.read_all().starts_with("HTTP/1.1 503"));
  a.close();
  EXPECT_TRUE(eventually([&] {
    RawClient d(server->port());
    d.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    return d.read_until("\r\n").starts_with("HTTP/1.1 200");
  }));
}

TEST(HttpServerTest, AnswersCorsPreflights) {
  ServerOptions options;
  options.cors_origin = "*";
  auto server = Server::start(options, echo);
  ASSERT_TRUE(server);
  RawClient client((*server)->port());
  client.send(
      "OPTIONS /v1/x HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\n"
      "Access-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: authorization\r\n\r\n");
  const std::string answer = client.read_until("\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 204")) << answer;
  EXPECT_NE(answer.find("Access-Control-Allow-Origin: *"), std::string::npos);
  EXPECT_NE(answer.find("Access-Control-Allow-Headers: authorization"), std::string::npos);
}

TEST(HttpServerTest, SaysWhyItCannotListen) {
  auto first = start(echo);
  ServerOptions options;
  options.port = first->port();
  const auto second = Server::start(options, echo);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  options.address = "not-an-address";
  EXPECT_EQ(Server::start(options, echo).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace hadal::http
