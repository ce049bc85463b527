#include "column.h"

#include "codes.h"

namespace lambda::packed {
namespace {

constexpr uint32_t kNever = UINT32_MAX;

struct Fit {
  uint32_t bytes = kNever;  // patches, their head and the packed integers
  uint8_t width = 0;
  uint8_t patches = 0;
  uint8_t extra = 0;
};

// How many of some integers have so many bits. Four tables, because neighbours tend to be of one length, and adding to
// one place over and over waits for itself.
struct Lengths {
  uint8_t of[4][72] = {};

  template <class Value>
  void count(size_t n, Value value) {
    for (size_t i = 0; i < n; ++i) ++of[i % 4][bits_of(value(i))];
  }
  unsigned operator[](unsigned bits) const { return 0u + of[0][bits] + of[1][bits] + of[2][bits] + of[3][bits]; }
};

// The cheapest width for `count` integers of such lengths; what is longer is patched.
Fit cheapest_width(const Lengths& lengths, unsigned longest, size_t count) {
  Fit best;
  best.bytes = static_cast<uint32_t>(packed_bytes(count, longest));
  best.width = static_cast<uint8_t>(longest);
  size_t patches = 0;
  for (unsigned width = longest; width-- > 0;) {
    patches += lengths[width + 1];
    if (patches > count / 4) break;
    const unsigned extra = longest - width;
    const auto bytes = static_cast<uint32_t>(packed_bytes(count, width) + 2 + patches + (patches * extra + 7) / 8);
    if (bytes < best.bytes) {
      best = {bytes, static_cast<uint8_t>(width), static_cast<uint8_t>(patches), static_cast<uint8_t>(extra)};
    }
  }
  return best;
}

uint64_t least(const uint64_t* values, size_t count) {
  auto low = static_cast<int64_t>(values[0]);
  for (size_t i = 1; i < count; ++i) {
    const auto value = static_cast<int64_t>(values[i]);
    low = value < low ? value : low;
  }
  return static_cast<uint64_t>(low);
}

// Base and width for integers that are written as they are. Two bases are tried: the least, and one that puts the
// middle of the range on a typical value, so that outliers on either side can be patched.
Fit fit_integers(const uint64_t* values, size_t count, uint64_t* base) {
  const uint64_t low = least(values, count);
  *base = low;
  uint64_t all = 0;
  for (size_t i = 0; i < count; ++i) all |= values[i] - low;
  if (bits_of(all) <= 1) {
    return {static_cast<uint32_t>(packed_bytes(count, bits_of(all))), static_cast<uint8_t>(bits_of(all)), 0, 0};
  }
  Lengths lengths;
  lengths.count(count, [&](size_t i) { return values[i] - low; });
  Fit best = cheapest_width(lengths, bits_of(all), count);
  const auto a = static_cast<int64_t>(values[0]);
  const auto b = static_cast<int64_t>(values[count / 2]);
  const auto c = static_cast<int64_t>(values[count - 1]);
  const int64_t middle = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
  uint64_t farthest = 0;
  for (size_t i = 0; i < count; ++i) farthest |= zigzag(values[i] - static_cast<uint64_t>(middle));
  Lengths around;
  around.count(count, [&](size_t i) { return zigzag(values[i] - static_cast<uint64_t>(middle)); });
  const Fit centred = cheapest_width(around, bits_of(farthest), count);
  if (centred.patches == 0 || centred.width == 0) return best;  // the least does as well
  const uint64_t other = static_cast<uint64_t>(middle) - (uint64_t{1} << (centred.width - 1));
  uint64_t above = 0;
  for (size_t i = 0; i < count; ++i) above |= values[i] - other;
  const unsigned extra = bits_of(above) - centred.width;
  const auto bytes = static_cast<uint32_t>(packed_bytes(count, centred.width) + 2 + centred.patches +
                                           (centred.patches * extra + 7) / 8);
  if (bytes >= best.bytes) return best;
  *base = other;
  return {bytes, centred.width, centred.patches, static_cast<uint8_t>(extra)};
}

// Runs of equal values; false when there are too many for them to pay.
bool plan_runs(const uint64_t* values, size_t count, uint64_t last_base, MiniPlan* plan) {
  size_t runs = 1;
  for (size_t i = 1; i < count; ++i) runs += values[i] != values[i - 1] ? 1 : 0;
  if (runs > count / 3) return false;
  size_t longest = 0;
  size_t length = 0;
  for (size_t i = 0; i < count; ++i) {
    length = i > 0 && values[i] == values[i - 1] ? length + 1 : 1;
    longest = length > longest ? length : longest;
  }
  plan->base = least(values, count);
  uint64_t all = 0;
  for (size_t i = 0; i < count; ++i) all |= values[i] - plan->base;
  plan->width = kRunsWidth;
  plan->runs = static_cast<uint8_t>(runs);
  plan->run_length_width = static_cast<uint8_t>(bits_of(longest - 1));
  plan->run_value_width = static_cast<uint8_t>(bits_of(all));
  plan->bytes = static_cast<uint32_t>(1 + varint_length(zigzag(plan->base - last_base)) + 3 +
                                      (runs * plan->run_length_width + 7) / 8 + (runs * plan->run_value_width + 7) / 8);
  return true;
}

// What is left of values[i] when the slope is taken off.
void flatten(const uint64_t* values, size_t count, uint64_t slope, uint64_t* out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = values[i] - static_cast<uint64_t>(static_cast<int64_t>(i * slope) >> kSlopeShift);
  }
}

uint32_t plan_mini(ColumnForm form, const uint64_t* values, size_t count, uint64_t slope, const MiniPlan& last,
                   const MiniPlan* runs, MiniPlan* plan) {
  uint64_t work[kMini];
  Fit fit;
  size_t head = 1;
  *plan = {};
  if (form == ColumnForm::kDelta) {
    plan->base = values[0];
    for (size_t i = 1; i < count; ++i) work[i] = values[i] - values[i - 1];
    work[0] = count > 1 ? work[1] : 0;  // means nothing, so it shall not widen the rest
    fit = fit_integers(work, count, &plan->delta);
    head += varint_length(zigzag(plan->delta - last.delta));
  } else if (form == ColumnForm::kSlope) {
    flatten(values, count, slope, work);
    fit = fit_integers(work, count, &plan->base);
  } else {
    fit = fit_integers(values, count, &plan->base);
  }
  head += varint_length(zigzag(plan->base - last.base));
  plan->width = fit.width;
  plan->patches = fit.patches;
  plan->extra = fit.extra;
  plan->bytes = static_cast<uint32_t>(head) + fit.bytes;
  if (runs != nullptr) {
    const auto bytes = static_cast<uint32_t>(runs->bytes - varint_length(zigzag(runs->base)) +
                                             varint_length(zigzag(runs->base - last.base)));
    if (bytes < plan->bytes) {
      const uint64_t delta = last.delta;
      *plan = *runs;
      plan->bytes = bytes;
      plan->delta = delta;
    }
  }
  return plan->bytes;
}

bool is_even(const uint64_t* values, size_t count, uint64_t* step) {
  *step = count > 1 ? values[1] - values[0] : 0;
  for (size_t i = 2; i < count; ++i) {
    if (values[i] - values[i - 1] != *step) return false;
  }
  return true;
}

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

uint8_t* write_packed(const MiniPlan& plan, uint64_t* work, size_t count, uint8_t* out) {
  if (plan.patches > 0) {
    uint64_t above[kMini];
    size_t patches = 0;
    *out++ = plan.patches;
    *out++ = plan.extra;
    for (size_t i = 0; i < count; ++i) {
      if (work[i] >> plan.width == 0) continue;  // a width of 64 has no patches
      *out++ = static_cast<uint8_t>(i);
      above[patches++] = work[i] >> plan.width;
      work[i] &= low_bits(plan.width);
    }
    pack_line(above, patches, plan.extra, out);
    out += (patches * plan.extra + 7) / 8;
  }
  pack(work, count, plan.width, out);
  return out + packed_bytes(count, plan.width);
}

}  // namespace

