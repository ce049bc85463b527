// Planning is compiled twice from the same text, for any processor and for x86 with AVX2, and plans the same: pieces
// are padded to 128 integers, so that the loops over them have a length that compilers turn into vectors.
#include "column.h"

#include "codes.h"

namespace lambda::packed {
namespace {

typedef int64_t SignedFour __attribute__((vector_size(32)));
constexpr size_t kApart = 4;  // vectors that a loop takes at once, as its own counting costs as much as one does
#ifdef __clang__
#define LAMBDA_UNROLLED _Pragma("clang loop unroll(full)")
#else
#define LAMBDA_UNROLLED _Pragma("GCC unroll 8")
#endif

// Neighbours in a piece are 127 pairs; so many make whole vectors.
constexpr size_t kPairs = kMini - 4;

struct Fit {
  uint32_t bytes = 0;  // patches, their head and the packed integers
  uint8_t width = 0;
  uint8_t patches = 0;
  uint8_t extra = 0;
};

typedef int8_t Bytes __attribute__((vector_size(32)));
typedef double Doubles __attribute__((vector_size(32)));
constexpr size_t kBytesFours = 8;  // whose lengths make one of Bytes

// How long four integers are, in bits: the exponent of each and a half, as a float that is not rounded up to the next
// power of two. Integers of at most 52 bits are a float's own when its exponent is put above them.
template <bool kAnyLength>
LAMBDA_INLINE void lengths_of(Four* four) {
  constexpr uint64_t kTwo52 = 0x4330000000000000, kTwo84 = 0x4530000000000000;  // as the bits of floats
  constexpr double kLess = 4503599627370495.5;                                  // 2^52 - 1/2
  constexpr double kTwo84Number = 19342813113834066795298816.0;
  Doubles number;
  if constexpr (kAnyLength) {
    const Four top = *four & ~(*four >> 1);  // as long, and the bit below the highest one is 0: it cannot be rounded up
    number = reinterpret_cast<Doubles>(top >> 32 | kTwo84) - kTwo84Number;
    number += reinterpret_cast<Doubles>((top & 0xFFFFFFFF) | kTwo52) - kLess;
  } else {
    number = reinterpret_cast<Doubles>(*four | kTwo52) - kLess;
  }
  *four = (reinterpret_cast<Four>(number) >> 52) - 1022;
}

// Those of 128 integers, in any order. `load` gives four of them from a place on.
template <bool kAnyLength, class Load>
LAMBDA_INLINE void find_lengths(const Load& load, Bytes* lengths) {
  for (size_t b = 0; b < kMini / sizeof(Bytes); ++b) {
    Four all{};
    LAMBDA_UNROLLED for (size_t k = 0; k < kBytesFours; ++k) {
      Four four;
      load(4 * (b * kBytesFours + k), &four);
      lengths_of<kAnyLength>(&four);
      all |= four << static_cast<int>(8 * k);
    }
    lengths[b] = reinterpret_cast<Bytes>(all);
  }
}

LAMBDA_INLINE size_t count_longer(const Bytes* lengths, unsigned width) {
  Bytes longer{};  // how many, as negative numbers
  for (size_t b = 0; b < kMini / sizeof(Bytes); ++b) longer += lengths[b] > static_cast<int8_t>(width);
  const auto sums = reinterpret_cast<Four>(-longer);
  return static_cast<size_t>((sums[0] + sums[1] + sums[2] + sums[3]) * 0x0101010101010101 >> 56);
}

// The cheapest width for the first `count` of 128 integers, the others being 0; what is longer is patched. `load` gives
// four of them from a place on, `all` is their or, or as long. Goes down until too many are longer.
template <class Load>
LAMBDA_INLINE Fit cheapest_width(const Load& load, uint64_t all, size_t count) {
  const unsigned longest = bits_of(all);
  Bytes lengths[kMini / sizeof(Bytes)];
  if (longest <= 52) {
    find_lengths<false>(load, lengths);
  } else {
    find_lengths<true>(load, lengths);
  }
  Fit best{static_cast<uint32_t>(packed_bytes(count, longest)), static_cast<uint8_t>(longest), 0, 0};
  for (unsigned width = longest; width-- > 0;) {
    const size_t patches = count_longer(lengths, width);
    if (patches > count / 4) break;
    const unsigned extra = longest - width;
    const auto bytes = static_cast<uint32_t>(packed_bytes(count, width) + 2 + patches + (patches * extra + 7) / 8);
    if (bytes < best.bytes) {
      best = {bytes, static_cast<uint8_t>(width), static_cast<uint8_t>(patches), static_cast<uint8_t>(extra)};
    }
  }
  return best;
}

struct Range {
  uint64_t low;
  uint64_t high;
};

// Of 128 integers, as signed ones. Least and greatest of every fourth one are kept apart in four places, as each
// comparison waits for the one before it.
LAMBDA_INLINE Range range_of(const uint64_t* values) {
  SignedFour low[kApart], high[kApart];
  LAMBDA_UNROLLED for (size_t k = 0; k < kApart; ++k) {
    __builtin_memcpy(&low[k], values + 4 * k, sizeof low[k]);
    high[k] = low[k];
  }
  for (size_t i = 4 * kApart; i < kMini; i += 4 * kApart) {
    LAMBDA_UNROLLED for (size_t k = 0; k < kApart; ++k) {
      SignedFour four;
      __builtin_memcpy(&four, values + i + 4 * k, sizeof four);
      low[k] = four < low[k] ? four : low[k];
      high[k] = four > high[k] ? four : high[k];
    }
  }
  LAMBDA_UNROLLED for (size_t k = 1; k < kApart; ++k) {
    low[0] = low[k] < low[0] ? low[k] : low[0];
    high[0] = high[k] > high[0] ? high[k] : high[0];
  }
  int64_t least = low[0][0], greatest = high[0][0];
  for (size_t i = 1; i < 4; ++i) {
    least = low[0][i] < least ? low[0][i] : least;
    greatest = high[0][i] > greatest ? high[0][i] : greatest;
  }
  return {static_cast<uint64_t>(least), static_cast<uint64_t>(greatest)};
}

// Where most of the integers are: the range of eight of them without the least and the greatest.
Range usual_range(const uint64_t* values, size_t count) {
  int64_t low[2] = {INT64_MAX, INT64_MAX};
  int64_t high[2] = {INT64_MIN, INT64_MIN};
  for (size_t i = 0; i < 8; ++i) {
    const auto value = static_cast<int64_t>(values[(i * count + count / 2) / 8]);
    const int64_t less = value < low[0] ? value : low[0];
    const int64_t second = value < low[0] ? low[0] : value;
    low[0] = less;
    low[1] = second < low[1] ? second : low[1];
    const int64_t more = value > high[0] ? value : high[0];
    const int64_t next = value > high[0] ? high[0] : value;
    high[0] = more;
    high[1] = next > high[1] ? next : high[1];
  }
  return {static_cast<uint64_t>(low[1]), static_cast<uint64_t>(high[1])};
}

// Base and width for integers that are written as they are; 128 of them, those behind `count` like any of the others.
// Two bases are tried: the least, and if a few are far below most, one that puts the middle of the range where those
// are, so that outliers on either side can be patched.
LAMBDA_INLINE Fit fit_integers(const uint64_t* values, size_t count, uint64_t* base) {
  const Range range = range_of(values);
  const uint64_t low = range.low;
  *base = low;
  const unsigned longest = bits_of(range.high - low);
  if (longest <= 1) return {static_cast<uint32_t>(packed_bytes(count, longest)), static_cast<uint8_t>(longest), 0, 0};
  alignas(32) uint64_t work[kMini];
  if (count < kMini) {
    for (size_t i = 0; i < kMini; ++i) work[i] = i < count ? values[i] : low;
  }
  const uint64_t* const from = count < kMini ? work : values;
  Fit best = cheapest_width(
      [&](size_t i, Four* four) {
        load_four(from + i, four);
        *four -= low;
      },
      range.high - low, count);
  if (best.width <= 2) return best;
  const Range usual = usual_range(values, count);
  if (bits_of(usual.high - usual.low) + 2 > best.width) return best;
  const uint64_t middle = usual.low + (usual.high - usual.low) / 2;
  uint64_t farthest = 0;
  for (size_t i = 0; i < kMini; ++i) {
    const uint64_t from_middle = values[i] - middle;
    work[i] = from_middle << 1 ^ (0 - (from_middle >> 63));
    farthest |= work[i];
  }
  for (size_t i = count; i < kMini; ++i) work[i] = 0;
  const Fit centred = cheapest_width([&](size_t i, Four* four) { load_four(work + i, four); }, farthest, count);
  if (centred.patches == 0 || centred.width == 0) return best;  // the least does as well
  const uint64_t other = middle - (uint64_t{1} << (centred.width - 1));
  uint64_t above = 0;
  for (size_t i = 0; i < kMini; ++i) above |= values[i] - other;
  const unsigned extra = bits_of(above) - centred.width;
  const auto bytes = static_cast<uint32_t>(packed_bytes(count, centred.width) + 2 + centred.patches +
                                           (centred.patches * extra + 7) / 8);
  if (bytes >= best.bytes) return best;
  *base = other;
  return {bytes, centred.width, centred.patches, static_cast<uint8_t>(extra)};
}

// Runs of equal values; false when there are too many for them to pay.
LAMBDA_INLINE bool plan_runs(const uint64_t* values, size_t count, MiniPlan* plan) {
  uint64_t same = 0;  // how many are like the one before them, as a negative number
  for (size_t i = 0; i < kPairs; ++i) same += values[i + 1] == values[i] ? ~uint64_t{0} : 0;
  for (size_t i = kPairs; i + 1 < kMini; ++i) same += values[i + 1] == values[i] ? ~uint64_t{0} : 0;
  // Behind the last one all are like it.
  const size_t runs = kMini + static_cast<size_t>(same);
  if (runs > count / 3) return false;
  size_t longest = 0;
  size_t length = 0;
  for (size_t i = 0; i < count; ++i) {
    length = i > 0 && values[i] == values[i - 1] ? length + 1 : 1;
    longest = length > longest ? length : longest;
  }
  const Range range = range_of(values);
  plan->base = range.low;
  plan->width = kRunsWidth;
  plan->runs = static_cast<uint8_t>(runs);
  plan->run_length_width = static_cast<uint8_t>(bits_of(longest - 1));
  plan->run_value_width = static_cast<uint8_t>(bits_of(range.high - range.low));
  plan->bytes = static_cast<uint32_t>(1 + varint_length(zigzag(plan->base)) + 3 +
                                      (runs * plan->run_length_width + 7) / 8 + (runs * plan->run_value_width + 7) / 8);
  return true;
}

// What is added to each difference, or to each value, is taken off.
template <size_t kCount>
LAMBDA_INLINE void take_off(ColumnForm form, const MiniPlan& mini, const uint64_t* __restrict values, size_t count,
                            uint64_t slope, uint64_t* __restrict out) {
  if (form == ColumnForm::kPlain) {
    for (size_t i = 0; i < (kCount != 0 ? kCount : count); ++i) out[i] = values[i] - mini.base;
  } else if (form == ColumnForm::kSlope) {
    for (size_t i = 0; i < (kCount != 0 ? kCount : count); ++i) {
      out[i] = values[i] - static_cast<uint64_t>(static_cast<int64_t>(i * slope) >> kSlopeShift) - mini.base;
    }
  } else {
    if constexpr (kCount != 0) {
      for (size_t i = 0; i < kPairs; ++i) out[i + 1] = values[i + 1] - values[i] - mini.delta;
    }
    for (size_t i = kCount != 0 ? kPairs : 0; i + 1 < count; ++i) out[i + 1] = values[i + 1] - values[i] - mini.delta;
    out[0] = count > 1 ? out[1] : 0;  // as it was planned
  }
}

// What is left of values[i] when the slope is taken off.
LAMBDA_INLINE void flatten(const uint64_t* values, size_t count, uint64_t slope, uint64_t* out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = values[i] - static_cast<uint64_t>(static_cast<int64_t>(i * slope) >> kSlopeShift);
  }
}

// A piece in one of the forms: how its integers, or what is left of them, are packed.
struct Fitted {
  Fit fit;
  uint64_t base = 0;
};

// `values` are 128, those behind `count` like the last one.
LAMBDA_INLINE Fitted fit_piece(ColumnForm form, const uint64_t* values, size_t count, uint64_t slope) {
  alignas(32) uint64_t work[kMini];
  const uint64_t* from = values;
  if (form == ColumnForm::kDelta) {
    for (size_t i = 0; i < kPairs; ++i) work[i + 1] = values[i + 1] - values[i];
    for (size_t i = kPairs; i + 1 < kMini; ++i) work[i + 1] = values[i + 1] - values[i];
    work[0] = count > 1 ? work[1] : 0;  // means nothing, so it shall not widen the rest
    for (size_t i = count; i < kMini; ++i) work[i] = work[0];
    from = work;
  } else if (form == ColumnForm::kSlope) {
    flatten(values, kMini, slope, work);
    for (size_t i = count; i < kMini; ++i) work[i] = work[0];
    from = work;
  }
  Fitted fitted;
  fitted.fit = fit_integers(from, count, &fitted.base);
  return fitted;
}

void plan_mini(ColumnForm form, const Fitted& fitted, uint64_t first, const MiniPlan& last, const MiniPlan* runs,
               MiniPlan* plan) {
  MiniPlan made;
  size_t head = 1;
  if (form == ColumnForm::kDelta) {
    made.delta = fitted.base;
    made.base = first;
    head += varint_length(zigzag(made.delta - last.delta));
  } else {
    made.base = fitted.base;
  }
  head += varint_length(zigzag(made.base - last.base));
  made.width = fitted.fit.width;
  made.patches = fitted.fit.patches;
  made.extra = fitted.fit.extra;
  made.bytes = static_cast<uint32_t>(head) + fitted.fit.bytes;
  if (runs != nullptr) {
    const auto bytes = static_cast<uint32_t>(runs->bytes - varint_length(zigzag(runs->base)) +
                                             varint_length(zigzag(runs->base - last.base)));
    if (bytes < made.bytes) {
      made = *runs;
      made.bytes = bytes;
      made.delta = last.delta;
    }
  }
  *plan = made;
}

LAMBDA_INLINE bool is_even(const uint64_t* values, size_t count, uint64_t* out) {
  constexpr size_t kAtOnce = 64;
  const uint64_t step = count > 1 ? values[1] - values[0] : 0;
  *out = step;
  size_t i = 1;
  for (; i + kAtOnce <= count; i += kAtOnce) {
    uint64_t differs = 0;
    for (size_t k = 0; k < kAtOnce; ++k) differs |= (values[i + k] - values[i + k - 1]) ^ step;
    if (differs != 0) return false;
  }
  for (; i < count; ++i) {
    if (values[i] - values[i - 1] != step) return false;
  }
  return true;
}

LAMBDA_INLINE void plan_uneven(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope) {
  const size_t minis = (count + kMini - 1) / kMini;
  alignas(32) uint64_t rest[kMini];  // the last piece, padded
  const uint64_t* pieces[kMinisMax];
  MiniPlan runs[kMinisMax];
  bool has_runs[kMinisMax];
  for (size_t m = 0; m < minis; ++m) {
    const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
    pieces[m] = values + m * kMini;
    if (n < kMini) {
      for (size_t i = 0; i < kMini; ++i) rest[i] = pieces[m][i < n ? i : n - 1];
      pieces[m] = rest;
    }
    has_runs[m] = plan_runs(pieces[m], n, &runs[m]);
  }
  // What a point adds on average, in 1/256; the difference may wrap, then slope is only a bad one.
  const auto rise = static_cast<int64_t>((values[count - 1] - values[0]) << kSlopeShift);
  const auto slope = static_cast<uint64_t>(rise / static_cast<int64_t>(count - 1));
  // Of many pieces two decide which kind of column it is, the others are planned for that kind only.
  constexpr size_t kFew = 3;
  const size_t tried_first = minis <= kFew ? 0 : minis / 4;
  const size_t tried_apart = minis <= kFew ? 1 : minis / 2;
  Fitted tried[static_cast<size_t>(ColumnForm::kSlope) + 1][kFew];
  size_t best = SIZE_MAX;
  for (const ColumnForm form : {ColumnForm::kPlain, ColumnForm::kDelta, ColumnForm::kSlope}) {
    if (form == ColumnForm::kSlope && !try_slope) continue;
    size_t bytes = form == ColumnForm::kSlope ? varint_length(zigzag(slope)) : 0;
    MiniPlan mini;
    Fitted* fitted = tried[static_cast<size_t>(form)];
    for (size_t m = tried_first; m < minis; m += tried_apart, ++fitted) {
      const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
      *fitted = fit_piece(form, pieces[m], n, slope);
      plan_mini(form, *fitted, pieces[m][0], mini, has_runs[m] ? &runs[m] : nullptr, &mini);
      bytes += mini.bytes;
    }
    if (bytes >= best) continue;
    best = bytes;
    plan->form = form;
  }
  plan->slope = plan->form == ColumnForm::kSlope ? slope : 0;
  plan->bytes = 1 + (plan->form == ColumnForm::kSlope ? varint_length(zigzag(slope)) : 0);
  MiniPlan last;
  const Fitted* again = tried[static_cast<size_t>(plan->form)];
  for (size_t m = 0, next_tried = tried_first; m < minis; ++m) {
    const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
    const bool was_tried = m == next_tried;
    const Fitted fitted = was_tried ? *again++ : fit_piece(plan->form, pieces[m], n, slope);
    next_tried += was_tried ? tried_apart : 0;
    plan_mini(plan->form, fitted, pieces[m][0], last, has_runs[m] ? &runs[m] : nullptr, &plan->minis[m]);
    last = plan->minis[m];
    plan->bytes += last.bytes;
  }
}

LAMBDA_INLINE void plan_any(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope) {
  uint64_t step = 0;
  if (!is_even(values, count, &step)) return plan_uneven(values, count, plan, try_slope);
  plan_even_column(values[0], step, plan);
}

void plan_anywhere(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope) {
  plan_any(values, count, plan, try_slope);
}

#ifdef LAMBDA_AVX2
LAMBDA_AVX2 void plan_avx2(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope) {
  plan_any(values, count, plan, try_slope);
}
#endif

uint8_t* write_runs(const MiniPlan& plan, const uint64_t* values, size_t count, uint8_t* out) {
  uint64_t lengths[kMini];
  uint64_t heads[kMini];
  size_t runs = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0 && values[i] == values[i - 1]) {
      ++lengths[runs - 1];
    } else {
      lengths[runs] = 0;
      heads[runs++] = values[i] - plan.base;
    }
  }
  *out++ = static_cast<uint8_t>(runs);
  *out++ = plan.run_length_width;
  *out++ = plan.run_value_width;
  pack_line(lengths, runs, plan.run_length_width, out);
  out += (runs * plan.run_length_width + 7) / 8;
  pack_line(heads, runs, plan.run_value_width, out);
  return out + (runs * plan.run_value_width + 7) / 8;
}

