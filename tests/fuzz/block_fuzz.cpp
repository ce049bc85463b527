// Any bytes: refused or decoded, never a crash. What decodes can be written again: the same points come out.
// The checksum would keep nearly all inputs out, so a second try is made with the checksum put right.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "lambda/block.h"
#include "lambda/codecs.h"
#include "lambda/stored_block.h"

namespace {

using lambda::Point;

void expect(bool condition) {
  if (!condition) std::abort();
}

void check_points_agree_with_info(const lambda::BlockInfo& info, const std::vector<Point>& points) {
  int64_t t_min = INT64_MAX;
  int64_t t_max = INT64_MIN;
  bool unordered = false;
  for (size_t i = 0; i < points.size(); ++i) {
    t_min = std::min(t_min, points[i].time_ms);
    t_max = std::max(t_max, points[i].time_ms);
    unordered |= i > 0 && points[i].time_ms <= points[i - 1].time_ms;
  }
  expect(t_min == info.t_min && t_max == info.t_max && unordered == info.unordered);
}

void check_written_again(const lambda::BlockInfo& info, const std::vector<Point>& points) {
  std::vector<uint8_t> space(lambda::block_bytes_max(points.size()));
  lambda::BlockOptions options;
  options.boot = info.boot;
  options.first_ordinal = info.first_ordinal;
  options.ref = info.ref;
  options.clock = info.clock;
  options.type = info.type;
  options.scale = info.scale;
  options.write_boot = info.has_boot;
  options.tick_ms = info.tick_ms;
  options.coding = lambda::find_coding(lambda::kAllCodings, info.codec);
  if (info.first_ordinal > (uint64_t{1} << 63) - lambda::kBlockPointsMax) return;  // the writer leaves room for a block
  lambda::BlockWriter writer(space, options);
  for (const Point& point : points) expect(writer.append(point) == lambda::AppendResult::kOk);
  std::vector<Point> open(points.size());
  lambda::BlockReader over = lambda::BlockReader::over_open(writer);
  expect(over.next(open) == points.size() && open == points);
  lambda::BlockInfo again;
  std::vector<Point> sealed(points.size());
  expect(lambda::decode_block(writer.seal(), info.boot, &again, sealed, lambda::kAllCodings).ok() && sealed == points);
  expect(again.t_min == info.t_min && again.t_max == info.t_max && again.unordered == info.unordered);
}

void check(const uint8_t* data, size_t size) {
  lambda::BlockInfo info;
  std::vector<Point> points(lambda::kBlockPointsMax);
  if (!lambda::decode_block({data, size}, 7, &info, points, lambda::kAllCodings).ok()) return;
  points.resize(info.count);
  check_points_agree_with_info(info, points);
  lambda::BlockReader one_by_one;
  expect(one_by_one.open({data, size}, 7, lambda::kAllCodings).ok());
  for (const Point& point : points) {
    Point read;
    expect(one_by_one.next(&read) && read == point);
  }
  check_written_again(info, points);
}

// The same for every codec, by every way to read a block; and packing gives the points back.
void check_stored(const uint8_t* data, size_t size) {
  constexpr int64_t kFrom = 1'700'000'000'000;
  lambda::BlockInfo info;
  std::vector<Point> points(lambda::kBlockPointsMax);
  lambda::Aggregates some;
  Point point;
  (void)lambda::encoding_name({data, size});
  const bool good = lambda::read_block({data, size}, 7, &info, points, lambda::kLongSpanMsMax).ok();
  if (!good) {
    (void)lambda::aggregate_block({data, size}, 7, kFrom, INT64_MAX, &info, &some, lambda::kLongSpanMsMax);
    (void)lambda::read_point({data, size}, 7, 130, &point, false, lambda::kLongSpanMsMax);
    return;
  }
  points.resize(info.count);
  check_points_agree_with_info(info, points);
  expect(lambda::read_point({data, size}, 7, info.count - 1, &point, true, lambda::kLongSpanMsMax).ok());
  expect(point == points.back());
  expect(lambda::aggregate_block({data, size}, 7, kFrom, INT64_MAX, &info, &some, lambda::kLongSpanMsMax).ok());
  expect(some == lambda::aggregates_within(info.type, points, kFrom, INT64_MAX));
  if (info.first_ordinal > (uint64_t{1} << 63) - lambda::kBlockPointsMax) return;
  lambda::StoredOptions options;
  options.block.first_ordinal = info.first_ordinal;
  options.block.type = info.type;
  options.block.scale = info.scale;
  options.aggregates = size % 2 == 0;
  std::vector<uint8_t> space(lambda::stored_bytes_max(points.size()));
  std::vector<Point> again(points.size());
  const auto packed = lambda::pack_block(options, points, space);
  expect(lambda::read_block(packed, 0, &info, again, lambda::kLongSpanMsMax).ok() && again == points);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check(data, size);
  check_stored(data, size);
  if (size < 4) return 0;
  std::vector<uint8_t> righted(data, data + size);
  const uint32_t crc = lambda::crc32c({righted.data(), size - 4});
  for (size_t i = 0; i < 4; ++i) righted[size - 4 + i] = static_cast<uint8_t>(crc >> (8 * i));
  check(righted.data(), righted.size());
  check_stored(righted.data(), righted.size());
  return 0;
}
