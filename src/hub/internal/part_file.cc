#include "hub/internal/part_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "base/units.h"
#include "format/digest.h"
#include "json/json.h"

namespace hadal::hub::internal {
namespace {

namespace fs = std::filesystem;

fs::path with_suffix(fs::path path, const char* suffix) { return path += suffix; }

std::optional<std::string> read_small_file(const fs::path& path) {
  std::error_code ec;
  if (fs::file_size(path, ec) > (64u << 20) || ec) return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

PartFile::PartFile(HubFile file, fs::path target, uint64_t piece_bytes)
    : file_(std::move(file)),
      target_(std::move(target)),
      part_(with_suffix(target_, ".part")),
      state_(with_suffix(target_, ".part.json")),
      piece_bytes_(piece_bytes) {
  const uint64_t size = file_.size.value_or(0);
  done_.resize(std::max<uint64_t>(1, size / piece_bytes_ + (size % piece_bytes_ != 0 ? 1 : 0)));
  load_state();
}

PartFile::~PartFile() {
  if (fd_ >= 0) ::close(fd_);
}

bool PartFile::may_be_complete() const {
  std::error_code ec;
  const uint64_t size = fs::file_size(target_, ec);
  return !ec && file_.size && size == *file_.size && !file_.sha256.empty();
}

Result<bool> PartFile::is_complete() const {
  TRY(const std::string digest, format::sha256_of_file(target_));
  return digest == file_.sha256;
}

std::optional<uint64_t> PartFile::piece_size(size_t i) const {
  if (!file_.size) return std::nullopt;
  return std::min(piece_bytes_, *file_.size - piece_begin(i));
}

void PartFile::load_state() {
  std::error_code ec;
  if (!file_.size || fs::file_size(part_, ec) != *file_.size || ec) return;
  const auto text = read_small_file(state_);
  if (!text) return;
  const auto state = json::parse(*text, {.bytes_max = 64u << 20});
  if (!state || state->int_or("size", -1).value_or(-1) != static_cast<int64_t>(*file_.size) ||
      state->int_or("piece_bytes", -1).value_or(-1) != static_cast<int64_t>(piece_bytes_) ||
      state->string_or("sha256", "?").value_or("?") != file_.sha256) {
    return;
  }
  const json::Value* done = state->find("done");
  if (done == nullptr || !done->is_array()) return;
  for (const json::Value& i : done->as_array()) {
    if (i.is_int() && i.as_int() >= 0 && static_cast<size_t>(i.as_int()) < done_.size()) {
      done_[static_cast<size_t>(i.as_int())] = true;
    }
  }
}

Status PartFile::open() {
  if (fd_ >= 0) return {};
  std::error_code ec;
  fs::create_directories(target_.parent_path(), ec);
  fd_ = ::open(part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd_ < 0) return errno_error(errno, "open " + part_.string());
  if (::ftruncate(fd_, static_cast<off_t>(file_.size.value_or(0))) != 0) {
    return errno_error(errno, "resize " + part_.string());
  }
  return {};
}

Status PartFile::write(uint64_t offset, std::string_view bytes) {
  {
    std::lock_guard lock(mutex_);
    TRY_VOID(open());
  }
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write " + part_.string());
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Result<bool> PartFile::piece_done(size_t i) {
  std::lock_guard lock(mutex_);
  done_[i] = true;
  const bool all = std::all_of(done_.begin(), done_.end(), [](bool d) { return d; });
  if (!all) TRY_VOID(save_state());
  return all;
}

/// The data goes to disk before the note that it is there.
Status PartFile::save_state() {
  if (::fdatasync(fd_) != 0) return errno_error(errno, "sync " + part_.string());
  json::Array done;
  for (size_t i = 0; i < done_.size(); ++i) {
    if (done_[i]) done.emplace_back(static_cast<int64_t>(i));
  }
  const fs::path temporary = with_suffix(state_, ".new");
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out << json::dump(json::Object{{"size", static_cast<int64_t>(*file_.size)},
                                   {"sha256", file_.sha256},
                                   {"piece_bytes", static_cast<int64_t>(piece_bytes_)},
                                   {"done", std::move(done)}});
    if (!out.flush()) return errno_error(errno, "write " + temporary.string());
  }
  std::error_code ec;
  fs::rename(temporary, state_, ec);
  if (ec) return errno_error(ec.value(), "rename " + temporary.string());
  return {};
}

void PartFile::forget() {
  std::error_code ec;
  fs::remove(part_, ec);
  fs::remove(state_, ec);
  std::fill(done_.begin(), done_.end(), false);
}

Status PartFile::finish() {
  std::lock_guard lock(mutex_);
  TRY_VOID(open());
  const bool synced = ::fdatasync(fd_) == 0;
  const int why = errno;
  ::close(fd_);
  fd_ = -1;
  if (!synced) return errno_error(why, "sync " + part_.string());
  if (!file_.sha256.empty()) {
    TRY(const std::string digest, format::sha256_of_file(part_));
    if (digest != file_.sha256) {
      forget();
      return corrupt(file_.path + ": its SHA-256 is " + digest + ", the hub says " + file_.sha256);
    }
  }
  std::error_code ec;
  fs::rename(part_, target_, ec);
  if (ec) return errno_error(ec.value(), "rename " + part_.string());
  fs::remove(state_, ec);
  return {};
}

}  // namespace hadal::hub::internal
