// What stands in segments: bodies of any bytes behind good checksums are parsed, opened, indexed, read, checked and
// repaired. The input is a sequence of chunks: type u8, length u16le, body; they become the records of one segment.
// Promises: nothing crashes, the store becomes ready, and store and checker count the same points.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/record/record.h"
#include "gateway/store/inspect.h"
#include "gateway/store/record_body.h"
#include "gateway/store/test_world.h"

namespace {

using namespace lambda;
using namespace lambda::gateway;

void check(bool good) {
  if (!good) std::abort();
}

std::vector<std::byte> segment_of(std::span<const std::byte> input) {
  std::vector<std::byte> out;
  append_file_header(out, {FileKind::kSegment, 1, 0, kOwnerArrivals});
  for (int records = 0; input.size() >= 3 && records < 64; ++records) {
    const auto type = static_cast<uint8_t>(input[0]);
    size_t length = static_cast<size_t>(input[1]) | static_cast<size_t>(input[2]) << 8;
    input = input.subspan(3);
    length = std::min(length, input.size());
    append_record(out, type, input.first(length));
    input = input.subspan(length);
  }
  return out;
}

uint64_t points_of(Store& store) {
  uint64_t points = 0;
  for (const DeviceTotals& totals : store.devices()) points += totals.points;
  return points;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = segment_of(std::as_bytes(std::span(data, size)));
  TestWorld world;
  const std::string path = world.options.directory + "/seg-0000000000000001.lam";
  world.disk.files[path] = {
      std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), bytes.size(), true, {}};

  const auto report = check_store(world.disk, world.options.directory);
  check(report.has_value());
  auto store = Store::open(world.env, world.options);
  check(store.has_value());
  world.loop.run();
  check((*store)->ready());
  // Each counts an ordinal once, in whatever records it stands.
  check(points_of(**store) == report->points + report->retired_points);

  auto selection = (*store)->select({{"__name__", query::MatchOp::kRegex, ".*"}}, INT64_MIN, INT64_MAX, 1000);
  if (selection) {
    for (auto& series : selection->series) {
      if (const auto samples = series.cursor->read(100'000)) {
        for (size_t i = 1; i < samples->size(); ++i) check((*samples)[i - 1].time_ms < (*samples)[i].time_ms);
      }
    }
  }
  (void)(*store)->merge_slice();
  world.loop.run();
  store->reset();
  world.loop.run();
  check(repair_store(world.disk, world.options.directory).has_value());
  return 0;
}
