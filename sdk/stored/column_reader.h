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

  void open(Input* in) {
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
    const uint8_t* positions = nullptr;
    size_t patches = 0;
    uint64_t above[kMini];
    if ((head & kPatchedFlag) != 0) patches = read_patches(in, count, width, &positions, above);
    if (!in->good) return;
    const size_t bytes = packed_bytes(count, width);
    const size_t readable = in->left();
    const uint8_t* const packed = in->take(bytes);
    if (!in->good) return;
    unpack(packed, readable, count, width, out);
    for (size_t i = 0; i < patches; ++i) out[positions[i]] |= above[i] << width;
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
  LAMBDA_INLINE void finish(size_t count, uint64_t* out) const {
    const uint64_t first = base;
    if (form == ColumnForm::kDelta) {
      const uint64_t more = delta;
      uint64_t sum = first;
      out[0] = sum;
      for (size_t i = 1; i < count; ++i) out[i] = sum += out[i] + more;
    } else if (form == ColumnForm::kSlope) {
      const uint64_t step = slope;
      for (size_t i = 0; i < count; ++i) {
        out[i] += first + static_cast<uint64_t>(static_cast<int64_t>(i * step) >> kSlopeShift);
      }
    } else if (count == kMini) {
      for (size_t i = 0; i < kMini; ++i) out[i] += first;
    } else {
      for (size_t i = 0; i < count; ++i) out[i] += first;
    }
  }

  static size_t read_patches(Input* in, size_t count, unsigned width, const uint8_t** positions, uint64_t* above) {
    const size_t patches = in->u8();
    const unsigned extra = in->u8();
    if (patches == 0 || patches > count || extra == 0 || width + extra > 64) in->good = false;
    if (!in->good) return 0;
    *positions = in->take(patches);
    if (!in->good) return 0;
    for (size_t i = 0; i < patches; ++i) {
      if ((*positions)[i] >= count || (i > 0 && (*positions)[i] <= (*positions)[i - 1])) in->good = false;
    }
    const size_t readable = in->left();
    const uint8_t* const bits = in->take((patches * extra + 7) / 8);
    if (!in->good) return 0;
    unpack_line(bits, readable, patches, extra, above);
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
