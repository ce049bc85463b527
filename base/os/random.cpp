#include "base/os/random.h"

#include <sys/random.h>

#include <cerrno>

namespace lambda {

void OsRandom::fill(std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t got = getrandom(into.data(), into.size(), 0);
    // Only EINTR is possible for a valid buffer; to go on with bytes that are not random is not an option.
    LAMBDA_ASSERT(got > 0 || errno == EINTR);
    if (got > 0) into = into.subspan(static_cast<size_t>(got));
  }
}

}  // namespace lambda
