// Reads columns that may have been made by anybody. Inlined into its callers, see bit_rows.h.
#pragma once

#include "codes.h"
#include "column.h"
#include "short_varint.h"

namespace lambda::packed {

// Bytes being read. After a failure `good` is false and what was read means nothing.
struct Input {
  const uint8_t* at = nullptr;
  const uint8_t* end = nullptr;
  bool good = true;

  size_t left() const { return static_cast<size_t>(end - at); }
  uint8_t u8() {
    if (at == end) {
      good = false;
      return 0;
    }
    return *at++;
  }
  LAMBDA_INLINE uint64_t varint() {
    uint64_t value = 0;
    const unsigned bytes = left() < 8 ? 0 : read_short_varint(load_u64le(at), &value);
    if (bytes == 0) return varint_by_bytes();
    at += bytes;
    return value;
  }
  LAMBDA_INLINE uint64_t integer() { return unzigzag(varint()); }
  const uint8_t* take(size_t bytes) {
    if (left() < bytes) {
      good = false;
      return at;
    }
    at += bytes;
    return at - bytes;
  }

 private:
  uint64_t varint_by_bytes() {
    uint64_t value = 0;
    for (unsigned shift = 0; at != end && shift < 70; shift += 7) {
      const uint8_t byte = *at++;
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) != 0) continue;
      if (byte == 0 && shift > 0) break;  // not the shortest form
      return value;
    }
    good = false;
    return 0;
  }
};

// Where the integers of a piece lie. What is packed lies within the payload; what it says was not looked at.
struct Piece {
  uint64_t base;
  uint64_t delta;        // kDelta: what is added to each difference
  const uint8_t* bits;   // the packed integers; of runs their lengths
  const uint8_t* extra;  // the patches' places and behind them their bits; of runs their values
  uint8_t width;         // kRunsWidth: runs
  uint8_t count;         // of patches or runs
  uint8_t extra_width;   // of a patch above the width, of a run's value
  uint8_t length_width;  // of a run's length
};

// A column whose pieces' heads were read once: what stands behind it can be found without looking at them again, and
// any piece can be read.
struct ColumnReader {
  ColumnForm form = ColumnForm::kEven;
  uint64_t base = 0;  // kEven: the first integer
  uint64_t slope = 0;
  const uint8_t* end = nullptr;  // of what may be read
  const UnpackRows* rows = nullptr;
  Piece pieces[kMinisMax];

  // Reads the heads of a column of `count` integers, and passes over it.
  void open(Input* in, size_t count) {
    rows = unpack_rows_here();
    end = in->end;
    const uint8_t kind = in->u8();
    if (kind > static_cast<uint8_t>(ColumnForm::kSlope)) in->good = false;
    form = static_cast<ColumnForm>(kind);
    if (form == ColumnForm::kEven) base = in->integer();
    if (form == ColumnForm::kEven || form == ColumnForm::kSlope) slope = in->integer();
    if (form == ColumnForm::kEven) return;
    uint64_t last = 0, last_delta = 0;
    for (Piece* piece = pieces; count > 0 && in->good; ++piece) {
      const size_t n = count < kMini ? count : kMini;
      piece->base = last;
      piece->delta = last_delta;
      read_head(in, n, piece);
      last = piece->base;
      last_delta = piece->delta;
      count -= n;
    }
  }

  // The integers of a piece: 128, or the rest. `out` has room for 128. False: the piece breaks a rule.
  LAMBDA_INLINE bool read(size_t at, size_t count, uint64_t* out) const {
    if (form == ColumnForm::kEven) {
      fill_even(base + at * kMini * slope, slope, count, out);
      return true;
    }
    const Piece& piece = pieces[at];
    if (piece.width == kRunsWidth) return runs(piece, count, out);
    unpack(rows, piece.bits, static_cast<size_t>(end - piece.bits), count, piece.width,
           form == ColumnForm::kDelta ? piece.delta : piece.base, out);
    if (piece.count > 0 && !patch(piece, count, out)) return false;
    if (form == ColumnForm::kDelta) {
      out[0] = piece.base;
      if (count == kMini) {
        add_up(out);
      } else {
        for (size_t i = 1; i < count; ++i) out[i] += out[i - 1];
      }
    } else if (form == ColumnForm::kSlope) {
      add_slope(count, slope, out);
    }
    return true;
  }

  // Whether each integer of a piece is known to be greater than the one before it, and less than 2^33 greater, by the
  // piece's head alone. They may wrap at 2^64.
  bool rises(size_t at) const {
    constexpr unsigned kLongest = 32;
    if (form != ColumnForm::kDelta && form != ColumnForm::kSlope) return false;
    const Piece& piece = pieces[at];
    const unsigned longest = piece.width + (piece.count > 0 ? piece.extra_width : 0u);  // of runs: too long
    const uint64_t step = form == ColumnForm::kDelta ? piece.delta : slope >> kSlopeShift;
    const uint64_t least = form == ColumnForm::kDelta ? 1 : uint64_t{1} << (longest % 64);
    return longest <= kLongest && step >= least && step >> kLongest == 0;
  }

