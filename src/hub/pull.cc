#include "hub/pull.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/units.h"
#include "hub/internal/part_file.h"

namespace hadal::hub {
namespace {

namespace fs = std::filesystem;
using internal::PartFile;
using std::chrono::milliseconds;

/// How often a file whose digest is wrong is downloaded again from nothing.
constexpr int kFileAttempts = 2;

bool matches_any(const std::vector<std::string>& globs, const std::string& path) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& g) {
    return ::fnmatch(g.c_str(), path.c_str(), 0) == 0;
  });
}

bool worth_retrying(ErrorCode code) {
  return code == ErrorCode::unavailable || code == ErrorCode::timeout ||
         code == ErrorCode::rate_limited;
}

/// The total in "bytes 0-9/100"; nothing when it says none.
std::optional<uint64_t> content_range_total(std::string_view field, uint64_t begin) {
  const std::string expected = "bytes " + std::to_string(begin) + "-";
  const size_t slash = field.find('/');
  if (!field.starts_with(expected) || slash == std::string_view::npos) return std::nullopt;
  uint64_t total = 0;
  const char* const end = field.data() + field.size();
  const auto read = std::from_chars(field.data() + slash + 1, end, total);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return total;
}

constexpr const char* kLockName = ".hadal_pull.lock";

/// Holds a directory for one pull. Errors: conflict.
class DirectoryLock {
 public:
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
    std::error_code ec;
    if (held_) fs::remove(path_, ec);
  }
  Status take(const fs::path& directory) {
    path_ = directory / kLockName;
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd_ < 0) return errno_error(errno, "open " + path_.string());
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      return make_error(ErrorCode::conflict, "another pull works in " + directory.string());
    }
    held_ = true;
    return {};
  }

 private:
  fs::path path_;
  int fd_ = -1;
  bool held_ = false;
};

/// A file on its way.
struct Job {
  Job(HubFile file, fs::path target, uint64_t piece_bytes)
      : part(std::move(file), std::move(target), piece_bytes) {}
  PartFile part;
  std::mutex mutex;
  std::string direct_url;  ///< where the hub redirected to; used until it fails
  int attempts = 0;
};

struct Piece {
  Job* job;
  size_t index;  ///< kVerify: of none, the file that is there is to be checked
};
constexpr size_t kVerify = static_cast<size_t>(-1);

// No model file comes near it; a hub that lists larger ones is broken, or means harm.
constexpr uint64_t kFileBytesMax = uint64_t{16} << 40;
// Of a file whose size the hub does not tell.
constexpr uint64_t kUnsizedBytesMax = uint64_t{1} << 30;

// What a pull writes beside the files themselves.
bool is_our_own(std::string_view path) {
  return path.ends_with(".part") || path.ends_with(".part.json") || path.ends_with(kLockName);
}

class Puller {
 public:
  Puller(const PullOptions& options, Listing listing)
      : options_(options), listing_(std::move(listing)) {}

  Result<PullReport> run(const std::function<bool(const PullProgress&)>& progress);

 private:
  Status plan();
  void queue_pieces(Job& job);
  Status verify(Job& job);
  Status check_space(const std::set<std::string_view>& names) const;
  void work();
  Status fetch(http::Client& client, const Piece& piece);
  Status fetch_once(http::Client& client, const Piece& piece, uint64_t& got);
  Status complete(const Piece& piece);
  bool sleep(milliseconds time);
  void fail(Error error);
  PullProgress progress_now() const;

  const PullOptions& options_;
  const Listing listing_;
  PullReport report_;
  std::deque<Job> jobs_;
  uint64_t bytes_total_ = 0;
  std::atomic<uint64_t> bytes_done_{0};
  std::atomic<uint64_t> bytes_received_{0};
  std::atomic<bool> cancel_{false};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> queue_;
  size_t pieces_left_ = 0;
  size_t files_done_ = 0;
  int workers_ = 0;
  std::optional<Error> error_;
};

