#include "format/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "base/units.h"

namespace hadal::format {
namespace {
// Whole large pages: file systems that keep them in the page cache can then map them as such.
constexpr size_t kBufferBytes = 4 * kMiB;
}  // namespace

Result<OutputFile> OutputFile::create(const std::filesystem::path& path, uint64_t bytes) {
  std::error_code ec;
  const auto space = std::filesystem::space(std::filesystem::absolute(path).parent_path(), ec);
  if (!ec && bytes > space.available) {
    return make_error(ErrorCode::resource_exhausted,
                      path.string() + ": " + format_bytes(bytes) + " are needed, " +
                          format_bytes(space.available) + " are free there");
  }
  OutputFile file;
  file.path_ = path;
  file.temporary_ = path.string() + ".part-" + std::to_string(::getpid());
  file.fd_ = ::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file.fd_ < 0) return errno_error(errno, "create " + path.string());
  file.buffer_.reserve(kBufferBytes);
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      buffer_(std::move(other.buffer_)),
      flushed_(other.flushed_) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(buffer_, other.buffer_);
  std::swap(flushed_, other.flushed_);
  return *this;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status OutputFile::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write " + path_.string());
    bytes = bytes.subspan(static_cast<size_t>(n));
    flushed_ += static_cast<uint64_t>(n);
  }
  return {};
}

Status OutputFile::flush() {
  TRY_VOID(write_all(buffer_));
  buffer_.clear();
  return {};
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kBufferBytes - buffer_.size()));
    buffer_.insert(buffer_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (buffer_.size() == kBufferBytes) TRY_VOID(flush());
  }
  return {};
}

Status OutputFile::pad(uint64_t alignment) {
  const uint64_t missing = (alignment - bytes() % alignment) % alignment;
  const std::vector<std::byte> zeros(missing);
  return write(zeros);
}

Status OutputFile::commit() {
  TRY_VOID(flush());
  if (::fsync(fd_) != 0) return errno_error(errno, "sync " + path_.string());
  ::close(std::exchange(fd_, -1));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int why = errno;
    ::unlink(temporary_.c_str());
    return errno_error(why, "rename to " + path_.string());
  }
  return {};
}

}  // namespace hadal::format
