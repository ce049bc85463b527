#include "agent/source/synthetic_source.h"

#include <bit>

namespace lambda::agent {
namespace {

struct Form {
  const char* name;
  Kind kind;
  ValueType type;
  uint8_t scale;
  const char* unit;
};
constexpr Form kForms[] = {
    {"lambda_synthetic_bytes_total", Kind::kCounter, ValueType::kI64, 0, "bytes"},
    {"lambda_synthetic_seconds_total", Kind::kCounter, ValueType::kDec, 2, "seconds"},
    {"lambda_synthetic_celsius", Kind::kGauge, ValueType::kDec, 2, "celsius"},
    {"lambda_synthetic_bar", Kind::kGauge, ValueType::kF64, 0, "bar"},
};
constexpr Form kUniqueForm = {"lambda_synthetic", Kind::kGauge, ValueType::kI64, 0, ""};

// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
uint64_t draw(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int64_t up_to(uint64_t& state, uint64_t most) {
  return static_cast<int64_t>(draw(state) % (most + 1));
}

}  // namespace

SyntheticSource::SyntheticSource(uint32_t series, int64_t interval_ms, SyntheticShape shape)
    : interval_ms_(interval_ms), shape_(shape), slots_(series) {
  if (shape_ == SyntheticShape::kUnique) return;
  for (uint32_t i = 0; i < series; ++i) {
    Walk walk{i, 0};
    const size_t form = i % std::size(kForms);
    walk.value = form < 2 ? up_to(walk.random, 1'000'000'000) : 1'000 + up_to(walk.random, 8'000);
    walks_.push_back(walk);
  }
}

// The value after one more collection, as 64 bits.
uint64_t SyntheticSource::step(Walk& walk, size_t series) const {
  switch (series % std::size(kForms)) {
    case 0:
      // A link that carries bursts: between nothing and a megabyte in a collection, mostly little.
      walk.value += up_to(walk.random, uint64_t{1} << up_to(walk.random, 20));
      break;
    case 1:
      // A processor's state: up to all of the time passed.
      walk.value += up_to(walk.random, static_cast<uint64_t>(interval_ms_) / 10);
      break;
    default:
      walk.value += up_to(walk.random, 10) - 5;
      break;
  }
  if (kForms[series % std::size(kForms)].type != ValueType::kF64) return static_cast<uint64_t>(walk.value);
  return std::bit_cast<uint64_t>(static_cast<double>(walk.value) / 100);
}

Status SyntheticSource::collect(Sink& sink, int64_t time_ms) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const bool unique = shape_ == SyntheticShape::kUnique;
    const uint64_t bits = unique ? static_cast<uint64_t>(time_ms) * kSyntheticSeriesMax + i : step(walks_[i], i);
    put(sink, slots_[i], bits, [&] {
      const Form& form = unique ? kUniqueForm : kForms[i % std::size(kForms)];
      return SeriesSpec{form.name, {{"series", std::to_string(i)}}, form.kind, form.type, form.scale, form.unit};
    });
  }
  return {};
}

}  // namespace lambda::agent