// Cuts what is above `width` bits, fewer than 64, off 64 integers. Returns which ones were longer, a bit each.
LAMBDA_INLINE uint64_t cut_off(unsigned width, uint64_t* integers, uint64_t* above) {
  const uint64_t within = low_bits(width);
  Four longer{};
  Four bit = {1, 2, 4, 8};
  for (size_t i = 0; i < 64; i += 4, bit <<= 4) {
    Four four;
    load_four(integers + i, &four);
    const Four rest = four >> static_cast<int>(width);
    store_four(rest, above + i);
    store_four(four & within, integers + i);
    longer |= bit & reinterpret_cast<Four>(rest != 0);
  }
  return longer[0] | longer[1] | longer[2] | longer[3];
}

// Cuts what stands above the width off 128 integers and writes it.
LAMBDA_INLINE uint8_t* write_patches(const MiniPlan& plan, uint64_t* work, uint8_t* out) {
  alignas(32) uint64_t above[kMini];
  uint64_t longer[2];
  for (size_t half = 0; half < 2; ++half) longer[half] = cut_off(plan.width, work + 64 * half, above + 64 * half);
  *out++ = plan.patches;
  *out++ = plan.extra;
  size_t patches = 0;
  for (size_t half = 0; half < 2; ++half) {
    for (uint64_t left = longer[half]; left != 0; left &= left - 1) {
      const size_t at = 64 * half + static_cast<size_t>(__builtin_ctzll(left));
      *out++ = static_cast<uint8_t>(at);
      above[patches++] = above[at];
    }
  }
  pack_line(above, patches, plan.extra, out);
  return out + (patches * plan.extra + 7) / 8;
}

