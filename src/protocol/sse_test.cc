#include "protocol/sse.h"

#include <gtest/gtest.h>

#include <vector>

namespace hadal::protocol {
namespace {

std::vector<SseEvent> parse(std::string_view text, size_t step) {
  std::vector<SseEvent> events;
  SseParser parser;
  for (size_t at = 0; at < text.size(); at += step) {
    EXPECT_TRUE(
        parser.feed(text.substr(at, step), [&](SseEvent&& e) { events.push_back(std::move(e)); }));
  }
  return events;
}

TEST(SseParserTest, ReadsTheSameWhateverThePieces) {
  const std::string text =
      "\xef\xbb\xbf: comment\r\ndata: one\r\ndata:two\r\n\r\nevent: x\rid: 7\rdata: three\r\r"
      "event: lost\n\nretry: 5\ndata\n\ndata: cut off";
  for (size_t step = 1; step <= text.size(); ++step) {
    const auto events = parse(text, step);
    ASSERT_EQ(events.size(), 3u) << step;
    EXPECT_EQ(events[0].data, "one\ntwo");
    EXPECT_EQ(events[1].event, "x");
    EXPECT_EQ(events[1].data, "three");
    EXPECT_EQ(events[2].data, "");
    EXPECT_EQ(events[2].id, "7");
    EXPECT_EQ(events[2].event, "");
  }
}

TEST(SseParserTest, ReadsWhatWeWrite) {
  const std::string text =
      sse_event("{\"a\":\n1}") + std::string(kSseKeepAlive) + std::string(kSseDone);
  const auto events = parse(text, 3);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].data, "{\"a\":\n1}");
  EXPECT_EQ(events[1].data, "[DONE]");
}

TEST(SseParserTest, LimitsAnEvent) {
  SseParser parser(10);
  const auto status = parser.feed("data: 0123456789", [](SseEvent&&) {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::too_large);
}

}  // namespace
}  // namespace hadal::protocol
