#include "gateway/gateway.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gateway/fake_backend.h"
#include "http/raw_client.h"
#include "json/json.h"
#include "protocol/sse.h"

namespace hadal::gateway {
namespace {

using http::RawClient;

/// An answer, taken apart.
struct Answer {
  int status = 0;
  std::string head;
  std::string body;
  json::Value json() const {
    auto v = json::parse(body);
    EXPECT_TRUE(v) << body;
    return v ? *v : json::Value();
  }
  std::string error(const char* key) const {
    const json::Value v = json();
    const json::Value* e = v.find("error");
    return e == nullptr ? "" : e->string_or(key, "").value_or("");
  }
};

std::string without_chunks(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t n = std::stoul(std::string(text.substr(0, text.find("\r\n"))), nullptr, 16);
    text.remove_prefix(text.find("\r\n") + 2);
    out += text.substr(0, n);
    if (n == 0) break;
    text.remove_prefix(n + 2);
  }
  return out;
}

class GatewayTest : public testing::Test {
 protected:
  void start(GatewayOptions options = {}, http::ServerLimits limits = {}) {
    gateway = std::make_unique<Gateway>(backend, metrics, clock, options);
    http::ServerOptions server_options;
    server_options.limits = limits;
    server_options.error_body = Gateway::error_body;
    server_options.metrics = &metrics;
    auto started = http::Server::start(server_options, gateway->handler());
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
  }

  Answer call(const std::string& method, const std::string& path, const std::string& body = "",
              const std::string& fields = "") {
    RawClient client(server->port());
    client.send(method + " " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + fields +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    const std::string all = client.read_all();
    Answer answer;
    const size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos) return answer;
    answer.status = std::stoi(all.substr(9, 3));
    answer.head = all.substr(0, end + 2);
    answer.body = all.substr(end + 4);
    if (answer.head.find("chunked") != std::string::npos) {
      answer.body = without_chunks(answer.body);
    }
    return answer;
  }

  Answer chat(const std::string& text, const std::string& more = "") {
    return call("POST", "/v1/chat/completions",
                R"({"messages":[{"role":"user","content":")" + text + "\"}]" + more + "}");
  }

  static std::vector<std::string> events(const Answer& answer) {
    std::vector<std::string> out;
    protocol::SseParser parser;
    EXPECT_TRUE(parser.feed(answer.body,
                            [&](protocol::SseEvent&& e) { out.push_back(std::move(e.data)); }));
    return out;
  }

