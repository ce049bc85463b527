// Bodies that the other side packed with gzip.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lambda {

// Several of them, one behind the other, are one text. kInvalid: not in this form, or not whole. kFull: more than
// `bytes_max` would come out, and nothing was unpacked beyond that.
Result<std::string> unpack_gzip(std::string_view packed, uint64_t bytes_max);

}  // namespace lambda
