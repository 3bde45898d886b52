#include "vault/signature.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "format/digest.h"
#include "format/mapped_file.h"
#include "format/output_file.h"

namespace hadal::vault {
namespace {

constexpr size_t kSignatureBytes = 64;
constexpr size_t kKeyFileMax = 64 << 10;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

enum class Half { private_key, public_key };

Result<Key> read_key(const std::filesystem::path& path, Half half) {
  TRY(const std::string text, format::read_text_file(path, kKeyFileMax));
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  // A key that is encrypted would ask the terminal for a password; an empty one is tried instead.
  char no_password[] = "";
  Key key(half == Half::private_key
              ? PEM_read_bio_PrivateKey(memory.get(), nullptr, nullptr, no_password)
              : PEM_read_bio_PUBKEY(memory.get(), nullptr, nullptr, nullptr),
          EVP_PKEY_free);
  if (key == nullptr || EVP_PKEY_id(key.get()) != EVP_PKEY_ED25519) {
    return invalid_argument(path.string() + " is not " +
                            (half == Half::private_key ? "a private" : "a public") +
                            " Ed25519 key in PEM")
        .with_hint(half == Half::private_key
                       ? "make one with `openssl genpkey -algorithm ed25519 -out key.pem`"
                       : "get it with `openssl pkey -in key.pem -pubout -out public.pem`");
  }
  return key;
}

const unsigned char* bytes_of(const format::Sha256Digest& digest) {
  return reinterpret_cast<const unsigned char*>(digest.data());
}

format::Sha256Digest digest_of(std::span<const std::byte> bytes) {
  format::Sha256 digest;
  digest.update(bytes);
  return digest.finish();
}

std::filesystem::path signature_path(const std::filesystem::path& file) {
  return file.string() + ".sig";
}

}  // namespace

Status sign_file(const std::filesystem::path& file, const std::filesystem::path& private_key) {
  TRY(const Key key, read_key(private_key, Half::private_key));
  TRY(const auto mapped, format::MappedFile::open(file));
  const auto digest = digest_of(mapped.bytes());
  std::array<std::byte, kSignatureBytes> signature{};
  size_t size = signature.size();
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes_of(digest), digest.size()) != 1 ||
      size != signature.size()) {
    return internal_error("OpenSSL could not sign " + file.string());
  }
  TRY(auto out, format::OutputFile::create(signature_path(file)));
  TRY_VOID(out.write(signature));
  return out.commit();
}

Status verify_file(const std::filesystem::path& file, std::span<const std::byte> bytes,
                   const std::filesystem::path& public_key) {
  TRY(const Key key, read_key(public_key, Half::public_key));
  TRY(const auto signature, format::MappedFile::open(signature_path(file)));
  const auto digest = digest_of(bytes);
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (context == nullptr ||
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) {
    return internal_error("OpenSSL could not use the key " + public_key.string());
  }
  const auto sig = signature.bytes();
  if (sig.size() != kSignatureBytes ||
      EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(sig.data()),
                       sig.size(), bytes_of(digest), digest.size()) != 1) {
    return make_error(ErrorCode::permission_denied,
                      file.string() + " was not signed with the key of " + public_key.string() +
                          ", or was changed since")
        .with_hint("do not use it; make it again");
  }
  return {};
}

}  // namespace hadal::vault