LAMBDA_INLINE uint8_t* write_pieces(const ColumnPlan& plan, const uint64_t* values, size_t count, uint8_t* out) {
  MiniPlan last;
  alignas(32) uint64_t work[kMini];
  for (size_t m = 0; m * kMini < count; ++m) {
    const MiniPlan& mini = plan.minis[m];
    const uint64_t* const from = values + m * kMini;
    const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
    *out++ = static_cast<uint8_t>(mini.width | (mini.patches > 0 ? kPatchedFlag : 0));
    out = put_varint(out, zigzag(mini.base - last.base));
    last = mini;
    if (mini.width == kRunsWidth) {
      out = write_runs(mini, from, n, out);
      continue;
    }
    if (plan.form == ColumnForm::kDelta) {
      const uint64_t before = m > 0 ? plan.minis[m - 1].delta : 0;
      out = put_varint(out, zigzag(mini.delta - before));
    }
    if (n == kMini) {
      take_off<kMini>(plan.form, mini, from, n, plan.slope, work);
    } else {
      take_off<0>(plan.form, mini, from, n, plan.slope, work);
      for (size_t i = n; i < kMini; ++i) work[i] = 0;
    }
    if (mini.patches > 0) out = write_patches(mini, work, out);
    pack(work, n, mini.width, out);
    out += packed_bytes(n, mini.width);
  }
  return out;
}