Status Puller::plan() {
  std::set<std::string_view> names;
  for (const HubFile& file : listing_.files) {
    if (!options_.include.empty() && !matches_any(options_.include, file.path)) continue;
    if (matches_any(options_.exclude, file.path)) continue;
    const auto total = checked_add(bytes_total_, file.size.value_or(0));
    if (file.size.value_or(0) > kFileBytesMax || !total) {
      return corrupt(file.path + ": the hub lists a size that no file has");
    }
    if (is_our_own(file.path) || !names.insert(file.path).second) {
      return corrupt(file.path + ": the hub lists a name twice, or one that a pull needs itself");
    }
    bytes_total_ = *total;
  }
  if (names.empty()) {
    return not_found("no file of " + options_.name.repo + " is wanted: it has " +
                     std::to_string(listing_.files.size()) + ", none fits --include and --exclude");
  }
  TRY_VOID(check_space(names));
  for (const HubFile& file : listing_.files) {
    if (!names.contains(file.path)) continue;
    Job& job = jobs_.emplace_back(file, options_.to / file.path, options_.piece_bytes);
    ++report_.files;
    report_.bytes += file.size.value_or(0);
    if (job.part.may_be_complete()) {
      queue_.push_back({&job, kVerify});
      ++pieces_left_;
    } else {
      queue_pieces(job);
    }
  }
  return {};
}

// All pieces of a file that are not there.
void Puller::queue_pieces(Job& job) {
  for (size_t i = 0; i < job.part.pieces(); ++i) {
    // The last piece is fetched again if all are there: its arrival finishes the file.
    const bool last = i + 1 == job.part.pieces();
    if (job.part.has_piece(i) && !last) {
      bytes_done_ += job.part.piece_size(i).value_or(0);
    } else {
      queue_.push_back({&job, i});
      ++pieces_left_;
    }
  }
}

/// Keeps the file that is there if it is the one that the hub has, or queues it.
Status Puller::verify(Job& job) {
  TRY(const bool same, job.part.is_complete());
  std::lock_guard lock(mutex_);
  --pieces_left_;
  if (same) {
    ++report_.files_kept;
    ++report_.files_verified;
    ++files_done_;
    bytes_done_ += job.part.file().size.value_or(0);
  } else {
    queue_pieces(job);
  }
  changed_.notify_all();
  return {};
}

// What is there in part, or under the final name, need not be written again.
Status Puller::check_space(const std::set<std::string_view>& names) const {
  std::error_code ec;
  const fs::space_info space = fs::space(options_.to, ec);
  uint64_t have = 0;
  for (const HubFile& file : listing_.files) {
    if (!names.contains(file.path)) continue;
    for (const char* suffix : {"", ".part"}) {
      fs::path there = options_.to / file.path;
      struct stat info {};
      if (::stat((there += suffix).c_str(), &info) != 0) continue;
      have += std::min(static_cast<uint64_t>(info.st_blocks) * 512, file.size.value_or(0));
    }
  }
  const uint64_t need = bytes_total_ - std::min(have, bytes_total_);
  if (ec || need <= space.available) return {};
  return make_error(ErrorCode::resource_exhausted, options_.to.string() + ": " +
                                                       format_bytes(need) + " are needed, " +
                                                       format_bytes(space.available) + " are free")
      .with_hint("choose another --to, or fewer files with --include");
}

void Puller::fail(Error error) {
  std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  cancel_ = true;
  changed_.notify_all();
}

/// False when the pull was cancelled meanwhile.
bool Puller::sleep(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return cancel_.load(); });
}

void Puller::work() {
  auto client = http::Client::create(options_.http);
  if (!client) fail(client.error());
  while (client && !cancel_) {
    Piece piece{};
    {
      std::unique_lock lock(mutex_);
      // Pieces come back to the queue when a digest was wrong, so an empty queue is not the end.
      changed_.wait(lock, [this] { return cancel_ || !queue_.empty() || pieces_left_ == 0; });
      if (cancel_ || queue_.empty()) break;
      piece = queue_.front();
      queue_.pop_front();
    }
    Status status;
    if (piece.index == kVerify) {
      status = verify(*piece.job);
    } else {
      status = fetch(**client, piece);
      if (status) status = complete(piece);
    }
    if (!status) fail(std::move(status).error());
  }
  std::lock_guard lock(mutex_);
  --workers_;
  changed_.notify_all();
}

