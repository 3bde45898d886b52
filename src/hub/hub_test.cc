#include "hub/hub.h"

#include <gtest/gtest.h>

#include "http/server.h"

namespace hadal::hub {
namespace {

TEST(RepoNameTest, ParsesAndRefuses) {
  const auto name = RepoName::parse("deepseek-ai/DeepSeek-V3@refs/pr/1");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->repo, "deepseek-ai/DeepSeek-V3");
  EXPECT_EQ(name->revision, "refs/pr/1");
  EXPECT_TRUE(RepoName::parse("gpt2"));
  for (const char* bad : {"", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a b/c", "a/b@", "a/b@../x",
                          "https://huggingface.co/a/b"}) {
    EXPECT_FALSE(RepoName::parse(bad)) << bad;
  }
}

TEST(CheckPathTest, RefusesWhatLeavesTheDirectory) {
  for (const char* good : {"config.json", "a/b/c.safetensors", "..a", "a..", "a b", "模型.gguf"}) {
    EXPECT_TRUE(check_path(good)) << good;
  }
  for (const char* bad : {"", "/etc/passwd", "../x", "a/../b", "a/..", "..", ".", "a//b", "a/./b",
                          "a\\b", "C:x", "a/", "a\nb"}) {
    EXPECT_FALSE(check_path(bad)) << bad;
  }
  EXPECT_FALSE(check_path(std::string(2000, 'a')));
}

TEST(FileUrlTest, FollowsEachHub) {
  EXPECT_EQ(file_url({}, "o/m", "abc", "a b/c.json"),
            "https://huggingface.co/o/m/resolve/abc/a%20b/c.json");
  EXPECT_EQ(file_url({.mirror = Mirror::modelscope, .endpoint = {}, .token = {}}, "o/m", "", "a/c"),
            "https://www.modelscope.cn/api/v1/models/o/m/repo?Revision=master&FilePath=a%2Fc");
  EXPECT_EQ(file_url({.endpoint = "https://mirror.test/", .token = {}}, "o/m", "r/1", "c"),
            "https://mirror.test/o/m/resolve/r%2F1/c");
}

TEST(AuthHeadersTest, StayAtTheEndpoint) {
  const HubAddress address{.endpoint = "https://hub.test", .token = "secret"};
  EXPECT_EQ(auth_headers(address, "https://hub.test/x").size(), 1u);
  EXPECT_EQ(auth_headers(address, "https://cdn.test/x").size(), 0u);
  EXPECT_EQ(auth_headers(address, "http://hub.test/x").size(), 0u);
  EXPECT_EQ(auth_headers(address, "https://hub.test:444/x").size(), 0u);
}

class ListFilesTest : public testing::Test {
 protected:
  Result<Listing> list(Mirror mirror, std::string body, int status = 200) {
    server = *http::Server::start({}, [=, this](std::shared_ptr<http::Exchange> x) {
      seen = x->request().path + "?" + x->request().query;
      x->respond(status, {}, body);
    });
    const auto client = *http::Client::create({});
    return list_files(*client, {.mirror = mirror, .endpoint = server->url(), .token = {}},
                      {.repo = "o/m", .revision = "r/1"});
  }
  std::unique_ptr<http::Server> server;
  std::string seen;
};

TEST_F(ListFilesTest, ReadsHuggingFace) {
  const std::string digest(64, 'A');
  const auto listing =
      list(Mirror::hf, R"({"sha":"c0ffee","siblings":[{"rfilename":"config.json","size":10},)"
                       R"({"rfilename":"m/w.safetensors","size":5,"lfs":{"sha256":")" +
                           digest + R"(","size":7}},{"rfilename":"x"}]})");
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(seen, "/api/models/o/m/revision/r/1?blobs=true");
  EXPECT_EQ(listing->revision, "c0ffee");
  ASSERT_EQ(listing->files.size(), 3u);
  EXPECT_EQ(listing->files[1].size, 7u);
  EXPECT_EQ(listing->files[1].sha256, std::string(64, 'a'));
  EXPECT_FALSE(listing->files[2].size);
}

TEST_F(ListFilesTest, ReadsModelScope) {
  const auto listing = list(Mirror::modelscope,
                            R"({"Code":200,"Data":{"Files":[{"Path":"d","Type":"tree","Size":0},)"
                            R"({"Path":"d/w","Type":"blob","Size":3,"Sha256":"zz"}]}})");
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(seen, "/api/v1/models/o/m/repo/files?Revision=r%2F1&Recursive=true");
  ASSERT_EQ(listing->files.size(), 1u);
  EXPECT_EQ(listing->files[0].path, "d/w");
  EXPECT_EQ(listing->files[0].sha256, "") << "what is no digest is none";
}

TEST_F(ListFilesTest, RefusesWhatIsNoListing) {
  EXPECT_EQ(list(Mirror::hf, "<html>").error().code, ErrorCode::corrupt);
  EXPECT_EQ(list(Mirror::hf, "{}").error().code, ErrorCode::corrupt);
  EXPECT_EQ(list(Mirror::modelscope, R"({"Data":{"Files":{}}})").error().code, ErrorCode::corrupt);
  EXPECT_EQ(list(Mirror::hf, R"({"siblings":[{"rfilename":"../../.bashrc"}]})").error().code,
            ErrorCode::corrupt);
  EXPECT_EQ(list(Mirror::hf, "", 404).error().code, ErrorCode::not_found);
  EXPECT_EQ(list(Mirror::hf, "", 401).error().code, ErrorCode::permission_denied);
  EXPECT_EQ(list(Mirror::hf, "", 503).error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace hadal::hub
