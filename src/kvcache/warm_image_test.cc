#include "kvcache/warm_image.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>

#include "kvcache/test_device.h"

namespace hadal::kvcache {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPage = 64;

std::vector<int32_t> ids(int32_t first, int64_t count) {
  std::vector<int32_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), first);
  return out;
}

// Two streams, one of them with a row for every fourth token.
struct Server {
  MemoryDevice device;
  KvCache kv;
  PrefixCache prefixes;

  explicit Server(int64_t pages = 12, DType dtype = DType::f16)
      : kv(*KvCache::create(KvLayout{{{.width = 4}, {.width = 6, .tokens_per_row = 4}}}, device,
                            dtype, pages, 1)),
        prefixes(kv) {}

  // The bytes of a page: all that is cached for it.
  std::string content(int32_t page) const {
    std::string out;
    for (const auto& v : kv.views()) {
      const auto bytes = v.page_rows * v.width * dtype_info(v.dtype).block_bytes;
      out.append(reinterpret_cast<const char*>(v.data) + page * bytes, static_cast<size_t>(bytes));
    }
    return out;
  }
  void fill(int32_t page, char with) {
    for (const auto& v : kv.views()) {
      const auto bytes = v.page_rows * v.width * dtype_info(v.dtype).block_bytes;
      std::memset(v.data + page * bytes, with, static_cast<size_t>(bytes));
    }
  }
  void warm(const std::vector<int32_t>& tokens, char first) {
    std::vector<int32_t> pages = prefixes.match(tokens);
    while (static_cast<int64_t>(pages.size() + 1) * kPage <= static_cast<int64_t>(tokens.size())) {
      fill(pages.emplace_back(*kv.take_page()), static_cast<char>(first + pages.size()));
    }
    prefixes.insert_for_all(tokens, pages);
    for (const int32_t p : pages) kv.release_page(p);
  }
};

class WarmImageTest : public testing::Test {
 protected:
  WarmImageTest() {
    std::string name = (fs::temp_directory_path() / "hadal-warm-XXXXXX").string();
    dir_ = mkdtemp(name.data());
    // Two prompts that share their first page.
    auto a = ids(0, 130);
    auto b = ids(0, 64);
    const auto tail = ids(500, 130);
    b.insert(b.end(), tail.begin(), tail.end());
    from_.warm(a, 'a');
    from_.warm(b, 'p');
    EXPECT_EQ(from_.prefixes.shared_pages(), 4);
    prompts_ = {a, b};
  }
  ~WarmImageTest() override { fs::remove_all(dir_); }

  std::string write() {
    EXPECT_TRUE(write_warm_image(dir_ / "image", from_.kv, from_.prefixes, from_.device, "m"));
    std::ifstream in(dir_ / "image", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static Result<int64_t> read(const std::string& image, Server& to,
                              const std::string& model = "m") {
    return read_warm_image(std::as_bytes(std::span(image)), to.kv, to.prefixes, to.device, model);
  }

  fs::path dir_;
  Server from_;
  std::vector<std::vector<int32_t>> prompts_;
};

TEST_F(WarmImageTest, ComesBackTokenByTokenAndByteByByte) {
  Server to;
  EXPECT_EQ(read(write(), to), 4);
  EXPECT_EQ(to.kv.pages_free(), 8);
  for (auto prompt : prompts_) {
    prompt.push_back(7);  // a question behind it
    const auto here = from_.prefixes.match(prompt);
    for (const std::string salt : {"", "somebody"}) {
      const auto there = to.prefixes.match(prompt, salt);
      ASSERT_EQ(there.size(), here.size());
      for (size_t i = 0; i < here.size(); ++i)
        EXPECT_EQ(to.content(there[i]), from_.content(here[i])) << i;
      for (const int32_t p : there) to.kv.release_page(p);
    }
    for (const int32_t p : here) from_.kv.release_page(p);
  }
  EXPECT_EQ(to.prefixes.evict(100), 0) << "warmed pages stay";
}

TEST_F(WarmImageTest, RefusesWhatDoesNotFit) {
  const std::string image = write();
  Server other;
  EXPECT_EQ(read(image, other, "another").error().code, ErrorCode::conflict);
  Server exact(12, DType::f32);
  EXPECT_EQ(read(image, exact).error().code, ErrorCode::conflict);
  Server small(7);
  EXPECT_EQ(read(image, small).error().code, ErrorCode::resource_exhausted);
  EXPECT_EQ(small.kv.pages_free(), 7);
  Server empty;
  EXPECT_EQ(
      write_warm_image(dir_ / "none", empty.kv, empty.prefixes, empty.device, "m").error().code,
      ErrorCode::invalid_argument);
  EXPECT_FALSE(fs::exists(dir_ / "none"));
}

TEST_F(WarmImageTest, DamageIsFoundAndLeavesTheCacheAlone) {
  const std::string image = write();
  for (size_t cut = 0; cut < image.size(); cut += 97) {
    Server to;
    EXPECT_FALSE(read(image.substr(0, cut), to)) << cut;
    EXPECT_EQ(to.kv.pages_free(), 12);
  }
  // A page that claims to come after a later one.
  std::string turned = image;
  const size_t parents = image.size() - 4 * (from_.content(0).size() + sizeof(int32_t));
  const int32_t later = 3;
  std::memcpy(turned.data() + parents, &later, sizeof later);
  Server to;
  EXPECT_EQ(read(turned, to).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace hadal::kvcache
