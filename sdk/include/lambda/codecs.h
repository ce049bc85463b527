// The codecs beyond xor64 and delta64 that a device may have: each in its own object file, linked only by a program
// that names it. Grammar: proto/block.md, "Further codecs".
//
//   kXor32Coding    f32          half of xor64's window
//   kSlope64Coding  i64, dec     counters: delta of delta
//   kRuns64Coding   i64, dec, state   states: costs per change, not per point
//
// A gateway says in its answers which codecs it takes (proto/parcel.md); until it has, a device writes the first two.
// All are immutable constants, for any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/block.h"

namespace lambda {

struct CodeState;
class BlockReader;

struct BlockCoding {
  Codec codec;
  uint8_t types;  // a bit for each ValueType it holds

  // The state of a block whose first point has the value `bits`. `value` is what the codec needs beside CodeState;
  // whoever keeps the one keeps the other.
  void (*start)(uint64_t bits, CodeState* state, uint64_t* value);
  // Writes the code of one more point at `out`, where kEncodeReach bytes must be writable, and returns where the byte
  // being filled is now, which it has written too; at most kCodeBytesMax further on. `step`: time since the last
  // point, in ticks.
  uint8_t* (*encode)(CodeState* state, uint64_t* value, int32_t step, uint64_t bits, uint8_t* out);
  // BlockReader::next() for a reader of such a block; `points` are no more than are left.
  size_t (*decode)(BlockReader* reader, std::span<Point> points);

  constexpr bool holds(ValueType type) const { return (types >> static_cast<unsigned>(type) & 1) != 0; }
};

// By their names in C, see lambda/lambda.h.
extern "C" {
extern const BlockCoding lam_codec_xor32;
extern const BlockCoding lam_codec_slope64;
extern const BlockCoding lam_codec_runs64;
}
inline constexpr const BlockCoding& kXor32Coding = lam_codec_xor32;
inline constexpr const BlockCoding& kSlope64Coding = lam_codec_slope64;
inline constexpr const BlockCoding& kRuns64Coding = lam_codec_runs64;

// All of them: what a gateway reads. Naming this links all.
extern const BlockCodings kAllCodings;

// Null: it is none of them.
inline const BlockCoding* find_coding(BlockCodings codings, Codec codec) {
  if constexpr (!kFurtherCodecs) return nullptr;
  for (const BlockCoding* const coding : codings) {
    if (coding->codec == codec) return coding;
  }
  return nullptr;
}

// A set of codecs as messages have it: bit n stands for codec n.
constexpr uint32_t codec_bit(Codec codec) {
  return 1u << static_cast<unsigned>(codec);
}
// What every gateway takes, whether or not it says so.
inline constexpr uint32_t kCodecsOfEverybody = codec_bit(Codec::kXor64) | codec_bit(Codec::kDelta64);
// Above the codecs, which have the lower 16 bits: blocks with a gap of reason THINNED.
inline constexpr uint32_t kTakesThinned = 1u << 16;
// What a gateway of this version takes.
inline constexpr uint32_t kCodecsOfDevices = kCodecsOfEverybody | codec_bit(Codec::kXor32) |
                                             codec_bit(Codec::kSlope64) | codec_bit(Codec::kRuns64) | kTakesThinned;

}  // namespace lambda
