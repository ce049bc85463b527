// What a call that can fail for reasons outside the program returns.
// Programmer errors are LAMBDA_ASSERT.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace lambda {

// A code exists only where callers react differently.
enum class ErrorCode {
  kInvalid,      // the input is wrong: refuse it
  kNotFound,     // there is no such thing: the caller decides
  kUnavailable,  // not now: try again later
  kFull,         // a bound was reached: withhold, drop or tell
  kCorrupt,      // bytes do not match their check: quarantine
  kIo,           // the operating system failed: stop writing
  kDenied,       // the peer may not do this
  kUnsupported,  // a version, codec or function this program does not know
};

// The text is for the person who must act: it names the field, file and line or byte offset.
struct Error {
  ErrorCode code;
  std::string text;
};

template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string text) {
  return tl::unexpected<Error>(Error{code, std::move(text)});
}

}  // namespace lambda

// Stays on in release builds.
#define LAMBDA_ASSERT(condition)                                                             \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: assertion failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
