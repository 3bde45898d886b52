#include "format/digest.h"

#include <openssl/evp.h>

#include "base/check.h"
#include "base/units.h"
#include "format/mapped_file.h"

namespace hadal::format {

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(context); }
  void start() {
    CHECK(context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
  }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) { impl_->start(); }
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest{};
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(impl_->context, reinterpret_cast<unsigned char*>(digest.data()),
                           &size) == 1 &&
        size == digest.size());
  impl_->start();
  return digest;
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (const std::byte b : bytes) {
    out += kHex[static_cast<unsigned>(b) >> 4];
    out += kHex[static_cast<unsigned>(b) & 15];
  }
  return out;
}

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  TRY(const MappedFile file, MappedFile::open(path));
  file.advise(MappedFile::Advice::sequential);
  Sha256 sha;
  constexpr size_t kPiece = 16 * kMiB;
  for (size_t at = 0; at < file.bytes().size(); at += kPiece) {
    const size_t n = std::min(kPiece, file.bytes().size() - at);
    sha.update(file.bytes().subspan(at, n));
    file.advise(MappedFile::Advice::dont_need, at, n);  // hashing must not push others out
  }
  return to_hex(sha.finish());
}

}  // namespace hadal::format
