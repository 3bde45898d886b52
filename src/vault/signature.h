#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "base/result.h"

namespace hadal::vault {

/// Signs a file with the Ed25519 private key in a PEM file; the signature goes to FILE.sig: 64
/// bytes over the file's SHA-256 digest. Errors: invalid_argument when the key is none of Ed25519;
/// those of reading and writing files. Source: RFC 8032, by OpenSSL. Keys: `openssl genpkey
/// -algorithm ed25519`.
Status sign_file(const std::filesystem::path& file, const std::filesystem::path& private_key);

/// Whether FILE.sig is the signature of `bytes`, the file's content, by the owner of the Ed25519
/// public key in a PEM file.
/// Errors: permission_denied when it is not; not_found without a signature; invalid_argument for
/// the key.
Status verify_file(const std::filesystem::path& file, std::span<const std::byte> bytes,
                   const std::filesystem::path& public_key);

}  // namespace hadal::vault
