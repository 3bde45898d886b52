// A second start maps what the first one packed, and nothing else: the same logits bit for bit.

#include "model/packed_cache.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "format/internal/temp_dir.h"
#include "format/safetensors.h"
#include "model/model.h"
#include "model/score.h"

namespace hadal::model {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = HADAL_SOURCE_DIR "/tests/golden";

/// One start of a model: its logits, and whether it read a file.
struct Start {
  std::vector<float> logits;
  bool mapped = false;
};

class PackedCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels::open_cpu()->get()->packed_weights() == nullptr)
      GTEST_SKIP() << "this CPU packs nothing";
    fs::copy(kGolden / "deepseek_v2_lite", dir_ / "m", fs::copy_options::recursive);
    ids_.resize(40);
    for (size_t i = 0; i < ids_.size(); ++i) ids_[i] = static_cast<int32_t>(i * 7 % 250);
  }

  /// `paths` empty: without a cache.
  Start start(const std::vector<fs::path>& paths) {
    Start out;
    const auto checkpoint = *format::Checkpoint::open(dir_ / "m");
    const auto device = *kernels::open_cpu();
    const auto model = *Model::load(*checkpoint, *device);
    const auto map = map_packed_weights(*checkpoint, *device, paths);
    EXPECT_TRUE(map) << map.error().message;
    out.mapped = map && !map->bytes().empty();
    EXPECT_TRUE(score_tokens(*model, *device, ids_, {},
                             [&](int64_t, std::span<const float> rows) -> Status {
                               out.logits.insert(out.logits.end(), rows.begin(), rows.end());
                               return {};
                             }));
    return out;
  }
  std::vector<fs::path> paths() {
    return packed_cache_paths(**format::Checkpoint::open(dir_ / "m"), dir_ / "fallback");
  }
  static std::string read(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  format::TempDir dir_;
  std::vector<int32_t> ids_;
};

TEST_F(PackedCacheTest, TheSecondStartMapsWhatTheFirstWrote) {
  const Start without = start({});
  EXPECT_FALSE(without.mapped);
  const Start first = start(paths());
  ASSERT_TRUE(fs::exists(dir_ / "m/model.safetensors.packed"));
  const auto written = fs::last_write_time(dir_ / "m/model.safetensors.packed");
  const Start second = start(paths());
  EXPECT_TRUE(first.mapped && second.mapped);
  EXPECT_EQ(fs::last_write_time(dir_ / "m/model.safetensors.packed"), written);
  EXPECT_EQ(first.logits, without.logits) << "bit for bit";
  EXPECT_EQ(second.logits, without.logits) << "bit for bit";
}

TEST_F(PackedCacheTest, TheLogitsComeFromTheFile) {
  start(paths());
  const fs::path path = dir_ / "m/model.safetensors.packed";
  std::string bytes = read(path);
  // What the checks do not look at: the first tile of a large weight, not its last.
  const auto file = format::MappedFile::open(path);
  const auto parsed = format::parse_safetensors(file->bytes());
  ASSERT_TRUE(parsed);
  for (const auto& t : parsed->tensors) {
    if (t.view.shape[0] < 2) continue;
    const auto at = static_cast<size_t>(t.view.data - file->bytes().data());
    for (int64_t i = 0; i < t.view.shape[1]; i += 4) bytes[at + static_cast<size_t>(i)] ^= 0x40;
  }
  write(path, bytes);
  const Start changed = start(paths());
  EXPECT_TRUE(changed.mapped);
  EXPECT_NE(changed.logits, start({}).logits);
}

TEST_F(PackedCacheTest, DamagedFilesAreWrittenAnew) {
  start(paths());
  const fs::path path = dir_ / "m/model.safetensors.packed";
  const std::string good = read(path);
  const Start want = start({});
  std::string flipped = good;
  flipped[40] ^= 1;
  std::string tile = good;
  tile[good.size() - 100] ^= 1;
  std::string sizes = good;
  std::memset(sizes.data(), 0xFF, 8);
  for (const std::string& bad :
       {std::string(), good.substr(0, 7), good.substr(0, 4096), good.substr(0, good.size() - 1),
        good + "x", flipped, tile, sizes, std::string(good.size(), '\0')}) {
    write(path, bad);
    const Start again = start(paths());
    EXPECT_TRUE(again.mapped);
    EXPECT_EQ(again.logits, want.logits);
    EXPECT_EQ(read(path), good);
  }
}

