#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "config/flags.h"

namespace hadal::config {
namespace {

using testing::HasSubstr;

constexpr Positional kPositionals[] = {{"MODEL", "a model", true, false}};
constexpr Flag kFlags[] = {
    {.name = "listen", .fallback = "127.0.0.1:8080", .unit = "ADDRESS", .help = "where to listen"},
    {.name = "threads",
     .kind = Kind::integer,
     .fallback = "0",
     .help = "threads",
     .min = 0,
     .max = 64,
     .letter = 't'},
    {.name = "top-p", .kind = Kind::number, .fallback = "1", .help = "top p", .min = 0, .max = 1},
    {.name = "cache", .kind = Kind::boolean, .fallback = "true", .help = "keep prefixes"},
    {.name = "kv-dtype", .fallback = "f16", .help = "dtype", .choices = "f16|f32"},
    {.name = "stop", .kind = Kind::list, .help = "stop strings"},
    {.name = "config", .unit = "FILE", .help = "settings"},
};
constexpr Spec kSpec{"serve", "Serves.", kPositionals, kFlags};

Result<Flags> parsed(std::vector<std::string> args) { return Flags::parse_with_file(kSpec, args); }

// A file that goes when the test goes.
struct TempFile {
  std::string path = testing::TempDir() + "hadal_config_test.toml";
  explicit TempFile(const std::string& text) { std::ofstream(path) << text; }
  ~TempFile() { std::filesystem::remove(path); }
};

TEST(FlagsTest, DefaultsAndEveryWayToSetAValue) {
  const auto d = parsed({"m"});
  ASSERT_TRUE(d);
  EXPECT_EQ(d->text("listen"), "127.0.0.1:8080");
  EXPECT_TRUE(d->boolean("cache"));
  EXPECT_FALSE(d->given("cache"));
  const auto f = parsed(
      {"--listen", "a:1", "-t", "4", "--top-p=0.5", "m", "--no-cache", "--stop", "x", "--stop=y"});
  ASSERT_TRUE(f) << f.error().message;
  EXPECT_EQ(f->text("listen"), "a:1");
  EXPECT_EQ(f->integer("threads"), 4);
  EXPECT_EQ(f->number("top-p"), 0.5);
  EXPECT_FALSE(f->boolean("cache"));
  EXPECT_EQ(f->list("stop"), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(f->positional(0), "m");
  EXPECT_EQ(parsed({"--", "--listen"})->positional(0), "--listen");
}

TEST(FlagsTest, AllProblemsAtOnceWithHints) {
  const auto f =
      parsed({"--treads", "4", "--top-p", "2", "--threads", "x", "--kv-dtype=f8", "--listen"});
  ASSERT_FALSE(f);
  const std::string& m = f.error().message;
  EXPECT_THAT(m, HasSubstr("there is no flag --treads; did you mean --threads?"));
  EXPECT_THAT(m, HasSubstr("--top-p is 2, expected 0 to 1"));
  EXPECT_THAT(m, HasSubstr("--threads is 'x', expected a whole number"));
  EXPECT_THAT(m, HasSubstr("--kv-dtype is 'f8', expected one of f16|f32"));
  EXPECT_THAT(m, HasSubstr("--listen needs a value"));
  EXPECT_THAT(parsed({}).error().message, HasSubstr("MODEL is missing"));
  EXPECT_THAT(parsed({"a", "b"}).error().message, HasSubstr("'b' is one too many"));
}

TEST(FlagsTest, HelpIsNoErrorAndNamesEverything) {
  const auto f = parsed({"--help"});
  ASSERT_TRUE(f);
  EXPECT_TRUE(f->help_wanted());
  const std::string help = help_text(kSpec);
  for (const Flag& flag : kFlags) EXPECT_THAT(help, HasSubstr("--" + std::string(flag.name)));
}

TEST(FlagsTest, FileBelowCommandLine) {
  const TempFile file("threads = 3\ntop_p = 0.25\nstop = [\"a\", \"b\"]\ncache = false\n");
  const auto f = parsed({"m", "--config", file.path, "--threads", "5"});
  ASSERT_TRUE(f) << f.error().message;
  EXPECT_EQ(f->integer("threads"), 5);
  EXPECT_EQ(f->number("top-p"), 0.25);
  EXPECT_FALSE(f->boolean("cache"));
  EXPECT_EQ(f->list("stop").size(), 2u);
  EXPECT_EQ(parsed({"m", "--config", file.path, "--stop", "z"})->list("stop"),
            std::vector<std::string>{"z"});
}

TEST(FlagsTest, FileProblemsNameTheLine) {
  const TempFile file("threads = 99\nthread = 1\nstop = \"a\"\n[table]\nx = 1\n");
  const auto f = parsed({"m", "--config", file.path});
  ASSERT_FALSE(f);
  EXPECT_THAT(f.error().message, HasSubstr("line 4"));
  const TempFile second("threads = 99\nthread = 1\nstop = \"a\"\n");
  const std::string m = parsed({"m", "--config", second.path}).error().message;
  EXPECT_THAT(m, HasSubstr("line 1: threads is 99, expected 0 to 64"));
  EXPECT_THAT(m,
              HasSubstr("line 2: thread is not a setting of hadal serve; did you mean threads?"));
  EXPECT_THAT(m, HasSubstr("line 3: stop must be a list"));
  const TempFile broken("threads = = 3");
  EXPECT_THAT(parsed({"m", "--config", broken.path}).error().message, HasSubstr("line 1 column"));
  EXPECT_EQ(parsed({"m", "--config", "/nonexistent.toml"}).error().code,
            ErrorCode::invalid_argument);
}

TEST(FlagsTest, DumpReadsBack) {
  const auto f = parsed({"m", "--listen", "quote\"d", "--stop", "a\\b", "--top-p", "0.125"});
  ASSERT_TRUE(f);
  const TempFile file(f->dump());
  const auto g = parsed({"m", "--config", file.path});
  ASSERT_TRUE(g) << g.error().message << "\n" << f->dump();
  EXPECT_EQ(g->text("listen"), "quote\"d");
  EXPECT_EQ(g->list("stop"), std::vector<std::string>{"a\\b"});
  EXPECT_EQ(g->dump(), f->dump());
}

}  // namespace
}  // namespace hadal::config
