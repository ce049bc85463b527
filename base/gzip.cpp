#include "base/gzip.h"

#include <zlib.h>

#include <algorithm>

namespace lambda {

Result<std::string> unpack_gzip(std::string_view packed, uint64_t bytes_max) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  z_stream stream{};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) return fail(ErrorCode::kUnavailable, "gzip: no memory");
  std::string in(packed);
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  std::string out;
  int code = Z_OK;
  while (code == Z_OK && out.size() <= bytes_max) {
    const size_t before = out.size();
    out.resize(before + std::clamp<size_t>(in.size() * 2, 4096, 1u << 20));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(out.size() - before);
    code = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (code == Z_OK && stream.avail_in == 0 && stream.avail_out > 0) code = Z_BUF_ERROR;
    // Packed texts may stand one behind the other, and are one text.
    if (code == Z_STREAM_END && stream.avail_in > 0) code = inflateReset(&stream);
  }
  inflateEnd(&stream);
  if (out.size() > bytes_max) {
    return fail(ErrorCode::kFull, "the body is more than " + std::to_string(bytes_max) + " bytes when it is unpacked");
  }
  if (code != Z_STREAM_END) return fail(ErrorCode::kInvalid, "the body is not whole: gzip cannot unpack it");
  return out;
}

}  // namespace lambda
