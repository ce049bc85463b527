// Bodies that clients pack: snappy here, gzip in base/gzip.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/gzip.h"  // IWYU pragma: export
#include "base/result.h"

namespace lambda::agent {

// kInvalid: not in this form. kFull: more than `bytes_max` would come out, and nothing was unpacked beyond that.
Result<std::string> unpack_snappy(std::string_view packed, uint64_t bytes_max);  // one block, no frames

}  // namespace lambda::agent
