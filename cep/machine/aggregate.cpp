#include "cep/machine/aggregate.h"

#include <algorithm>
#include <cmath>

#include "cep/language/mutant.h"

namespace lambda::cep {
namespace {

bool is_nan(const Value& value) {
  return value.type == Type::kDouble && std::isnan(value.d);
}

const double kLogGamma = std::log((1 + Samples::kSketchError) / (1 - Samples::kSketchError));

int32_t bucket_of(double size) {
  return std::isinf(size) ? INT32_MAX : static_cast<int32_t>(std::ceil(std::log(size) / kLogGamma));
}
double middle_of(int32_t bucket) {
  return bucket == INT32_MAX ? INFINITY : 2 * std::exp(bucket * kLogGamma) / (std::exp(kLogGamma) + 1);
}

Value of_type(const Value& like, double x) {
  return like.type == Type::kInt ? Value::null() : Value::of_double(x);
}

// last - first, of their type.
Value difference(const Value& first, const Value& last) {
  if (first.type == Type::kInt && last.type == Type::kInt) {
    int64_t out = 0;
    return __builtin_sub_overflow(last.i, first.i, &out) ? Value::null() : Value::of_int(out);
  }
  return of_type(last, last.number() - first.number());
}

}  // namespace

// ---- samples

void Samples::add_number(double x) {
  ++count_;
  if (count_ <= kExactMax) {
    exact_.push_back(x);
    return;
  }
  for (const double old : exact_) {
    add_to_sketch(old);
  }
  exact_ = {};
  add_to_sketch(x);
}

void Samples::add_greatest(const Value& value, size_t most, const Symbols& symbols) {
  const auto place = std::ranges::upper_bound(
      greatest_, value, [&](const Value& x, const Value& y) { return compare_values(x, y, symbols) > 0; });
  greatest_.insert(place, value);
  if (greatest_.size() > most) {
    greatest_.pop_back();
  }
}

void Samples::add_to_sketch(double x) {
  if (x == 0) {
    ++zeros_;
  } else {
    ++(x < 0 ? below_ : above_)[bucket_of(std::abs(x))];
  }
}

double Samples::percentile(double q) const {
  const double rank = q * static_cast<double>(count_ - 1);
  if (count_ <= kExactMax) {
    std::vector<double> sorted = exact_;
    std::ranges::sort(sorted);
    const auto low = static_cast<size_t>(rank);
    const size_t high = std::min(low + 1, sorted.size() - 1);
    const double part = rank - static_cast<double>(low);
    return part == 0 || mutant(Mutant::kPercentileOfNearest) ? sorted[low]
                                                             : sorted[low] + (sorted[high] - sorted[low]) * part;
  }
  auto left = static_cast<uint64_t>(rank);
  for (auto bucket = below_.rbegin(); bucket != below_.rend(); ++bucket) {
    if (left < bucket->second) {
      return -middle_of(bucket->first);
    }
    left -= bucket->second;
  }
  if (left < zeros_) {
    return 0;
  }
  left -= zeros_;
  for (const auto& [bucket, count] : above_) {
    if (left < count) {
      return middle_of(bucket);
    }
    left -= count;
  }
  return above_.empty() ? 0 : middle_of(above_.rbegin()->first);
}

size_t Samples::bytes() const {
  constexpr size_t kNodeBytes = 64;  // of a map or set
  return sizeof(Samples) + exact_.size() * sizeof(double) + greatest_.size() * sizeof(Value) +
         (below_.size() + above_.size() + distinct_.size()) * kNodeBytes;
}

void Samples::save(StateWriter& out) const {
  out.u64(count_);
  out.u32(static_cast<uint32_t>(exact_.size()));
  for (const double x : exact_) {
    out.f64(x);
  }
  for (const auto* buckets : {&below_, &above_}) {
    out.u32(static_cast<uint32_t>(buckets->size()));
    for (const auto& [bucket, count] : *buckets) {
      out.u32(static_cast<uint32_t>(bucket));
      out.u64(count);
    }
  }
  out.u64(zeros_);
  out.u32(static_cast<uint32_t>(distinct_.size()));
  for (const Value& value : distinct_) {
    out.value(value);
  }
  out.u32(static_cast<uint32_t>(greatest_.size()));
  for (const Value& value : greatest_) {
    out.value(value);
  }
}

void Samples::load(StateReader& in) {
  *this = Samples();
  count_ = in.u64();
  exact_.resize(in.count(8));
  for (double& x : exact_) {
    x = in.f64();
  }
  for (auto* buckets : {&below_, &above_}) {
    const size_t size = in.count(12);
    for (size_t i = 0; i < size; ++i) {
      const auto bucket = static_cast<int32_t>(in.u32());
      (*buckets)[bucket] = in.u64();
    }
  }
  zeros_ = in.u64();
  const size_t distinct = in.count(1);
  for (size_t i = 0; i < distinct; ++i) {
    distinct_.insert(in.value());
  }
  greatest_.resize(in.count(1));
  for (Value& value : greatest_) {
    value = in.value();
  }
  if (exact_.size() != (count_ <= kExactMax ? count_ : 0)) {
    in.refuse();
  }
}

// ---- accumulators

void Accumulator::add(const AggregatePlan& plan, const Value& value, int64_t t, const Symbols& symbols) {
  if (value.is_null() && !mutant(Mutant::kAggregatesCountNull)) {
    return;
  }
  const double number = value.type == Type::kInt || value.type == Type::kDouble ? value.number() : 0;
  switch (plan.kind) {
    case AggregateKind::kCount:
      break;
    case AggregateKind::kSum:
      if (value.type == Type::kInt) {
        overflow = __builtin_add_overflow(whole, value.i, &whole) || overflow;
      }
      x += number;
      break;
    case AggregateKind::kAvg:
      x += number;
      break;
    case AggregateKind::kMin:
    case AggregateKind::kMax:
      if (!is_nan(value)) {
        const bool better =
            last.is_null() || (plan.kind == AggregateKind::kMin ? compare_values(value, last, symbols) < 0
                                                                : compare_values(value, last, symbols) > 0);
        last = better ? value : last;
      }
      break;
    case AggregateKind::kStddev: {  // Welford's
      const double off = number - x;
      x += off / static_cast<double>(count + 1);
      y += off * (number - x);
      break;
    }
    case AggregateKind::kRate:
      x += count > 0 && number < last.number() && !mutant(Mutant::kRateIgnoresResets) ? last.number() : 0;
      break;
    case AggregateKind::kChanges:
      whole += count > 0 && !(value == last) ? 1 : 0;
      break;
    case AggregateKind::kResets:
      whole += count > 0 && number < last.number() ? 1 : 0;
      break;
    case AggregateKind::kIrate:
      x = count > 0 ? last.number() : 0;
      previous_t = last_t;
      break;
    case AggregateKind::kDeriv: {  // sums of a straight line's least squares, seconds from the first value
      const double at = count > 0 ? static_cast<double>(t - first_t) / 1000 : 0;
      x += at;
      y += number;
      z += at * at;
      w += at * number;
      break;
    }
    case AggregateKind::kPercentile:
    case AggregateKind::kDistinct:
    case AggregateKind::kTopk:
      if (!samples) {
        samples = std::make_unique<Samples>();
      }
      if (plan.kind == AggregateKind::kDistinct) {
        samples->add_distinct(value);
      } else if (plan.kind == AggregateKind::kTopk) {
        if (!is_nan(value)) {
          samples->add_greatest(value, static_cast<size_t>(plan.parameter), symbols);
        }
      } else if (!std::isnan(number)) {
        samples->add_number(number);
      }
      break;
    case AggregateKind::kEwma:
      x = count == 0 ? number : x + (1 - std::exp(-static_cast<double>(t - last_t) / plan.parameter)) * (number - x);
      break;
    case AggregateKind::kApdex:
      x += number <= plan.parameter ? 1 : 0;
      y += number > plan.parameter && number <= 4 * plan.parameter ? 1 : 0;
      break;
    case AggregateKind::kFirst:
    case AggregateKind::kLast:
    case AggregateKind::kDelta:
      break;
  }
  if (count == 0) {
    first = value;
    first_t = t;
  }
  if (plan.kind != AggregateKind::kMin && plan.kind != AggregateKind::kMax) {
    last = value;
  }
  last_t = t;
  ++count;
}

Value Accumulator::result(const AggregatePlan& plan, Symbols& symbols) const {
  if (plan.kind == AggregateKind::kCount) {
    return Value::of_int(static_cast<int64_t>(count));
  }
  if (plan.kind == AggregateKind::kDistinct) {
    return Value::of_int(samples ? static_cast<int64_t>(samples->distinct()) : 0);
  }
  if (count == 0) {
    return Value::null();
  }
  const auto n = static_cast<double>(count);
  const auto per_second = [](double amount, int64_t ms) {
    return ms <= 0 ? Value::null() : Value::of_double(amount / (static_cast<double>(ms) / 1000));
  };
  switch (plan.kind) {
    case AggregateKind::kSum:
      return plan.type == Type::kInt ? (overflow ? Value::null() : Value::of_int(whole)) : Value::of_double(x);
    case AggregateKind::kAvg:
      return Value::of_double(x / n);
    case AggregateKind::kMin:
    case AggregateKind::kMax:
    case AggregateKind::kLast:
      return last;
    case AggregateKind::kFirst:
      return first;
    case AggregateKind::kStddev:
      return Value::of_double(std::sqrt(y / (mutant(Mutant::kStddevOfSample) ? n - 1 : n)));
    case AggregateKind::kDelta:
      return difference(first, last);
    case AggregateKind::kRate:
      return per_second(last.number() - first.number() + x, last_t - first_t);
    case AggregateKind::kIrate:
      return count < 2 ? Value::null()
                       : per_second(last.number() < x ? last.number() : last.number() - x, last_t - previous_t);
    case AggregateKind::kDeriv: {
      const double spread = n * z - x * x;
      return count < 2 || spread == 0 ? Value::null() : Value::of_double((n * w - x * y) / spread);
    }
    case AggregateKind::kChanges:
    case AggregateKind::kResets:
      return Value::of_int(whole);
    case AggregateKind::kPercentile:
      return samples && samples->numbers() > 0 ? Value::of_double(samples->percentile(plan.parameter)) : Value::null();
    case AggregateKind::kTopk:
      return samples ? make_list(samples->greatest(), symbols) : Value::null();
    case AggregateKind::kEwma:
      return Value::of_double(x);
    case AggregateKind::kApdex:
      return Value::of_double((x + y / 2) / n);
    default:
      return Value::null();
  }
}

void Accumulator::save(StateWriter& out) const {
  out.u64(count);
  out.value(first);
  out.value(last);
  for (const int64_t t : {first_t, last_t, previous_t, whole}) {
    out.i64(t);
  }
  for (const double d : {x, y, z, w}) {
    out.f64(d);
  }
  out.flag(overflow);
  out.flag(samples != nullptr);
  if (samples) {
    samples->save(out);
  }
}

void Accumulator::load(StateReader& in) {
  count = in.u64();
  first = in.value();
  last = in.value();
  for (int64_t* t : {&first_t, &last_t, &previous_t, &whole}) {
    *t = in.i64();
  }
  for (double* d : {&x, &y, &z, &w}) {
    *d = in.f64();
  }
  overflow = in.flag();
  samples.reset();
  if (in.flag()) {
    samples = std::make_unique<Samples>();
    samples->load(in);
  }
}

}  // namespace lambda::cep
