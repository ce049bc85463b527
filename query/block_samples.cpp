#include "query/block_samples.h"

#include <algorithm>
#include <array>
#include <bit>

#include "lambda/stored_block.h"

namespace lambda::query {
namespace {

constexpr std::array<double, kScaleMax + 1> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                                       1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};

int64_t less(int64_t time_ms, int64_t by_ms) {
  int64_t result = 0;
  if (__builtin_sub_overflow(time_ms, by_ms, &result)) return by_ms > 0 ? INT64_MIN : INT64_MAX;
  return result;
}

// `number_of` is known where this is made, so that the loop has no question in it but the two of the part.
template <class NumberOf>
void take(std::span<const Point> points, uint64_t ordinal, const BlockPart& part, int64_t low, int64_t high,
          NumberOf number_of, std::vector<Sample>& samples) {
  for (const Point& point : points) {
    if (point.time_ms >= low && point.time_ms <= high && ordinal >= part.first && ordinal < part.end) {
      samples.push_back({point.time_ms + part.offset_ms, number_of(point.bits)});
    }
    ++ordinal;
  }
}

// All of `points` are wanted.
template <class NumberOf>
void take_all(std::span<const Point> points, int64_t offset_ms, NumberOf number_of, std::vector<Sample>& samples) {
  const size_t before = samples.size();
  samples.resize(before + points.size());
  Sample* to = samples.data() + before;
  for (const Point& point : points) *to++ = {point.time_ms + offset_ms, number_of(point.bits)};
}

template <class NumberOf>
void take_block(std::span<const Point> points, const BlockInfo& info, const BlockPart& part, NumberOf number_of,
                std::vector<Sample>& samples) {
  // By the block's own times. Nothing overflows when the offset is added to what lies between them.
  const int64_t low = less(part.from_ms, part.offset_ms);
  const int64_t high = less(part.to_ms, part.offset_ms);
  const bool whole = info.t_min >= low && info.t_max <= high && info.first_ordinal >= part.first &&
                     info.first_ordinal + info.count <= part.end;
  if (whole) {
    take_all(points, part.offset_ms, number_of, samples);
  } else {
    take(points, info.first_ordinal, part, low, high, number_of, samples);
  }
}

}  // namespace

double point_number(ValueType type, uint8_t scale, uint64_t bits) {
  if (type == ValueType::kF64) return std::bit_cast<double>(bits);
  if (type == ValueType::kF32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  const auto number = static_cast<double>(static_cast<int64_t>(bits));
  return type == ValueType::kDec ? number / kPowers[std::min<size_t>(scale, kScaleMax)] : number;
}

BlockStatus append_samples(std::span<const uint8_t> block, uint64_t context_boot, const BlockPart& part,
                           BlockInfo* info, std::vector<Sample>& samples) {
  std::array<Point, kBlockPointsMax> room;
  if (const BlockStatus status = read_block(block, context_boot, info, room); !status.ok()) return status;
  const auto points = std::span<const Point>(room).first(info->count);
  if (info->type == ValueType::kF64) {
    take_block(
        points, *info, part, [](uint64_t bits) { return std::bit_cast<double>(bits); }, samples);
  } else if (info->type == ValueType::kF32) {
    take_block(
        points, *info, part, [](uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }, samples);
  } else if (info->type == ValueType::kDec) {
    const double power = kPowers[std::min<size_t>(info->scale, kScaleMax)];
    take_block(
        points, *info, part, [power](uint64_t bits) { return static_cast<double>(static_cast<int64_t>(bits)) / power; },
        samples);
  } else {
    take_block(
        points, *info, part, [](uint64_t bits) { return static_cast<double>(static_cast<int64_t>(bits)); }, samples);
  }
  return {};
}

void keep_last_of_each_time(std::vector<Sample>& samples) {
  const auto not_before = [](const Sample& a, const Sample& b) { return a.time_ms >= b.time_ms; };
  if (std::ranges::adjacent_find(samples, not_before) == samples.end()) return;
  std::ranges::stable_sort(samples, {}, &Sample::time_ms);
  size_t kept = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i + 1 < samples.size() && samples[i + 1].time_ms == samples[i].time_ms) continue;
    samples[kept++] = samples[i];
  }
  samples.resize(kept);
}

}  // namespace lambda::query
