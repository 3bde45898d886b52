#pragma once

// CHECK aborts on a broken invariant, in every build. It is for programmer errors only: anything
// that a file, a request, a peer or a full disk can cause is a Result (base/result.h).

namespace hadal::internal {
[[noreturn]] void check_failed(const char* file, int line, const char* expression, const char* why);
}  // namespace hadal::internal

#define HADAL_CHECK_1(cond) HADAL_CHECK_2(cond, "")
#define HADAL_CHECK_2(cond, why) \
  (__builtin_expect(static_cast<bool>(cond), 1) \
       ? static_cast<void>(0) \
       : ::hadal::internal::check_failed(__FILE__, __LINE__, #cond, why))
#define HADAL_CHECK_PICK(_1, _2, NAME, ...) NAME

/// Aborts with file, line and the condition unless `cond` holds. `CHECK(cond)` or `CHECK(cond,
/// "why")`.
#define CHECK(...) HADAL_CHECK_PICK(__VA_ARGS__, HADAL_CHECK_2, HADAL_CHECK_1)(__VA_ARGS__)
