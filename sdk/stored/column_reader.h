// Reads columns that may have been made by anybody. Inlined into its callers, see bit_rows.h.
#pragma once

#include "codes.h"
#include "column.h"

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
  uint64_t varint() {
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
  uint64_t integer() { return unzigzag(varint()); }
  const uint8_t* take(size_t bytes) {
    if (left() < bytes) {
      good = false;
      return at;
    }
    at += bytes;
    return at - bytes;
  }
};

struct ColumnReader {
  ColumnForm form = ColumnForm::kEven;
  uint64_t base = 0;  // kEven: the next integer
  uint64_t slope = 0;
  uint64_t delta = 0;
  const UnpackRows* rows = nullptr;

  void open(Input* in) {
    rows = unpack_rows_here();
    const uint8_t kind = in->u8();
    if (kind > static_cast<uint8_t>(ColumnForm::kSlope)) in->good = false;
    form = static_cast<ColumnForm>(kind);
    if (form == ColumnForm::kEven) base = in->integer();
    if (form == ColumnForm::kEven || form == ColumnForm::kSlope) slope = in->integer();
  }

  // The next `count` integers: 128, or the rest. `out` has room for 128.
  LAMBDA_INLINE void next(Input* in, size_t count, uint64_t* out) {
    if (form == ColumnForm::kEven) {
      const uint64_t first = base;  // copies: `out` might be where these members are, for all the compiler knows
      const uint64_t step = slope;
      for (size_t i = 0; i < count; ++i) out[i] = first + i * step;
      base = first + count * step;
      return;
    }
    const uint8_t head = in->u8();
    base += in->integer();
    if (head == kRunsWidth) return runs(in, count, out);
    const unsigned width = head & 0x7F;
    if (width > 64) in->good = false;
    if (form == ColumnForm::kDelta) delta += in->integer();
    Patches patches;
    if ((head & kPatchedFlag) != 0) patches = read_patches(in, count, width);
    if (!in->good) return;
    const size_t bytes = packed_bytes(count, width);
    const size_t readable = in->left();
    const uint8_t* const packed = in->take(bytes);
    if (!in->good) return;
    unpack(rows, packed, readable, count, width, form == ColumnForm::kDelta ? delta : base, out);
    if (patches.count > 0 && !patches.apply(count, width, out)) in->good = false;
    finish(count, out);
  }

  // Passes over the next `count` integers.
  void skip(Input* in, size_t count) {
    if (form == ColumnForm::kEven) {
      base += count * slope;
      return;
    }
    const uint8_t head = in->u8();
    base += in->integer();
    if (head == kRunsWidth) {
      const size_t runs = in->u8();
      const unsigned length_width = in->u8();
      const unsigned value_width = in->u8();
      if (length_width > 7 || value_width > 64) in->good = false;
      if (in->good) in->take((runs * length_width + 7) / 8);
      if (in->good) in->take((runs * value_width + 7) / 8);
      return;
    }
    const unsigned width = head & 0x7F;
    if (width > 64) in->good = false;
    if (form == ColumnForm::kDelta) delta += in->integer();
    if ((head & kPatchedFlag) != 0) {
      const size_t patches = in->u8();
      const unsigned extra = in->u8();
      if (extra > 64) in->good = false;
      if (in->good) in->take(patches + (patches * extra + 7) / 8);
    }
    if (in->good) in->take(packed_bytes(count, width));
  }

 private:
  // `out` has the integers as they are packed, more by the base or, for kDelta, by the delta.
  LAMBDA_INLINE void finish(size_t count, uint64_t* out) const {
    if (form == ColumnForm::kDelta) {
      out[0] = base;
      if (count == kMini) return add_up(out);
      for (size_t i = 1; i < count; ++i) out[i] += out[i - 1];
    } else if (form == ColumnForm::kSlope) {
      add_slope(count, slope, out);
    }
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
      four += __builtin_shufflevector(four, none, 4, 0, 1, 2);
      four += __builtin_shufflevector(four, none, 4, 5, 0, 1);
      store_four(four + before, out + i);
      before += __builtin_shufflevector(four, four, 3, 3, 3, 3);
    }
  }

  // Places that rise, and as many integers of `extra` bits: what is above the width there.
  struct Patches {
    const uint8_t* positions = nullptr;
    const uint8_t* bits = nullptr;
    size_t count = 0;
    size_t readable = 0;  // bytes from `bits`
    unsigned extra = 0;

    // False: a place is none of `among`, or not above the one before it.
    bool apply(size_t among, unsigned width, uint64_t* out) const {
      size_t least = 0;
      const auto put = [&](size_t i, uint64_t above) {
        const size_t position = positions[i];
        if (position < least || position >= among) return false;
        least = position + 1;
        out[position] += above << width;
        return true;
      };
      const bool whole_loads = extra <= 57 && (count - 1) * extra / 8 + 8 <= readable;
      if (whole_loads) {
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
  };

  static Patches read_patches(Input* in, size_t count, unsigned width) {
    Patches patches;
    patches.count = in->u8();
    patches.extra = in->u8();
    if (patches.count == 0 || patches.count > count || patches.extra == 0 || width + patches.extra > 64) {
      in->good = false;
      return {};
    }
    patches.positions = in->take(patches.count);
    patches.readable = in->left();
    patches.bits = in->take((patches.count * patches.extra + 7) / 8);
    return patches;
  }

  void runs(Input* in, size_t count, uint64_t* out) {
    const size_t run_count = in->u8();
    const unsigned length_width = in->u8();
    const unsigned value_width = in->u8();
    if (run_count == 0 || run_count > count || length_width > 7 || value_width > 64) in->good = false;
    if (!in->good) return;
    uint64_t lengths[kMini];
    uint64_t values[kMini];
    size_t readable = in->left();
    const uint8_t* bits = in->take((run_count * length_width + 7) / 8);
    if (!in->good) return;
    unpack_line(bits, readable, run_count, length_width, lengths);
    readable = in->left();
    bits = in->take((run_count * value_width + 7) / 8);
    if (!in->good) return;
    unpack_line(bits, readable, run_count, value_width, values);
    size_t at = 0;
    for (size_t r = 0; r < run_count; ++r) {
      const size_t length = static_cast<size_t>(lengths[r]) + 1;
      if (length > count - at) {
        in->good = false;
        return;
      }
      for (const size_t stop = at + length; at < stop; ++at) out[at] = base + values[r];
    }
    if (at != count) in->good = false;
  }
};

}  // namespace lambda::packed