uint8_t* write_pieces_anywhere(const ColumnPlan& plan, const uint64_t* values, size_t count, uint8_t* out) {
  return write_pieces(plan, values, count, out);
}

#ifdef LAMBDA_AVX2
LAMBDA_AVX2 uint8_t* write_pieces_avx2(const ColumnPlan& plan, const uint64_t* values, size_t count, uint8_t* out) {
  return write_pieces(plan, values, count, out);
}
#endif

}  // namespace

void plan_even_column(uint64_t first, uint64_t step, ColumnPlan* plan) {
  plan->form = ColumnForm::kEven;
  plan->slope = step;
  plan->bytes = 1 + varint_length(zigzag(first)) + varint_length(zigzag(step));
}

void plan_column(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope) {
#ifdef LAMBDA_AVX2
  if (has_avx2()) return plan_avx2(values, count, plan, try_slope);
#endif
  plan_anywhere(values, count, plan, try_slope);
}

uint8_t* write_column(const ColumnPlan& plan, const uint64_t* values, size_t count, uint8_t* out) {
  *out++ = static_cast<uint8_t>(plan.form);
  if (plan.form == ColumnForm::kEven) {
    out = put_varint(out, zigzag(values[0]));
    return put_varint(out, zigzag(plan.slope));
  }
  if (plan.form == ColumnForm::kSlope) out = put_varint(out, zigzag(plan.slope));
#ifdef LAMBDA_AVX2
  if (has_avx2()) return write_pieces_avx2(plan, values, count, out);
#endif
  return write_pieces_anywhere(plan, values, count, out);
}

}  // namespace lambda::packed
