#include "http/message.h"

#include <gtest/gtest.h>

#include "http/internal/message_reader.h"

namespace hadal::http {
namespace {

using internal::MessageReader;

MessageReader read_whole(std::string_view text, size_t step,
                         MessageReader::Kind kind = MessageReader::Kind::request,
                         internal::ReaderLimits limits = {}) {
  MessageReader reader(kind, limits);
  std::string input;
  for (size_t at = 0; at < text.size(); at += step) {
    input += text.substr(at, step);
    input.erase(0, reader.feed(input));
    if (reader.state() == MessageReader::State::body) input.erase(0, reader.feed(input));
  }
  return reader;
}

TEST(MessageReaderTest, ReadsTheSameWhateverThePieces) {
  const std::string text =
      "POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nHost: evil\r\nTrailer: t\r\n\r\n";
  for (size_t step = 1; step <= text.size(); ++step) {
    MessageReader reader = read_whole(text, step);
    ASSERT_EQ(reader.state(), MessageReader::State::complete) << step << reader.error().message;
    EXPECT_EQ(reader.body(), "hello!") << step;
    EXPECT_EQ(reader.head().target, "/v1/x?a=b");
    EXPECT_EQ(reader.head().headers.size(), 2u) << "trailer fields must not reach the head";
  }
}

TEST(MessageReaderTest, NamesTheStatusOfEachRefusal) {
  const struct {
    const char* text;
    int status;
  } cases[] = {
      {"GARBAGE\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nbad field\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 33\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
  };
  for (const auto& c : cases) {
    MessageReader reader =
        read_whole(c.text, 7, MessageReader::Kind::request, {.body_bytes_max = 32});
    EXPECT_EQ(reader.state(), MessageReader::State::failed) << c.text;
    EXPECT_EQ(reader.error_status(), c.status) << c.text;
  }
}

TEST(MessageReaderTest, LimitsTheHeadAndTheChunkLine) {
  const internal::ReaderLimits limits{.head_bytes_max = 200, .body_bytes_max = 1 << 20};
  const std::string longline = "GET /" + std::string(300, 'a');
  MessageReader reader = read_whole(longline, 50, MessageReader::Kind::request, limits);
  EXPECT_EQ(reader.error_status(), 431);
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 50; ++i) many += "a: bbbbbbbbb\r\n";
  reader = read_whole(many + "\r\n", 16, MessageReader::Kind::request, limits);
  EXPECT_EQ(reader.error_status(), 431);
  const std::string chunk =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(40000, 'e');
  reader = read_whole(chunk, 1000);
  EXPECT_EQ(reader.error_status(), 400);
}

TEST(MessageReaderTest, ReadsResponsesUntilTheEnd) {
  MessageReader reader = read_whole("HTTP/1.1 200 OK\r\n\r\nabc", 4, MessageReader::Kind::response);
  EXPECT_EQ(reader.state(), MessageReader::State::body);
  reader.feed_eof();
  EXPECT_EQ(reader.state(), MessageReader::State::complete);
  EXPECT_EQ(reader.body(), "abc");
  MessageReader cut = read_whole("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 4,
                                 MessageReader::Kind::response);
  cut.feed_eof();
  EXPECT_EQ(cut.state(), MessageReader::State::failed);
}

TEST(UrlTest, ParsesAndRefuses) {
  auto url = parse_url("HTTPS://Hub.Example:8443/a/b?c=d#frag");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "hub.example");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(url->origin(), "https://hub.example:8443");
  EXPECT_EQ(parse_url("http://[::1]:80")->origin(), "http://[::1]");
  EXPECT_EQ(parse_url("http://h?x")->target, "/?x");
  for (const char* bad : {"ftp://h/", "h/x", "http://", "http://user@h/", "http://h:port/",
                          "http://h:123456/", "http://h/a b", "http://h\\@evil/", "http://[::1"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

TEST(UrlTest, ResolvesLocations) {
  const Url base = *parse_url("https://h/a/b?x");
  EXPECT_EQ(resolve_url(base, "/c")->target, "/c");
  EXPECT_EQ(resolve_url(base, "c")->target, "/a/c");
  EXPECT_EQ(resolve_url(base, "//o/c")->origin(), "https://o");
  EXPECT_EQ(resolve_url(base, "http://o/c")->origin(), "http://o");
}

TEST(PercentTest, DecodesAndEncodes) {
  EXPECT_EQ(percent_decode("/a%20b%2Fc"), "/a b/c");
  EXPECT_FALSE(percent_decode("/%0"));
  EXPECT_FALSE(percent_decode("/%zz"));
  EXPECT_FALSE(percent_decode("/%00"));
  EXPECT_EQ(percent_encode("a b/ü", "/"), "a%20b/%C3%BC");
}

}  // namespace
}  // namespace hadal::http
