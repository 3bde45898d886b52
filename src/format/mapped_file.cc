#include "format/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/units.h"

namespace hadal::format {
namespace {

/// A descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Result<size_t> regular_file_size(int fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return errno_error(errno, "stat " + path.string());
  if (!S_ISREG(info.st_mode)) return invalid_argument(path.string() + ": not a regular file");
  return static_cast<size_t>(info.st_size);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return errno_error(errno, "open " + path.string());
  TRY(const size_t size, regular_file_size(fd.get(), path));
  MappedFile file;
  if (size == 0) return file;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return errno_error(errno, "map " + path.string());
  file.data_ = static_cast<const std::byte*>(data);
  file.size_ = size;
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::advise(Advice advice, size_t offset, size_t count) const {
  if (offset >= size_) return;
  count = std::min(count, size_ - offset);
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  int flag = MADV_NORMAL;
  switch (advice) {
    case Advice::normal: flag = MADV_NORMAL; break;
    case Advice::sequential: flag = MADV_SEQUENTIAL; break;
    case Advice::random: flag = MADV_RANDOM; break;
    case Advice::will_need: flag = MADV_WILLNEED; break;
    case Advice::dont_need: flag = MADV_DONTNEED; break;
    case Advice::large_pages: flag = MADV_HUGEPAGE; break;
  }
  ::madvise(const_cast<std::byte*>(data_) + begin, count + (offset - begin), flag);
}

Result<std::string> read_text_file(const std::filesystem::path& path, size_t bytes_max) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return errno_error(errno, "open " + path.string());
  TRY(const size_t size, regular_file_size(fd.get(), path));
  if (size > bytes_max) {
    return too_large(path.string() + ": " + format_bytes(size) + "; at most " +
                     format_bytes(bytes_max) + " are accepted");
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd.get(), text.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "read " + path.string());
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  text.resize(done);
  return text;
}

}  // namespace hadal::format
