#include "hub/pull.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <set>

#include "format/digest.h"
#include "http/server.h"

namespace hadal::hub {
namespace {

namespace fs = std::filesystem;

std::string digest_of(const std::string& text) {
  format::Sha256 sha;
  sha.update(std::as_bytes(std::span(text)));
  return format::to_hex(sha.finish());
}

std::string noise(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  for (char& c : out) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return out;
}

/// A hub and the store it redirects to, with faults.
class FakeHub {
 public:
  FakeHub() {
    store_ = *http::Server::start({}, [this](auto x) { serve_store(std::move(x)); });
    hub_ = *http::Server::start({}, [this](auto x) { serve_hub(std::move(x)); });
  }
  std::string url() const { return hub_->url(); }

  std::map<std::string, std::string> files;
  std::map<std::string, std::string> lies;  ///< digests that the listing gives instead
  std::mutex mutex;
  int cut_answers = 0;              ///< the next answers of the store end in the middle
  int busy_answers = 0;             ///< the next answers of the store are 503
  int wrong_bytes = 0;              ///< the next answers of the store carry a flipped byte
  size_t stops_after = SIZE_MAX;    ///< so many requests later the store is 503
  size_t expires_after = SIZE_MAX;  ///< so many requests later addresses given before are 403
  bool ranges = true;
  std::string token;  ///< the hub wants it
  std::set<std::string> seen_at_store;
  size_t store_requests = 0;
  size_t hub_requests = 0;
  uint64_t store_bytes = 0;

 private:
  void serve_hub(std::shared_ptr<http::Exchange> x) {
    std::lock_guard lock(mutex);
    const std::string& path = x->request().path;
    if (!token.empty() && x->request().header("Authorization") != "Bearer " + token) {
      return x->respond(401, {}, "");
    }
    if (path.starts_with("/api/models/")) {
      std::string list;
      for (const auto& [name, content] : files) {
        const std::string digest = lies.count(name) ? lies[name] : digest_of(content);
        const std::string size = std::to_string(content.size());
        list += (list.empty() ? "" : ",") + ("{\"rfilename\":\"" + name) + "\",\"size\":" + size +
                ",\"lfs\":{\"sha256\":\"" + digest + "\",\"size\":" + size + "}}";
      }
      return x->respond(200, {}, "{\"sha\":\"c1\",\"siblings\":[" + list + "]}");
    }
    ++hub_requests;
    const std::string prefix = "/o/m/resolve/c1";
    if (!path.starts_with(prefix)) return x->respond(404, {}, "");
    x->respond(302, {{"Location", store_->url() + path.substr(prefix.size()) + "?" + signature()}},
               "");
  }

  void serve_store(std::shared_ptr<http::Exchange> x) {
    std::lock_guard lock(mutex);
    ++store_requests;
    seen_at_store.insert(std::string(x->request().header("Authorization")));
    const auto found = files.find(x->request().path.substr(1));
    if (found == files.end()) return x->respond(404, {}, "");
    if (busy_answers > 0 && busy_answers-- > 0) return x->respond(503, {}, "");
    if (store_requests > stops_after) return x->respond(503, {}, "");
    if (store_requests > expires_after) {
      expires_after = SIZE_MAX;
      ++signature_;
    }
    if (x->request().query != signature()) return x->respond(403, {}, "");
    const std::string& all = found->second;
    std::string part = all;
    int status = 200;
    http::Headers headers;
    const std::string range(x->request().header("Range"));
    if (ranges && !range.empty()) {
      const size_t dash = range.find('-');
      const size_t begin = std::stoul(range.substr(6));
      const size_t end = std::stoul(range.substr(dash + 1));
      if (begin >= all.size() || end >= all.size()) return x->respond(416, {}, "");
      part = all.substr(begin, end - begin + 1);
      status = 206;
      headers.emplace_back("Content-Range", "bytes " + std::to_string(begin) + "-" +
                                                std::to_string(end) + "/" +
                                                std::to_string(all.size()));
    }
    store_bytes += part.size();
    if (wrong_bytes > 0 && wrong_bytes-- > 0) part[part.size() / 2] ^= 1;
    if (cut_answers > 0 && cut_answers-- > 0) {
      x->start_stream(status, headers);
      x->write(part.substr(0, part.size() / 2));
      return;  // dropped: the client sees that it is cut
    }
    x->respond(status, headers, part);
  }

  std::string signature() const { return "signature=" + std::to_string(signature_); }

