#pragma once

#include <tl/expected.hpp>

#include <type_traits>
#include <utility>

#include "base/error.h"

namespace hadal {

/// A T or the Error that kept us from it. Every function that a file, a request, a peer or the
/// machine can make fail returns one; it cannot be dropped silently. Read it with TRY inside
/// functions that also return a Result, or test it: `if (!r) return r.error();` then `*r`.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;

 public:
  using Base::Base;
  Result(Error error)
      : Base(tl::make_unexpected(std::move(error))) {}  // NOLINT: implicit by design
};

/// Done, or the Error that kept us from it. `return {};` says done.
using Status = Result<void>;

namespace internal {
template <class R>
Error take_error(R& r) {
  return std::move(r).error();
}
}  // namespace internal

}  // namespace hadal

#define HADAL_CAT_(a, b) a##b
#define HADAL_CAT(a, b) HADAL_CAT_(a, b)
#define HADAL_TRY_(tmp, ret, decl, ...) \
  auto tmp = (__VA_ARGS__); \
  if (!tmp) ret ::hadal::internal::take_error(tmp); \
  decl = *std::move(tmp)
#define HADAL_TRY_VOID_(tmp, ret, ...) \
  do { \
    auto tmp = (__VA_ARGS__); \
    if (!tmp) ret ::hadal::internal::take_error(tmp); \
  } while (false)

/// `TRY(auto file, open(path));` declares `file` from the value, or returns the Error from this
/// function.
#define TRY(decl, ...) HADAL_TRY_(HADAL_CAT(hadal_try_, __LINE__), return, decl, __VA_ARGS__)
/// `TRY_VOID(flush());` returns the Error from this function, if there is one.
#define TRY_VOID(...) HADAL_TRY_VOID_(HADAL_CAT(hadal_try_, __LINE__), return, __VA_ARGS__)
/// TRY and TRY_VOID for coroutines.
#define CO_TRY(decl, ...) HADAL_TRY_(HADAL_CAT(hadal_try_, __LINE__), co_return, decl, __VA_ARGS__)
#define CO_TRY_VOID(...) HADAL_TRY_VOID_(HADAL_CAT(hadal_try_, __LINE__), co_return, __VA_ARGS__)
