#include "agent/door/compression.h"

#include <snappy.h>

namespace lambda::agent {
namespace {

tl::unexpected<Error> too_large(uint64_t bytes_max) {
  return fail(ErrorCode::kFull, "the body is more than " + std::to_string(bytes_max) + " bytes when it is unpacked");
}

}  // namespace

Result<std::string> unpack_snappy(std::string_view packed, uint64_t bytes_max) {
  size_t bytes = 0;
  if (!snappy::GetUncompressedLength(packed.data(), packed.size(), &bytes)) {
    return fail(ErrorCode::kInvalid, "the body is not packed with snappy");
  }
  if (bytes > bytes_max) return too_large(bytes_max);
  // A short text cannot hold a long one: its length is not to be believed before room is taken for it. Three bytes of
  // packed text become at most 64.
  if (bytes > (packed.size() + 1) * 22) {
    return fail(ErrorCode::kInvalid, "the body is not whole: snappy cannot unpack it");
  }
  std::string out(bytes, '\0');
  if (!snappy::RawUncompress(packed.data(), packed.size(), out.data())) {
    return fail(ErrorCode::kInvalid, "the body is not whole: snappy cannot unpack it");
  }
  return out;
}

}  // namespace lambda::agent
