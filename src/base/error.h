#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace hadal {

/// What kind of thing went wrong. Each code has one HTTP status, one OpenAI `error.type` and one
/// process exit code, all in the table of error.cc and nowhere else.
enum class ErrorCode {
  invalid_argument,         ///< the caller's value is wrong; repeating the call cannot help
  unauthenticated,          ///< no key, or one that is not known
  permission_denied,        ///< a known caller who may not do this
  not_found,                ///< a model, a file, a path that does not exist
  conflict,                 ///< the thing exists already or is in another state
  too_large,                ///< over a stated limit: body, depth, file
  context_length_exceeded,  ///< the prompt does not fit the model's context
  rate_limited,             ///< the caller's own limit
  cancelled,                ///< the caller went away or pressed Ctrl-C
  corrupt,                  ///< a file or a peer's bytes do not follow their format
  unsupported,              ///< well formed, but this build or this model cannot do it
  resource_exhausted,       ///< memory, disk or KV pages are used up
  unavailable,              ///< try again later: starting, stopping, queue full, peer down
  timeout,                  ///< a deadline passed
  internal,                 ///< a defect of ours
};

/// The fixed facts about an ErrorCode.
struct ErrorClass {
  ErrorCode code;
  std::string_view name;         ///< equal to the enumerator
  int http_status;               ///< what an HTTP client sees
  std::string_view openai_type;  ///< `error.type` in the JSON body
  int exit_code;                 ///< what a shell sees (sysexits.h where it has a word for it)
};

/// The row of the table for `code`.
const ErrorClass &error_class(ErrorCode code);

/// An operating error: a value, not an exception. `message` says what was wrong, where, and what to
/// do, in one line fit for the person who reads it at 3 a.m.; it never contains prompt text or a
/// secret.
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
  std::string param;  ///< the request field or flag that is wrong, when there is one: "max_tokens"
  std::string hint;   ///< what to do, when it is worth a sentence of its own
  int64_t retry_after_s = 0;  ///< when trying again is worth it; 0: not known

  /// The same error with `where` put in front of its message: "model.gguf: tensor 3: offset ...".
  Error in(std::string_view where) &&;
  /// The same error, about request field `name`.
  Error about(std::string_view name) &&;
  /// The same error with a hint.
  Error with_hint(std::string_view text) &&;
  /// The same error, with a hint that it is worth trying again in `seconds`.
  Error retry_after(int64_t seconds) &&;
  /// "message (hint)" for a terminal.
  std::string to_string() const;
};

inline Error make_error(ErrorCode code, std::string message) {
  return Error{code, std::move(message), {}, {}, 0};
}
inline Error invalid_argument(std::string message) {
  return make_error(ErrorCode::invalid_argument, std::move(message));
}
inline Error not_found(std::string message) {
  return make_error(ErrorCode::not_found, std::move(message));
}
inline Error too_large(std::string message) {
  return make_error(ErrorCode::too_large, std::move(message));
}
inline Error corrupt(std::string message) {
  return make_error(ErrorCode::corrupt, std::move(message));
}
inline Error unsupported(std::string message) {
  return make_error(ErrorCode::unsupported, std::move(message));
}
inline Error unavailable(std::string message) {
  return make_error(ErrorCode::unavailable, std::move(message));
}
inline Error internal_error(std::string message) {
  return make_error(ErrorCode::internal, std::move(message));
}
/// An Error from `errno` of a failed system call: "open /x: No such file or directory".
Error errno_error(int errno_value, std::string_view what);

}  // namespace hadal
