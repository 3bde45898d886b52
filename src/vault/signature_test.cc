#include "vault/signature.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace hadal::vault {
namespace {

namespace fs = std::filesystem;

// Keys for these tests only, by `openssl genpkey`.
constexpr char kMine[] = R"(-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIBCTgi/k5xMGnl18RkdO3e/kRgs2q4Gw1IofZrZSt/iV
-----END PRIVATE KEY-----
)";
constexpr char kMinePublic[] = R"(-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEApHu1bjhsxxjljC5+iFR2F+FdePmE6Z7eUc0/hxaAMo4=
-----END PUBLIC KEY-----
)";
constexpr char kTheirsPublic[] = R"(-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAZMU32yQPQnvJyYDdP8o4DKwwRrIO/B6D6JU/F4VwUIo=
-----END PUBLIC KEY-----
)";
constexpr char kEllipticCurve[] = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguBUqpOURvoaC/Luv
aBk6MnPgFcyjSz8f6fb/MLaynMuhRANCAARmlj/jc5v4IAKrMJhz6r8xEWbWEAfz
SABR/Wa0e/2uaCQdzGFhN5z0sBPt/g5sBpDYaXKemadvWeY0iqqw+mez
-----END PRIVATE KEY-----
)";

class SignatureTest : public testing::Test {
 protected:
  SignatureTest() {
    std::string name = (fs::temp_directory_path() / "hadal-vault-XXXXXX").string();
    dir_ = mkdtemp(name.data());
    write("mine.pem", kMine);
    write("mine.pub", kMinePublic);
    write("theirs.pub", kTheirsPublic);
    write("ec.pem", kEllipticCurve);
    write("data", "some bytes");
  }
  ~SignatureTest() override { fs::remove_all(dir_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name, std::ios::binary) << text;
  }
  Status verify(const std::string& text, const std::string& key) {
    return verify_file(dir_ / "data", std::as_bytes(std::span(text)), dir_ / key);
  }

  fs::path dir_;
};

TEST_F(SignatureTest, OnlyTheSignedBytesUnderTheRightKeyPass) {
  ASSERT_TRUE(sign_file(dir_ / "data", dir_ / "mine.pem"));
  EXPECT_TRUE(verify("some bytes", "mine.pub"));
  EXPECT_EQ(verify("some bytes!", "mine.pub").error().code, ErrorCode::permission_denied);
  EXPECT_EQ(verify("some bytes", "theirs.pub").error().code, ErrorCode::permission_denied);
  write("data.sig", std::string(63, 'x'));
  EXPECT_EQ(verify("some bytes", "mine.pub").error().code, ErrorCode::permission_denied);
  fs::remove(dir_ / "data.sig");
  EXPECT_EQ(verify("some bytes", "mine.pub").error().code, ErrorCode::not_found);
}

TEST_F(SignatureTest, KeysOfAnotherKindAreRefused) {
  EXPECT_EQ(sign_file(dir_ / "data", dir_ / "ec.pem").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(sign_file(dir_ / "data", dir_ / "mine.pub").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(sign_file(dir_ / "data", dir_ / "none").error().code, ErrorCode::not_found);
  EXPECT_FALSE(fs::exists(dir_ / "data.sig"));
}

}  // namespace
}  // namespace hadal::vault