  int signature_ = 0;
  std::unique_ptr<http::Server> store_;
  std::unique_ptr<http::Server> hub_;
};

class PullTest : public testing::Test {
 protected:
  void SetUp() override {
    dir =
        fs::temp_directory_path() / ("hadal_pull_" + std::to_string(::getpid()) + "_" +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir);
    hub.files = {{"config.json", "{}"},
                 {"weights/model.safetensors", noise(100'000, 1)},
                 {"empty.txt", ""},
                 {"notes.md", noise(10'001, 2)}};
    options.address.endpoint = hub.url();
    options.name.repo = "o/m";
    options.to = dir;
    options.piece_bytes = 10'000;
    options.parallel = 3;
    options.retry_delay_ms = 1;
  }
  void TearDown() override { fs::remove_all(dir); }

  Result<PullReport> run() {
    return pull(options, [](const PullProgress&) { return true; });
  }
  std::string content(const std::string& name) const {
    std::ifstream in(dir / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  void expect_all() const {
    for (const auto& [name, text] : hub.files) {
      EXPECT_TRUE(fs::exists(dir / name)) << name;
      EXPECT_TRUE(content(name) == text) << name;
    }
    for (const auto& entry : fs::recursive_directory_iterator(dir)) {
      EXPECT_EQ(entry.path().string().find(".part"), std::string::npos) << entry.path();
      EXPECT_EQ(entry.path().string().find(".lock"), std::string::npos) << entry.path();
    }
  }

  FakeHub hub;
  fs::path dir;
  PullOptions options;
};

TEST_F(PullTest, DownloadsAndVerifiesEverything) {
  const auto report = run();
  ASSERT_TRUE(report) << report.error().message;
  expect_all();
  EXPECT_EQ(report->revision, "c1");
  EXPECT_EQ(report->files, 4u);
  EXPECT_EQ(report->files_verified, 4u);
  EXPECT_EQ(report->bytes_received, 110'003u);
  const size_t before = hub.store_requests;
  const auto again = run();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->files_kept, 4u);
  EXPECT_EQ(hub.store_requests, before) << "what is there is not fetched again";
}

// Shards of a new revision often have the sizes of the old ones.
TEST_F(PullTest, FetchesWhatHasTheSizeButNotTheContent) {
  ASSERT_TRUE(run());
  for (auto& [name, content] : hub.files) {
    if (content.size() > 1000) {
      content[500] ^= 1;
      break;
    }
  }
  const auto report = run();
  ASSERT_TRUE(report) << report.error().message;
  expect_all();
  EXPECT_EQ(report->files_kept, 3u);
  EXPECT_EQ(report->files_verified, 4u);
}

TEST_F(PullTest, AsksTheHubOncePerFileNotOncePerPiece) {
  options.parallel = 1;
  ASSERT_TRUE(run());
  EXPECT_EQ(hub.hub_requests, 3u) << "the store's address is kept; an empty file needs no request";
}

TEST_F(PullTest, SendsTheTokenToTheHubOnly) {
  hub.token = "hf_secret";
  EXPECT_EQ(run().error().code, ErrorCode::permission_denied);
  options.address.token = "hf_secret";
  const auto report = run();
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(hub.seen_at_store, std::set<std::string>{""});
}

TEST_F(PullTest, SurvivesCutAnswersBusyServersAndExpiredAddresses) {
  hub.cut_answers = 9;
  hub.busy_answers = 3;
  hub.expires_after = 8;
  const auto report = run();
  ASSERT_TRUE(report) << report.error().message;
  expect_all();
  EXPECT_EQ(report->bytes_received, 110'003u) << "a cut piece goes on where it was cut";
}

TEST_F(PullTest, WorksWithoutRanges) {
  hub.ranges = false;
  ASSERT_TRUE(run());
  expect_all();
}

TEST_F(PullTest, FetchesAFileAgainWhoseDigestIsWrong) {
  hub.wrong_bytes = 1;
  const auto report = run();
  ASSERT_TRUE(report) << report.error().message;
  expect_all();
}

TEST_F(PullTest, GivesUpOnADigestThatStaysWrong) {
  hub.lies["weights/model.safetensors"] = std::string(64, '0');
  const auto report = run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::corrupt);
  EXPECT_FALSE(fs::exists(dir / "weights/model.safetensors"));
}

TEST_F(PullTest, GoesOnWhereItStopped) {
  options.parallel = 1;
  options.attempts = 1;
  options.include = {"*.safetensors"};
  hub.stops_after = 4;
  EXPECT_EQ(run().error().code, ErrorCode::unavailable);
  EXPECT_FALSE(fs::exists(dir / "weights/model.safetensors"));
  hub.stops_after = SIZE_MAX;
  const auto second = run();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->bytes_received, 60'000u) << "the four pieces that came are kept";
  EXPECT_TRUE(content("weights/model.safetensors") == hub.files["weights/model.safetensors"]);
}

TEST_F(PullTest, StartsAnewWhenTheFileChanged) {
  options.parallel = 1;
  options.attempts = 1;
  options.include = {"*.safetensors"};
  hub.stops_after = 4;
  EXPECT_FALSE(run());
  hub.stops_after = SIZE_MAX;
  hub.files["weights/model.safetensors"] = noise(100'000, 9);
  const auto second = run();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->bytes_received, 100'000u);
  EXPECT_TRUE(content("weights/model.safetensors") == hub.files["weights/model.safetensors"]);
}

TEST_F(PullTest, ChoosesFiles) {
  options.include = {"*.json", "*.safetensors"};
  options.exclude = {"weights/*"};
  const auto report = run();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->files, 1u);
  EXPECT_TRUE(fs::exists(dir / "config.json"));
  EXPECT_FALSE(fs::exists(dir / "notes.md"));
}

TEST_F(PullTest, CancelsAndLeavesNothingHalfNamed) {
  hub.cut_answers = 1'000'000;
  options.retry_delay_ms = 60'000;
  options.attempts = 1'000'000;
  int calls = 0;
  const auto report = pull(options, [&](const PullProgress&) { return ++calls < 3; });
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::cancelled);
  EXPECT_FALSE(fs::exists(dir / "weights/model.safetensors"));
}

}  // namespace
}  // namespace hadal::hub