/// One piece, as often as it takes.
Status Puller::fetch(http::Client& client, const Piece& piece) {
  uint64_t got = 0;
  milliseconds delay(options_.retry_delay_ms);
  for (int attempt = 1;; ++attempt) {
    const uint64_t before = got;
    Status status = fetch_once(client, piece, got);
    if (status || cancel_) return status;
    if (!worth_retrying(status.error().code)) return status;
    // Whatever brings bytes is no failure: slow networks get as long as they need.
    if (got > before) attempt = 1;
    if (attempt >= options_.attempts) return status;
    LOG(debug, "pull_retry", {"file", piece.job->part.file().path}, {"piece", piece.index},
        {"attempt", attempt}, {"why", status.error().message});
    if (!sleep(delay)) return status;
    delay = std::min(delay * 2, milliseconds(30'000));
  }
}

/// Whether an answer is the part of `file` from `begin` on, or all of it.
Status check_head(const HubFile& file, const http::ResponseHead& head, uint64_t begin,
                  const std::string& hub_url) {
  const std::string_view coding = head.header("Content-Encoding");
  if (!coding.empty() && coding != "identity") {
    return corrupt(file.path + ": comes encoded as '" + std::string(coding.substr(0, 32)) +
                   "', which was not asked for");
  }
  if (head.status == 200) {
    const bool other = file.size && head.content_length && *head.content_length != *file.size;
    return other ? Status(corrupt(file.path + ": has another size than the hub's list says"))
                 : Status();
  }
  if (head.status != 206) {
    Error error = status_error(head.status, file.path);
    // A store's address is signed and expires: the hub gives a new one.
    if (head.status == 403 && head.url != hub_url) error.code = ErrorCode::unavailable;
    return error;
  }
  if (content_range_total(head.header("Content-Range"), begin) != file.size) {
    return corrupt(file.path + ": the server sent another range than was asked for");
  }
  return {};
}

Status Puller::fetch_once(http::Client& client, const Piece& piece, uint64_t& got) {
  Job& job = *piece.job;
  const HubFile& file = job.part.file();
  const auto size = job.part.piece_size(piece.index);
  if (size && got >= *size) return {};
  if (!size) {
    bytes_done_ -= got;
    got = 0;
  }
  const uint64_t begin = job.part.piece_begin(piece.index) + got;
  const std::string hub_url =
      file_url(options_.address, options_.name.repo, listing_.revision, file.path);
  http::ClientRequest request{.url = hub_url, .headers = {}, .body = {}, .cancel = &cancel_};
  {
    std::lock_guard lock(job.mutex);
    if (!job.direct_url.empty()) request.url = job.direct_url;
  }
  request.headers = auth_headers(options_.address, request.url);
  if (size) {
    request.headers.emplace_back(
        "Range", "bytes=" + std::to_string(begin) + "-" + std::to_string(begin + *size - got - 1));
  }
  uint64_t skip = 0;
  bool enough = false;
  bool whole = false;
  http::Receiver receiver;
  receiver.on_head = [&](const http::ResponseHead& head) -> Status {
    TRY_VOID(check_head(file, head, begin, hub_url));
    whole = head.status == 200;
    // No ranges there: what lies before our piece is thrown away.
    if (whole) skip = begin;
    std::lock_guard lock(job.mutex);
    if (head.url != hub_url) job.direct_url = head.url;
    return {};
  };
  receiver.on_body = [&](std::string_view bytes) -> Status {
    bytes_received_ += bytes.size();
    const uint64_t dropped = std::min<uint64_t>(skip, bytes.size());
    skip -= dropped;
    bytes.remove_prefix(dropped);
    if (size) bytes = bytes.substr(0, *size - got);
    if (!size && got + bytes.size() > kUnsizedBytesMax) {
      return corrupt(file.path + ": the hub tells no size, and it is over " +
                     format_bytes(kUnsizedBytesMax));
    }
    TRY_VOID(job.part.write(job.part.piece_begin(piece.index) + got, bytes));
    got += bytes.size();
    bytes_done_ += bytes.size();
    enough = size && got == *size;
    // The rest of a whole file is not ours: this ends the exchange.
    if (enough && whole) return make_error(ErrorCode::cancelled, "enough");
    return {};
  };
  const auto head = client.fetch(request, receiver);
  if (enough) return {};
  if (!head) {
    std::lock_guard lock(job.mutex);
    if (request.url == job.direct_url) job.direct_url.clear();
    return head.error();
  }
  if (size) return unavailable(file.path + ": the answer was shorter than asked for");
  return {};
}

/// Notes a piece; with the last one the file is checked and gets its name.
Status Puller::complete(const Piece& piece) {
  Job& job = *piece.job;
  TRY(const bool all, job.part.piece_done(piece.index));
  Status finished;
  if (all) finished = job.part.finish();
  std::lock_guard lock(mutex_);
  --pieces_left_;
  if (all && finished) {
    ++files_done_;
    if (!job.part.file().sha256.empty()) ++report_.files_verified;
  } else if (all) {
    if (finished.error().code != ErrorCode::corrupt || ++job.attempts >= kFileAttempts) {
      return finished;
    }
    LOG(warn, "pull_digest_wrong", {"file", job.part.file().path});
    bytes_done_ -= job.part.file().size.value_or(0);
    {
      std::lock_guard url_lock(job.mutex);
      job.direct_url.clear();
    }
    for (size_t i = 0; i < job.part.pieces(); ++i) queue_.push_back({&job, i});
    pieces_left_ += job.part.pieces();
  }
  changed_.notify_all();
  return {};
}

PullProgress Puller::progress_now() const {
  return {.bytes_done = bytes_done_,
          .bytes_total = bytes_total_,
          .files_done = files_done_,
          .files_total = report_.files};
}

Result<PullReport> Puller::run(const std::function<bool(const PullProgress&)>& progress) {
  TRY_VOID(plan());
  report_.revision = listing_.revision;
  std::vector<std::thread> threads;
  workers_ = static_cast<int>(
      std::clamp<size_t>(queue_.size(), 1, static_cast<size_t>(std::max(1, options_.parallel))));
  const int count = workers_;
  for (int i = 0; i < count; ++i) threads.emplace_back([this] { work(); });
  bool user_cancelled = false;
  {
    std::unique_lock lock(mutex_);
    while (workers_ > 0) {
      changed_.wait_for(lock, milliseconds(200), [this] { return workers_ == 0; });
      const PullProgress now = progress_now();
      lock.unlock();
      if (!user_cancelled && !progress(now)) {
        user_cancelled = true;
        cancel_ = true;
        changed_.notify_all();
      }
      lock.lock();
    }
  }
  for (std::thread& t : threads) t.join();
  if (user_cancelled) {
    return make_error(ErrorCode::cancelled, "cancelled; the same command goes on from here");
  }
  if (error_) return *std::move(error_);
  report_.bytes_received = bytes_received_;
  return report_;
}

}  // namespace

Result<PullReport> pull(const PullOptions& options,
                        const std::function<bool(const PullProgress&)>& progress) {
  TRY(const auto client, http::Client::create(options.http));
  // The listing waits for the network, so it has a thread too: a cancel is heard at once.
  std::atomic<bool> cancel{false};
  auto listing = std::async(std::launch::async, [&] {
    return list_files(*client, options.address, options.name, &cancel);
  });
  while (listing.wait_for(milliseconds(200)) != std::future_status::ready) {
    if (!progress({})) cancel = true;
  }
  TRY(Listing files, listing.get());
  std::error_code ec;
  fs::create_directories(options.to, ec);
  if (ec) return errno_error(ec.value(), "create " + options.to.string());
  DirectoryLock lock;
  TRY_VOID(lock.take(options.to));
  return Puller(options, std::move(files)).run(progress);
}

}  // namespace hadal::hub