  static bool eventually(const std::function<bool()>& f) {
    for (int i = 0; i < 2000; ++i) {
      if (f()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  void TearDown() override {
    if (server) server->stop(0);
  }

  MetricsRegistry metrics;
  SystemClock clock;
  FakeBackend backend;
  std::unique_ptr<Gateway> gateway;
  std::unique_ptr<http::Server> server;
};

TEST_F(GatewayTest, AnswersAChat) {
  start();
  const Answer answer = chat("hello there");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_NE(answer.body.find(R"("content":"Echo: hello there")"), std::string::npos);
  EXPECT_NE(answer.body.find(R"("model":"fake")"), std::string::npos);
  EXPECT_NE(answer.body.find(R"("prompt_cache_hit_tokens":4)"), std::string::npos);
  EXPECT_NE(answer.head.find("x-request-id: req_"), std::string::npos);
  const Answer without_v1 =
      call("POST", "/chat/completions", R"({"messages":[{"role":"user","content":"think"}]})");
  EXPECT_NE(without_v1.body.find(R"("reasoning_content":"Let me see.")"), std::string::npos);
}

TEST_F(GatewayTest, StreamsAChat) {
  start();
  const Answer answer =
      chat("one two", R"(,"stream":true,"stream_options":{"include_usage":true})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.head.find("text/event-stream"), std::string::npos);
  const auto list = events(answer);
  ASSERT_EQ(list.size(), 7u) << answer.body;
  EXPECT_NE(list[0].find(R"("role":"assistant")"), std::string::npos);
  EXPECT_NE(list[1].find(R"("content":"Echo:")"), std::string::npos);
  EXPECT_NE(list[3].find(R"("content":" two")"), std::string::npos);
  EXPECT_NE(list[4].find(R"("finish_reason":"stop")"), std::string::npos);
  EXPECT_NE(list[5].find(R"("choices":[],"usage":{"prompt_tokens":10)"), std::string::npos);
  EXPECT_EQ(list[6], "[DONE]");
}

TEST_F(GatewayTest, StreamsToolCallsWithTheirOwnIds) {
  start();
  const auto list = events(chat("tool", R"(,"stream":true)"));
  ASSERT_EQ(list.size(), 5u);
  const json::Value head = *json::parse(list[0]);
  const std::string hex = head.string_at("id")->substr(std::string("chatcmpl-").size());
  EXPECT_NE(list[1].find("\"id\":\"call_" + hex + "_0\""), std::string::npos) << list[1];
  EXPECT_NE(list[2].find("\"id\":\"call_" + hex + "_1\""), std::string::npos) << list[2];
  EXPECT_NE(list[3].find("tool_calls"), std::string::npos);
}

TEST_F(GatewayTest, CompletesText) {
  start();
  const Answer answer = call("POST", "/beta/completions", R"({"prompt":"abc","suffix":"x"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find(R"("text":"Echo: abc")"), std::string::npos);
  EXPECT_EQ(std::get<engine_api::TextPrompt>(backend.last_request.prompt).suffix, "x");
  const auto list = events(call("POST", "/v1/completions", R"({"prompt":"abc","stream":true})"));
  ASSERT_EQ(list.size(), 4u);
  EXPECT_NE(list[0].find(R"("text":"Echo:")"), std::string::npos);
}

TEST_F(GatewayTest, GivesSeveralAnswers) {
  start();
  const json::Value whole = chat("one two", R"(,"n":3)").json();
  const auto& choices = whole.find("choices")->as_array();
  ASSERT_EQ(choices.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(*choices[i].int_at("index"), static_cast<int64_t>(i));
    EXPECT_EQ(*choices[i].find("message")->string_at("content"), "Echo: one two");
  }
  EXPECT_EQ(*whole.find("usage")->int_at("prompt_tokens"), 10);
  EXPECT_EQ(*whole.find("usage")->int_at("completion_tokens"), 9);
  const auto list =
      events(chat("one", R"(,"n":2,"stream":true,"stream_options":{"include_usage":true})"));
  // Two roles, two words and an end for each, usage, [DONE].
  ASSERT_EQ(list.size(), 10u);
  EXPECT_NE(list[1].find(R"("index":1,"delta":{"role":"assistant")"), std::string::npos);
  EXPECT_NE(list[7].find(R"("index":1,"delta":{},"logprobs":null,"finish_reason":"stop")"),
            std::string::npos)
      << list[7];
  EXPECT_NE(list[8].find(R"("completion_tokens":4)"), std::string::npos);
  EXPECT_EQ(list[9], "[DONE]");
  EXPECT_NE(metrics.prometheus_text().find(R"(hadal_answers_total{finish_reason="stop"} 5)"),
            std::string::npos);
}

TEST_F(GatewayTest, CompletesSeveralPrompts) {
  start();
  const json::Value body = call("POST", "/v1/completions", R"({"prompt":["a","b"],"n":2})").json();
  const auto& choices = body.find("choices")->as_array();
  ASSERT_EQ(choices.size(), 4u);
  const char* const texts[] = {"Echo: a", "Echo: a", "Echo: b", "Echo: b"};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(*choices[i].string_at("text"), texts[i]);
}

TEST_F(GatewayTest, GivesTheBestAnswersOfMore) {
  start();
  const json::Value body =
      call("POST", "/v1/completions", R"({"prompt":["rank","rank"],"n":2,"best_of":3})").json();
  const auto& choices = body.find("choices")->as_array();
  ASSERT_EQ(choices.size(), 4u);
  const char* const best[] = {"2", "1", "5", "4"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(*choices[i].string_at("text"), best[i]);
    EXPECT_EQ(*choices[i].int_at("index"), static_cast<int64_t>(i));
    EXPECT_EQ(choices[i].find("logprobs"), nullptr) << "nobody asked for them";
  }
}

TEST_F(GatewayTest, OneFailureEndsAllAnswers) {
  start();
  EXPECT_EQ(chat("fail", R"(,"n":2)").status, 500);
  const auto list = events(chat("fail", R"(,"n":2,"stream":true)"));
  EXPECT_NE(list.back().find("the model broke"), std::string::npos);
}

TEST_F(GatewayTest, EmbedsTexts) {
  start();
  EXPECT_EQ(call("POST", "/v1/embeddings", R"({"input":["ab","b"]})").body,
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.6,0.8,0]},)"
            R"({"object":"embedding","index":1,"embedding":[0,0,1]}],"model":"fake",)"
            R"("usage":{"prompt_tokens":3,"total_tokens":3}})");
  const Answer cut = call("POST", "/embeddings", R"({"input":"a","dimensions":1})");
  EXPECT_NE(cut.body.find(R"("embedding":[1])"), std::string::npos) << cut.body;
  const Answer wide = call("POST", "/v1/embeddings", R"({"input":"a","dimensions":4})");
  EXPECT_EQ(wide.status, 400);
  EXPECT_EQ(wide.error("param"), "dimensions");
  const Answer other = call("POST", "/v1/embeddings", R"({"input":"a","model":"none"})");
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(call("POST", "/v1/embeddings", "{}").error("param"), "input");
}

TEST_F(GatewayTest, SplitsTextIntoTokensAndBack) {
  start({.api_key = "sk"});
  const std::string key = "Authorization: Bearer sk\r\n";
  EXPECT_EQ(call("POST", "/tokenize", R"({"content":"ab"})", key).body,
            R"({"count":2,"max_model_len":4096,"tokens":[97,98]})");
  EXPECT_EQ(call("POST", "/v1/tokenize",
                 R"({"messages":[{"role":"user","content":"a"}],"return_token_strs":true})", key)
                .body,
            R"({"count":1,"max_model_len":4096,"tokens":[97],"token_strs":["a"]})");
  EXPECT_EQ(call("POST", "/detokenize", R"({"tokens":[97,98]})", key).body,
            R"({"content":"ab","prompt":"ab"})");
  for (const char* path : {"/tokenize", "/detokenize", "/v1/tokenize"}) {
    EXPECT_EQ(call("POST", path, R"({"content":"ab","tokens":[]})").status, 401) << path;
    EXPECT_EQ(call("GET", path, "", key).status, 405) << path;
  }
  const Answer other = call("POST", "/tokenize", R"({"content":"ab","model":"none"})", key);
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(other.error("param"), "model");
  EXPECT_EQ(call("POST", "/detokenize", R"({"tokens":[256]})", key).error("param"), "tokens");
}

TEST_F(GatewayTest, SaysWhatIsWrong) {
  http::ServerLimits limits;
  limits.body_bytes_max = 1000;
  start({}, limits);
  const struct {
    Answer answer;
    int status;
    const char* code;
    const char* param;
  } cases[] = {
      {call("POST", "/v1/chat/completions", "{nonsense"), 400, "invalid_argument", ""},
      {chat("x", R"(,"temperature":9)"), 400, "invalid_argument", "temperature"},
      {chat("x", R"(,"model":"unknown")"), 404, "not_found", "model"},
      {chat("full"), 503, "unavailable", ""},
      {chat("full", R"(,"stream":true)"), 503, "unavailable", ""},
      {chat("long"), 400, "context_length_exceeded", ""},
      {chat("fail"), 500, "internal", ""},
      {call("GET", "/v1/chat/completions"), 405, "method_not_allowed", ""},
      {call("GET", "/v1/nothing"), 404, "not_found", ""},
      {call("GET", "/v1/models/none"), 404, "not_found", "model"},
      {call("POST", "/v1/completions", std::string(1001, ' ')), 413, "too_large", ""},
      {call("GET", "no-slash"), 400, "invalid_argument", ""},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(c.answer.status, c.status) << c.answer.body;
    EXPECT_EQ(c.answer.error("code"), c.code) << c.answer.body;
    EXPECT_EQ(c.answer.error("param"), c.param) << c.answer.body;
    EXPECT_FALSE(c.answer.error("message").empty()) << c.answer.body;
    EXPECT_FALSE(c.answer.error("type").empty()) << c.answer.body;
  }
}

TEST_F(GatewayTest, TellsWhenToTryAgain) {
  start();
  for (const char* stream : {"false", "true"}) {
    const std::string more = std::string(R"(,"stream":)") + stream;
    const Answer full = chat("full", more);
    EXPECT_NE(full.head.find("\r\nRetry-After: 7\r\n"), std::string::npos) << full.head;
    EXPECT_EQ(full.error("hint"), "try again in 7 s");
    if (*stream == 't') continue;
    const Answer late = chat("late", more);
    EXPECT_EQ(late.status, 503);
    EXPECT_NE(late.head.find("\r\nRetry-After: 9\r\n"), std::string::npos) << late.head;
  }
}

TEST_F(GatewayTest, AFailureInsideAStreamIsAnEvent) {
  start();
  const auto list = events(chat("fail", R"(,"stream":true)"));
  ASSERT_EQ(list.size(), 3u);
  EXPECT_NE(list[2].find(R"({"error":{"message":"the model broke")"), std::string::npos);
}

TEST_F(GatewayTest, CancelsWhenTheClientGoesAway) {
  start();
  for (const char* how : {"true", "false"}) {
    const int before = backend.cancellations;
    RawClient client(server->port());
    const std::string body =
        R"({"messages":[{"role":"user","content":"slow"}],"stream":)" + std::string(how) + "}";
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    if (std::string(how) == "true") {
      EXPECT_NE(client.read_until("word").find("word"), std::string::npos);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    EXPECT_EQ(backend.cancellations, before);
    client.close();
    EXPECT_TRUE(eventually([&] { return backend.cancellations == before + 1; })) << how;
  }
  EXPECT_TRUE(eventually([&] {
    return metrics.prometheus_text().find("hadal_requests_abandoned_total 2") != std::string::npos;
  }));
}

TEST_F(GatewayTest, KeepsAQuietStreamAlive) {
  GatewayOptions options;
  options.keep_alive_ms = 20;
  start(options);
  RawClient client(server->port());
  const std::string body = R"({"messages":[{"role":"user","content":"wait"}],"stream":true})";
  client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_NE(client.read_until(": keep-alive\n\n").find(": keep-alive"), std::string::npos);
}

TEST_F(GatewayTest, ListsModels) {
  start();
  EXPECT_EQ(call("GET", "/v1/models").json().find("data")->as_array().size(), 2u);
  EXPECT_EQ(*call("GET", "/models/fake").json().string_at("id"), "fake");
  EXPECT_EQ(*call("GET", "/v1/models/org/other").json().string_at("id"), "org/other");
}

TEST_F(GatewayTest, TellsHealthAndReadinessApart) {
  start();
  EXPECT_EQ(call("GET", "/ready").status, 200);
  backend.is_ready = false;
  EXPECT_EQ(call("GET", "/ready").status, 503);
  EXPECT_EQ(call("GET", "/health").status, 200);
  EXPECT_EQ(call("HEAD", "/health").status, 200);
}

TEST_F(GatewayTest, CountsWhatItDid) {
  start();
  chat("hello there");
  call("GET", "/secret/path");
  std::string text;
  EXPECT_TRUE(eventually([&] {
    text = call("GET", "/metrics").body;
    return text.find(R"(hadal_requests_total{route="chat_completions",status="200"} 1)") !=
           std::string::npos;
  })) << text;
  EXPECT_NE(text.find("hadal_prompt_tokens_total 10"), std::string::npos);
  EXPECT_NE(text.find("hadal_completion_tokens_total 3"), std::string::npos);
  EXPECT_NE(text.find("hadal_time_to_first_token_seconds_count 1"), std::string::npos);
  EXPECT_NE(text.find(R"(hadal_requests_total{route="other",status="404"} 1)"), std::string::npos);
  EXPECT_EQ(text.find("secret"), std::string::npos) << "labels come from us, never from a client";
}

TEST_F(GatewayTest, ChecksTheKey) {
  GatewayOptions options;
  options.api_key = "sk-right";
  start(options);
  EXPECT_EQ(call("GET", "/v1/models").status, 401);
  EXPECT_EQ(call("GET", "/v1/models", "", "Authorization: Bearer sk-wrong\r\n").status, 401);
  EXPECT_EQ(call("GET", "/v1/models", "", "Authorization: Bearer sk-right1\r\n").status, 401);
  EXPECT_EQ(call("GET", "/v1/models", "", "Authorization: Bearer \r\n").status, 401);
  EXPECT_EQ(call("GET", "/v1/models", "", "Authorization: bearer sk-right\r\n").status, 200);
  EXPECT_EQ(call("GET", "/health").status, 200);
}

// The Host of these calls is "h".
TEST_F(GatewayTest, AnswersOnlyToItsNamesAndPages) {
  start({.hosts = {"h", "localhost"}, .cors_origin = "https://friend.example"});
  EXPECT_EQ(call("GET", "/health").status, 200);
  EXPECT_EQ(call("GET", "/health", "", "Origin: http://h\r\n").status, 200) << "its own page";
  EXPECT_EQ(call("GET", "/health", "", "Origin: https://friend.example\r\n").status, 200);
  const Answer foreign = call("GET", "/v1/models", "", "Origin: https://evil.example\r\n");
  EXPECT_EQ(foreign.status, 403);
  EXPECT_EQ(foreign.error("code"), "permission_denied");
  EXPECT_EQ(call("GET", "/health", "", "Origin: null\r\n").status, 403);
  server.reset();
  start({.hosts = {"localhost"}});
  const Answer rebound = call("GET", "/v1/models");
  EXPECT_EQ(rebound.status, 403);
  EXPECT_NE(rebound.error("hint").find("--allow-host h"), std::string::npos);
}

TEST_F(GatewayTest, EchoesASaneRequestIdOnly) {
  start();
  EXPECT_NE(call("GET", "/health", "", "x-request-id: abc-1\r\n").head.find("x-request-id: abc-1"),
            std::string::npos);
  EXPECT_NE(call("GET", "/health", "", "x-request-id: a b\"c\r\n").head.find("x-request-id: req_"),
            std::string::npos);
}

TEST_F(GatewayTest, ServesThePageWithoutOutsideResources) {
  start();
  const Answer page = call("GET", "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.head.find("Content-Security-Policy: default-src 'none'"), std::string::npos);
  EXPECT_TRUE(page.body.starts_with("<!doctype html>"));
  EXPECT_NE(page.body.find("</html>"), std::string::npos);
  for (const char* bad : {"src=\"http", "href=\"http", "url(http", "@import"}) {
    EXPECT_EQ(page.body.find(bad), std::string::npos) << bad;
  }
}

}  // namespace
}  // namespace hadal::gateway
