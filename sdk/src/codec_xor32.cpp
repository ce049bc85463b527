// f32: xor64's codes over the upper half of 64 bits, with a shorter length of a window. proto/block.md.
#include "codes.h"
#include "lambda/codecs.h"
#include "read_codes.h"
#include "wide_codes.h"

namespace lambda {
namespace {

void start(uint64_t bits, CodeState* state, uint64_t*) {
  state->last_bits = bits << 32;
}

uint8_t* encode(CodeState* state, uint64_t*, int32_t step, uint64_t bits, uint8_t* out) {
  return encode_point_here<Codec::kXor32>(state, step, bits << 32, out);
}

}  // namespace

size_t CodecReader::xor32(BlockReader* reader, std::span<Point> points) {
  const size_t made = reader->decode<Codec::kXor32>(points);
  for (Point& point : points.first(made)) point.bits >>= 32;
  return made;
}

const BlockCoding lam_codec_xor32 = {Codec::kXor32, 1u << static_cast<unsigned>(ValueType::kF32), start, encode,
                                     CodecReader::xor32};

}  // namespace lambda
