// `hadal pull`: downloads a model from Hugging Face, ModelScope or a mirror.

#include "hub/pull.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "apps/command.h"
#include "apps/terminal.h"
#include "base/units.h"

namespace hadal::apps {
namespace {

using config::Flag;
using config::Kind;

constexpr config::Positional kPositionals[] = {
    {.name = "REPO", .help = "ORGANISATION/MODEL, with @REVISION for a branch, tag or commit"},
};
constexpr Flag kFlags[] = {
    {.name = "to", .unit = "DIR", .help = "where to put it; the model's name when absent"},
    {.name = "mirror",
     .fallback = "hf",
     .help = "whose API the hub speaks",
     .choices = "hf|modelscope"},
    {.name = "endpoint",
     .unit = "URL",
     .help = "another hub with the same API; HF_ENDPOINT or the mirror's own when absent"},
    {.name = "include",
     .kind = Kind::list,
     .unit = "GLOB",
     .help = "only files that match, such as *.safetensors"},
    {.name = "exclude", .kind = Kind::list, .unit = "GLOB", .help = "no files that match"},
    {.name = "parallel",
     .kind = Kind::integer,
     .fallback = "8",
     .help = "downloads at a time",
     .min = 1,
     .max = 64},
    {.name = "ca-file", .unit = "FILE", .help = "PEM with trusted authorities, for private hubs"},
};
constexpr config::Spec kSpec{
    "pull", "Downloads a model from Hugging Face or ModelScope.", kPositionals, kFlags,
    "The same command goes on where it stopped. A token is taken from HF_TOKEN (MODELSCOPE_TOKEN) "
    "and sent\nto the hub only; a proxy from HTTPS_PROXY. Plain http needs an explicit http:// "
    "endpoint."};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// How far a pull is: a line that changes on a terminal, a line now and then elsewhere.
class PullLine {
 public:
  ~PullLine() {
    if (shown_) std::fprintf(stderr, "\r\x1b[K");
  }

  bool step(const hub::PullProgress& p) {
    if (interrupt_.take()) return false;
    const auto now = Clock::now();
    if (p.files_total == 0 || now < next_) return true;
    next_ = now + std::chrono::milliseconds(terminal_ ? 200 : 5000);
    const double seconds = std::chrono::duration<double>(now - measured_at_).count();
    if (seconds >= 1) {
      const double fresh = static_cast<double>(p.bytes_done - measured_bytes_) / seconds;
      // The first measurement counts what an earlier pull left.
      if (measured_bytes_ != 0) rate_ = rate_ == 0 ? fresh : 0.8 * rate_ + 0.2 * fresh;
      measured_at_ = now;
      measured_bytes_ = p.bytes_done;
    }
    const double part =
        p.bytes_total == 0 ? 1
                           : static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes_total);
    std::string text = format_bytes(p.bytes_done) + " of " + format_bytes(p.bytes_total) +
                       ", files " + std::to_string(p.files_done) + " of " +
                       std::to_string(p.files_total);
    if (rate_ > 0) {
      text += ", " + format_bytes(static_cast<uint64_t>(rate_)) + "/s, " +
              time_left(static_cast<double>(p.bytes_total - p.bytes_done) / rate_);
    }
    if (!terminal_) {
      std::fprintf(stderr, "%3.0f%%  %s\n", part * 100, text.c_str());
      return true;
    }
    constexpr int kWidth = 24;
    std::string bar(kWidth, '.');
    for (int i = 0; i < static_cast<int>(part * kWidth); ++i) bar[static_cast<size_t>(i)] = '#';
    std::fprintf(stderr, "\r\x1b[K[%s] %3.0f%%  %s", bar.c_str(), part * 100, text.c_str());
    shown_ = true;
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;

  static std::string time_left(double seconds) {
    char text[64];
    const auto s = static_cast<long long>(seconds);
    if (s >= 3600) {
      std::snprintf(text, sizeof text, "%lld h %lld min left", s / 3600, s / 60 % 60);
    } else {
      std::snprintf(text, sizeof text, "%lld min %02lld s left", s / 60, s % 60);
    }
    return text;
  }

  InterruptGuard interrupt_;
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  Clock::time_point next_{};
  Clock::time_point measured_at_ = Clock::now();
  uint64_t measured_bytes_ = 0;
  double rate_ = 0;  ///< bytes a second, smoothed
};

Result<hub::PullOptions> options_of(const config::Flags& flags) {
  hub::PullOptions o;
  TRY(o.name, hub::RepoName::parse(flags.positional(0)));
  const bool hf = flags.text("mirror") == "hf";
  o.address.mirror = hf ? hub::Mirror::hf : hub::Mirror::modelscope;
  o.address.endpoint = flags.text("endpoint");
  if (o.address.endpoint.empty() && hf) o.address.endpoint = environment("HF_ENDPOINT");
  o.address.token = environment(hf ? "HF_TOKEN" : "MODELSCOPE_TOKEN");
  o.to = flags.text("to");
  if (o.to.empty()) o.to = o.name.repo.substr(o.name.repo.find('/') + 1);
  o.include = flags.list("include");
  o.exclude = flags.list("exclude");
  o.parallel = static_cast<int>(flags.integer("parallel"));
  o.http.ca_file = flags.text("ca-file");
  o.http.allow_plain_http = o.address.endpoint.starts_with("http://");
  o.http.proxy = environment("HTTPS_PROXY");
  if (o.http.proxy.empty()) o.http.proxy = environment("https_proxy");
  return o;
}

Result<int> run(const config::Flags& flags) {
  TRY(const hub::PullOptions options, options_of(flags));
  hub::PullReport report;
  {
    PullLine line;
    TRY(report, hub::pull(options, [&](const hub::PullProgress& p) { return line.step(p); }));
  }
  std::printf("%s: %zu files, %s, revision %s; %zu were there, %zu verified by SHA-256\n",
              options.to.c_str(), report.files, format_bytes(report.bytes).c_str(),
              report.revision.c_str(), report.files_kept, report.files_verified);
  return 0;
}

}  // namespace

extern const Command kPullCommand;
const Command kPullCommand{kSpec, run};

}  // namespace hadal::apps
