// States: a code stands for the points that go on as the ones before did and for the one that does not, and what goes
// on to the block's end needs none. proto/block.md, "Further codecs".
#include "codes.h"
#include "lambda/codecs.h"
#include "read_codes.h"

namespace lambda {
namespace {

constexpr unsigned kRunBitsMax = 10;
static_assert(kBlockPointsMax <= 1u << kRunBitsMax);

void start(uint64_t bits, CodeState* state, uint64_t*) {
  state->last_bits = bits;
}

void set_run(CodeState* state, uint32_t run) {
  state->window_lead = static_cast<uint8_t>(run);
  state->window_bits = static_cast<uint8_t>(run >> 8);
}

uint32_t take_run(CodeWindow* window) {
  if (!window->flag()) return 0;
  const unsigned bits = !window->flag() ? 3 : !window->flag() ? 6 : kRunBitsMax;
  return static_cast<uint32_t>(window->take(bits)) + 1;
}

// The run, behind the '1' of a code.
uint8_t* put_run(CodeState* state, uint32_t run, uint8_t* out) {
  if (run == 0) return put_short(state, 0b10u, 1 + 1, out);
  const uint32_t number = run - 1;
  if (number < 1u << 3) return put_short(state, 0b110u << 3 | number, 1 + 2 + 3, out);
  if (number < 1u << 6) return put_short(state, 0b1110u << 6 | number, 1 + 3 + 6, out);
  return put_short(state, 0b1111u << kRunBitsMax | number, 1 + 3 + kRunBitsMax, out);
}

uint8_t* encode(CodeState* state, uint64_t*, int32_t step, uint64_t bits, uint8_t* out) {
  const int32_t change = step - state->step;
  const uint64_t delta = bits - state->last_bits;
  const uint32_t run = run_of(*state);
  if (change == 0 && delta == 0) {
    set_run(state, run + 1);
    *out = state->partial;
    return out;
  }
  set_run(state, 0);
  state->last_bits = bits;
  out = put_run(state, run, out);
  if (change == 0) return put_near(state, 0, 1, delta, out);
  state->step = step;
  out = put_step<1>(state, change, delta != 0 ? 1 : 0, out);
  return delta != 0 ? put_near(state, 0, 0, delta, out) : out;
}

}  // namespace

size_t CodecReader::runs64(BlockReader* reader, std::span<Point> points) {
  BlockReader& in = *reader;
  const size_t last = in.info_.count - in.taken_;  // points that are not given out yet
  BlockError error = BlockError::kNone;
  size_t made = 0;
  // One more point, a step after the one before. False: it lies outside the block's times.
  const auto emit = [&] {
    if (!in.step_on()) return false;
    points[made++] = in.here();
    return true;
  };

  if (in.taken_ == 0) points[made++] = in.here();
  while (made < points.size() && error == BlockError::kNone) {
    if (in.run_ > 0) {
      --in.run_;
      if (!emit()) error = BlockError::kTimes;
      continue;
    }
    CodeWindow window = window_at(in.bytes_, in.size_, in.bit_);
    if (!in.in_run_) {
      const bool open_end = in.is_open_ && in.bit_ == in.bit_end_;
      if (open_end || !window.flag()) {
        in.run_ = static_cast<uint32_t>(last - made);
      } else {
        in.run_ = take_run(&window);
        in.in_run_ = true;
        if (in.run_ >= last - made) error = BlockError::kBits;  // no point is left to change
      }
    } else {
      in.in_run_ = false;
      bool changed = true;
      if (window.flag()) {
        const int32_t change = take_step_change(&window);
        if (change == 0) error = BlockError::kBits;
        in.code_.step += change;
        changed = window.flag();
      }
      uint64_t delta = 0;
      if (changed && !take_delta(&window, &delta)) error = BlockError::kBits;
      in.code_.last_bits += delta;
      if (error == BlockError::kNone && window.end() <= in.bit_end_ && !emit()) error = BlockError::kTimes;
    }
    in.bit_ = window.end();
    if (in.bit_ > in.bit_end_) error = BlockError::kBits;
  }
  in.taken_ += static_cast<uint32_t>(made);
  if (error != BlockError::kNone) in.refuse(error, in.bit_ >> 3);
  return made;
}

const BlockCoding lam_codec_runs64 = {Codec::kRuns64,
                                      1u << static_cast<unsigned>(ValueType::kI64) |
                                          1u << static_cast<unsigned>(ValueType::kDec) |
                                          1u << static_cast<unsigned>(ValueType::kState),
                                      start, encode, CodecReader::runs64};

}  // namespace lambda