TEST_F(PackedCacheTest, AnotherModelAtTheSamePathIsNotMistaken) {
  start(paths());
  const std::string old = read(dir_ / "m/model.safetensors.packed");
  // One bit of the first weight of the checkpoint.
  const fs::path weights = dir_ / "m/model.safetensors";
  const auto checkpoint = *format::Checkpoint::open(dir_ / "m");
  const auto* t = checkpoint->find("lm_head.weight");
  ASSERT_NE(t, nullptr);
  std::string bytes = read(weights);
  const auto mapped = *format::MappedFile::open(weights);
  const std::string_view needle(reinterpret_cast<const char*>(t->view.data), 64);
  bytes[bytes.find(needle)] ^= 0x10;
  write(weights, bytes);
  const Start now = start(paths());
  EXPECT_TRUE(now.mapped);
  EXPECT_EQ(now.logits, start({}).logits);
  EXPECT_NE(read(dir_ / "m/model.safetensors.packed"), old);
}

TEST_F(PackedCacheTest, GoesWhereItCanBeWritten) {
  const auto all = paths();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].parent_path(), dir_ / "fallback");
  // A folder in the way stands for a place that cannot be written, whoever runs the test.
  fs::create_directories(all[0] / "x");
  EXPECT_TRUE(start(all).mapped);
  EXPECT_TRUE(fs::exists(all[1]));
  EXPECT_TRUE(start(all).mapped);
  const auto checkpoint = *format::Checkpoint::open(dir_ / "m");
  const auto device = *kernels::open_cpu();
  const auto model = *Model::load(*checkpoint, *device);
  EXPECT_FALSE(map_packed_weights(*checkpoint, *device, {all[0]})) << "nowhere to write";
}

TEST_F(PackedCacheTest, NothingIsKeptOfWhatIsNotPacked) {
  const auto checkpoint = *format::Checkpoint::open(dir_ / "m");
  const auto device = *kernels::open_cpu({.pack_weights = false});
  const auto model = *Model::load(*checkpoint, *device);
  const auto map = map_packed_weights(*checkpoint, *device, paths());
  ASSERT_TRUE(map);
  EXPECT_TRUE(map->bytes().empty());
  EXPECT_FALSE(fs::exists(paths()[0]));
  const auto image = read(HADAL_SOURCE_DIR "/models/demo/demo.gguf");
  const auto demo = *format::Checkpoint::open_image(std::as_bytes(std::span(image)), "demo");
  EXPECT_TRUE(packed_cache_paths(*demo, dir_ / "fallback").empty());
}

// ---- memory ----

/// Resident bytes of the mapping that begins at `data`.
int64_t resident_bytes(const std::byte* data) {
  std::ifstream maps("/proc/self/smaps");
  char begin[32];
  std::snprintf(begin, sizeof begin, "%lx-", reinterpret_cast<unsigned long>(data));
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    found |= line.starts_with(begin);
    if (found && line.starts_with("Rss:")) return std::stoll(line.substr(4)) * 1024;
  }
  ADD_FAILURE() << "no mapping at " << begin;
  return 0;
}

// A mapped weight leaves the process when it is packed; memory that is not a file's stays.
TEST(PackedMemoryTest, PagesOfPackedWeightsAreGivenBack) {
  constexpr int64_t kN = 2048;
  constexpr int64_t kK = 1024;
  constexpr int64_t kBytes = kN * kK * 4;
  std::vector<float> w(kN * kK);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 1013) - 500;
  const format::TempDir dir;
  const std::string_view bytes(reinterpret_cast<const char*>(w.data()), kBytes);
  std::ofstream(dir / "w", std::ios::binary) << bytes;
  const auto file = *format::MappedFile::open(dir / "w");
  const auto device = *kernels::open_cpu();
  if (device->packed_weights() == nullptr) GTEST_SKIP() << "this CPU packs nothing";
  std::vector<float> x(kK, 0.5f);
  x[7] = -3;
  const auto product = [&](const std::byte* data, bool mapped) {
    const auto weight =
        *device->import_weight({.data = {data, DType::f32, {kN, kK}}, .mapped = mapped});
    std::vector<float> out(kN);
    const auto mat = [](std::vector<float>& v) {
      const auto n = static_cast<int64_t>(v.size());
      return kernels::Mat{reinterpret_cast<std::byte*>(v.data()), DType::f32, 1, n, n};
    };
    const kernels::Projection p{.out = mat(out), .weight = weight};
    device->ops().linear({&p, 1}, mat(x));
    return out;
  };
  EXPECT_EQ(std::memcmp(file.bytes().data(), w.data(), kBytes), 0) << "touches every page";
  EXPECT_EQ(resident_bytes(file.bytes().data()), kBytes);
  const auto from_file = product(file.bytes().data(), true);
  EXPECT_LT(resident_bytes(file.bytes().data()), kBytes / 8);
  EXPECT_EQ(from_file, product(reinterpret_cast<const std::byte*>(w.data()), false));
  EXPECT_EQ(w[1012], 512) << "memory was dropped";
  EXPECT_EQ(std::memcmp(file.bytes().data(), w.data(), kBytes), 0) << "the file comes back";
}

}  // namespace
}  // namespace hadal::model