void plan_column(const uint64_t* values, size_t count, ColumnPlan* plan, bool try_slope) {
  plan->form = ColumnForm::kEven;
  if (is_even(values, count, &plan->slope)) {
    plan->bytes = 1 + varint_length(zigzag(values[0])) + varint_length(zigzag(plan->slope));
    return;
  }
  const size_t minis = (count + kMini - 1) / kMini;
  MiniPlan runs[kMinisMax];
  bool has_runs[kMinisMax];
  for (size_t m = 0; m < minis; ++m) {
    const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
    has_runs[m] = plan_runs(values + m * kMini, n, 0, &runs[m]);
  }
  // What a point adds on average, in 1/256; the difference may wrap, then slope is only a bad one.
  const auto rise = static_cast<int64_t>((values[count - 1] - values[0]) << kSlopeShift);
  const auto slope = static_cast<uint64_t>(rise / static_cast<int64_t>(count - 1));
  plan->bytes = SIZE_MAX;
  ColumnPlan other;
  for (const ColumnForm form : {ColumnForm::kPlain, ColumnForm::kDelta, ColumnForm::kSlope}) {
    if (form == ColumnForm::kSlope && !try_slope) continue;
    other.form = form;
    other.slope = form == ColumnForm::kSlope ? slope : 0;
    other.bytes = 1 + (form == ColumnForm::kSlope ? varint_length(zigzag(slope)) : 0);
    MiniPlan last;
    for (size_t m = 0; m < minis && other.bytes < plan->bytes; ++m) {
      const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
      other.bytes +=
          plan_mini(form, values + m * kMini, n, slope, last, has_runs[m] ? &runs[m] : nullptr, &other.minis[m]);
      last = other.minis[m];
    }
    if (other.bytes < plan->bytes) *plan = other;
  }
}

uint8_t* write_column(const ColumnPlan& plan, const uint64_t* values, size_t count, uint8_t* out) {
  *out++ = static_cast<uint8_t>(plan.form);
  if (plan.form == ColumnForm::kEven) {
    out = put_varint(out, zigzag(values[0]));
    return put_varint(out, zigzag(plan.slope));
  }
  if (plan.form == ColumnForm::kSlope) out = put_varint(out, zigzag(plan.slope));
  MiniPlan last;
  uint64_t work[kMini] = {};
  for (size_t m = 0; m * kMini < count; ++m) {
    const MiniPlan& mini = plan.minis[m];
    const uint64_t* const from = values + m * kMini;
    const size_t n = count - m * kMini < kMini ? count - m * kMini : kMini;
    *out++ = static_cast<uint8_t>(mini.width | (mini.patches > 0 ? kPatchedFlag : 0));
    out = put_varint(out, zigzag(mini.base - last.base));
    if (mini.width == kRunsWidth) {
      out = write_runs(mini, from, n, out);
      last = mini;
      continue;
    }
    if (plan.form == ColumnForm::kDelta) {
      out = put_varint(out, zigzag(mini.delta - last.delta));
      for (size_t i = 1; i < n; ++i) work[i] = from[i] - from[i - 1] - mini.delta;
      work[0] = n > 1 ? work[1] : 0;  // as it was planned
    } else {
      flatten(from, n, plan.slope, work);
      for (size_t i = 0; i < n; ++i) work[i] -= mini.base;
    }
    out = write_packed(mini, work, n, out);
    last = mini;
  }
  return out;
}

}  // namespace lambda::packed
