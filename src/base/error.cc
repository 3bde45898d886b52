#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/check.h"

namespace hadal {
namespace {

// Source: HTTP statuses RFC 9110 (499 is nginx's "client closed request"); OpenAI `error.type`
// strings as the public API sends them; exit codes from sysexits.h (64 usage, 65 data, 66 no input,
// 69 unavailable, 70 software, 71 os, 74 io, 75 tempfail, 77 noperm), 130 as a shell reports
// SIGINT.
constexpr ErrorClass kTable[] = {
    {ErrorCode::invalid_argument, "invalid_argument", 400, "invalid_request_error", 64},
    {ErrorCode::unauthenticated, "unauthenticated", 401, "authentication_error", 77},
    {ErrorCode::permission_denied, "permission_denied", 403, "permission_error", 77},
    {ErrorCode::not_found, "not_found", 404, "not_found_error", 66},
    {ErrorCode::conflict, "conflict", 409, "invalid_request_error", 73},
    {ErrorCode::too_large, "too_large", 413, "invalid_request_error", 65},
    {ErrorCode::context_length_exceeded, "context_length_exceeded", 400, "invalid_request_error",
     65},
    {ErrorCode::rate_limited, "rate_limited", 429, "rate_limit_error", 75},
    {ErrorCode::cancelled, "cancelled", 499, "request_cancelled", 130},
    {ErrorCode::corrupt, "corrupt", 500, "server_error", 65},
    {ErrorCode::unsupported, "unsupported", 400, "invalid_request_error", 69},
    {ErrorCode::resource_exhausted, "resource_exhausted", 507, "server_error", 71},
    {ErrorCode::unavailable, "unavailable", 503, "server_error", 69},
    {ErrorCode::timeout, "timeout", 504, "server_error", 75},
    {ErrorCode::internal, "internal", 500, "server_error", 70},
};

}  // namespace

const ErrorClass& error_class(ErrorCode code) {
  for (const ErrorClass& row : kTable) {
    if (row.code == code) return row;
  }
  CHECK(false, "an ErrorCode without a row in the table");
  return kTable[0];
}

Error Error::in(std::string_view where) && {
  std::string located(where);
  located.append(": ").append(message);
  message = std::move(located);
  return std::move(*this);
}

Error Error::about(std::string_view name) && {
  param = name;
  return std::move(*this);
}

Error Error::with_hint(std::string_view text) && {
  hint = text;
  return std::move(*this);
}

Error Error::retry_after(int64_t seconds) && {
  retry_after_s = seconds;
  return std::move(*this).with_hint("try again in " + std::to_string(seconds) + " s");
}

std::string Error::to_string() const {
  return hint.empty() ? message : message + " (" + hint + ")";
}

Error errno_error(int errno_value, std::string_view what) {
  ErrorCode code = ErrorCode::internal;
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR: code = ErrorCode::not_found; break;
    case EACCES:
    case EPERM:
    case EROFS: code = ErrorCode::permission_denied; break;
    case EEXIST: code = ErrorCode::conflict; break;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE: code = ErrorCode::resource_exhausted; break;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EAGAIN: code = ErrorCode::unavailable; break;
    case ETIMEDOUT: code = ErrorCode::timeout; break;
    case EISDIR:
    case EINVAL:
    case ENAMETOOLONG: code = ErrorCode::invalid_argument; break;
    default: break;
  }
  std::string message(what);
  message += ": ";
  message += std::generic_category().message(errno_value);
  return make_error(code, std::move(message));
}

}  // namespace hadal