 private:
  // `piece` has the base and the delta of the one before.
  LAMBDA_INLINE void read_head(Input* in, size_t count, Piece* piece) const {
    const uint8_t head = in->u8();
    piece->base += in->integer();
    if (head == kRunsWidth) {
      piece->width = head;
      piece->count = in->u8();
      piece->length_width = in->u8();
      piece->extra_width = in->u8();
      in->good &= piece->count != 0 && piece->count <= count && piece->length_width <= 7 && piece->extra_width <= 64;
      if (!in->good) return;
      piece->bits = in->take((size_t{piece->count} * piece->length_width + 7) / 8);
      piece->extra = in->take((size_t{piece->count} * piece->extra_width + 7) / 8);
      return;
    }
    piece->width = head & 0x7F;
    piece->count = 0;
    in->good &= piece->width <= 64;
    if (form == ColumnForm::kDelta) piece->delta += in->integer();
    if ((head & kPatchedFlag) != 0) {
      piece->count = in->u8();
      piece->extra_width = in->u8();
      in->good &= piece->count != 0 && piece->count <= count && piece->extra_width != 0 &&
                  piece->width + piece->extra_width <= 64;
      if (!in->good) return;
      piece->extra = in->take(piece->count + (size_t{piece->count} * piece->extra_width + 7) / 8);
    }
    if (in->good) piece->bits = in->take(packed_bytes(count, piece->width));
  }

  LAMBDA_INLINE static void fill_even(uint64_t first, uint64_t step, size_t count, uint64_t* out) {
    for (size_t i = 0; i < count; ++i) out[i] = first + i * step;
  }

  // i * step >> kSlopeShift to each, as signed integers: what is shifted is made positive, as processors with vectors
  // of 32 bytes shift 64 bits with their sign only in parts.
  LAMBDA_INLINE static void add_slope(size_t count, uint64_t step, uint64_t* out) {
    constexpr uint64_t kSign = uint64_t{1} << 63;
    Four product = {kSign, kSign + step, kSign + 2 * step, kSign + 3 * step};
    size_t i = 0;
    for (; i + 4 <= count; i += 4, product += 4 * step) {
      Four four;
      load_four(out + i, &four);
      store_four(four + ((product >> kSlopeShift) - (kSign >> kSlopeShift)), out + i);
    }
    for (; i < count; ++i) out[i] += static_cast<uint64_t>(static_cast<int64_t>(i * step) >> kSlopeShift);
  }

  // Each becomes the sum of all up to it: four at a time, of which only the sum of the four waits for those before.
  LAMBDA_INLINE static void add_up(uint64_t* out) {
    const Four none{};
    Four before{};
    for (size_t i = 0; i < kMini; i += 4) {
      Four four;
      load_four(out + i, &four);
      four += __builtin_shufflevector(none, four, 0, 4, 2, 6);  // within either half, then from the lower to the upper
      four += __builtin_shufflevector(four, none, 4, 5, 1, 1);
      store_four(four + before, out + i);
      before += __builtin_shufflevector(four, four, 3, 3, 3, 3);
    }
  }

  // Puts what is above the width where the patches say: places that rise. False: a place is none of the piece's, or not
  // above the one before it.
  LAMBDA_INLINE bool patch(const Piece& piece, size_t among, uint64_t* out) const {
    const size_t count = piece.count;
    const unsigned extra = piece.extra_width;
    const unsigned width = piece.width;
    const uint8_t* const positions = piece.extra;
    const uint8_t* const bits = positions + count;
    const auto readable = static_cast<size_t>(end - bits);
    size_t least = 0;
    const auto put = [&](size_t i, uint64_t above) {
      const size_t position = positions[i];
      if (position < least || position >= among) return false;
      least = position + 1;
      out[position] += above << width;
      return true;
    };
    if (extra <= 57 && (count - 1) * extra / 8 + 8 <= readable) {
      const uint64_t mask = low_bits(extra);
      for (size_t i = 0, bit = 0; i < count; ++i, bit += extra) {
        if (!put(i, load_u64le(bits + bit / 8) >> (bit % 8) & mask)) return false;
      }
      return true;
    }
    uint64_t above[kMini];
    unpack_line(bits, readable, count, extra, above);
    for (size_t i = 0; i < count; ++i) {
      if (!put(i, above[i])) return false;
    }
    return true;
  }

  // Not inlined: rare, and large.
  [[gnu::noinline]] bool runs(const Piece& piece, size_t count, uint64_t* out) const {
    uint64_t lengths[kMini];
    uint64_t values[kMini];
    unpack_line(piece.bits, static_cast<size_t>(end - piece.bits), piece.count, piece.length_width, lengths);
    unpack_line(piece.extra, static_cast<size_t>(end - piece.extra), piece.count, piece.extra_width, values);
    size_t at = 0;
    for (size_t r = 0; r < piece.count; ++r) {
      const size_t length = static_cast<size_t>(lengths[r]) + 1;
      if (length > count - at) return false;
      const uint64_t value = piece.base + values[r];
      const size_t stop = at + length;
      if (stop <= kMini - 4) {  // in fours, behind the run too: most are short, and the next one writes there again
        const Four four = {value, value, value, value};
        for (; at < stop; at += 4) store_four(four, out + at);
        at = stop;
      }
      for (; at < stop; ++at) out[at] = value;
    }
    return at == count;
  }
};

}  // namespace lambda::packed
