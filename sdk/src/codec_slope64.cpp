// Counters: delta64's codes over the differences from point to point, so that a steady rate costs a bit.
// proto/block.md.
#include "codes.h"
#include "lambda/codecs.h"
#include "read_codes.h"
#include "wide_codes.h"

namespace lambda {
namespace {

void start(uint64_t bits, CodeState* state, uint64_t* value) {
  state->last_bits = 0;  // as if the value before had been the same
  *value = bits;
}

uint8_t* encode(CodeState* state, uint64_t* value, int32_t step, uint64_t bits, uint8_t* out) {
  const uint64_t difference = bits - *value;
  *value = bits;
  return encode_point_here<Codec::kDelta64>(state, step, difference, out);
}

}  // namespace

size_t CodecReader::slope64(BlockReader* reader, std::span<Point> points) {
  const size_t made = reader->decode<Codec::kDelta64>(points);
  for (Point& point : points.first(made)) point.bits = reader->value_ += point.bits;
  return made;
}

const BlockCoding lam_codec_slope64 = {
    Codec::kSlope64, 1u << static_cast<unsigned>(ValueType::kI64) | 1u << static_cast<unsigned>(ValueType::kDec), start,
    encode, CodecReader::slope64};

}  // namespace lambda
