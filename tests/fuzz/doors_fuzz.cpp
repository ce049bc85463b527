// Bodies that programs hand in: any bytes, as JSON lines, as InfluxDB's line protocol, as a remote-write message, and
// packed. The first byte says which. What the doors accept goes into the journal once, with names that are allowed and
// times within bounds; remote-write reads as Protocol Buffers' own reader does, the second time as the first; nothing
// is unpacked past its bound.
#include <snappy.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/door/compression.h"
#include "agent/door/doors.h"
#include "agent/door/remote_write.h"
#include "agent/door/text_formats.h"
#include "agent/spool/series_table.h"
#include "proto/prometheus_write.pb.h"

namespace {

using namespace lambda;
using namespace lambda::agent;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr uint32_t kSeriesMax = 50;

void expect(bool condition) {
  if (!condition) std::abort();
}

class StandingClock final : public Clock {
 public:
  int64_t utc_ms() const override { return kNow; }
  int64_t mono_us() const override { return 0; }
};

struct World {
  Feeder::Ports ports() {
    return {[this](const SeriesSpec& spec, bool may_add, bool* fresh) {
              const uint32_t before = table.size();
              auto ref = table.find_or_add(spec, may_add);
              *fresh = table.size() > before;
              if (ref) expect(check_series(spec.name, spec.labels, spec.type, spec.scale, spec.unit).has_value());
              return ref;
            },
            [this](std::vector<Row> rows, const std::optional<RequestNote>&, Feeder::RowsDone done) {
              int64_t before = INT64_MIN;
              for (const Row& row : rows) {
                expect(row.time_ms > before && !row.points.empty());
                before = row.time_ms;
                expect(row.time_ms >= kNow - options.past_ms_max && row.time_ms <= kNow + options.future_ms_max);
                uint32_t last = 0;
                for (const RowPoint& point : row.points) {
                  expect(point.ref > last && table.known(point.ref));
                  last = point.ref;
                  // Each series once a moment, and onwards.
                  const auto [at, first] = newest.emplace(point.ref, row.time_ms);
                  expect(first || at->second < row.time_ms);
                  at->second = row.time_ms;
                  ++made;
                }
              }
              done({}, rows);
            },
            [] { return kNow; }, [] { return 0u; }};
  }
  FeedOptions options{.points_waiting_max = 5'000, .errors_max = 10, .append_points_max = 7, .series_max = kSeriesMax};
  SeriesTable table{kSeriesMax + 10};
  std::map<uint32_t, int64_t> newest;
  uint64_t made = 0;
  Feeder feeder{options, ports()};
};

FeedResult take(World& world, FeedBatch batch) {
  FeedResult result;
  bool answered = false;
  world.feeder.take(std::move(batch), [&](FeedResult given) {
    expect(!answered);
    answered = true;
    result = std::move(given);
  });
  expect(answered && result.errors.size() <= world.options.errors_max && world.feeder.points_waiting() == 0);
  return result;
}

// How many samples and histograms the library's own reader finds, or that it finds no message.
bool count_plainly(std::string_view message, uint64_t* items) {
  prometheus::WriteRequest request;
  if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) return false;
  *items = 0;
  for (const auto& series : request.timeseries()) {
    *items += static_cast<uint64_t>(series.samples_size() + series.histograms_size());
  }
  return true;
}

void as_remote_write(std::string_view message) {
  World world;
  FeedBatch first(world.feeder);
  const bool read = read_remote_write(message, first).has_value();
  const bool too_large = first.too_large();
  uint64_t items = 0;
  // Its texts are checked later here, and cost their series only: so what it reads we read, and not the other way
  // round.
  if (count_plainly(message, &items)) expect(read);
  if (!read || too_large) return;
  const FeedResult result = take(world, std::move(first));
  expect(result.status.has_value() && result.accepted + result.refused >= items);
  const uint64_t made = world.made;
  FeedBatch again(world.feeder);
  expect(read_remote_write(message, again).has_value());
  const FeedResult second = take(world, std::move(again));
  expect(second.accepted + second.refused == result.accepted + result.refused);
  expect(world.made == made);  // the very same points again, or points that are older by now
}

void as_text(std::string_view body, bool json, int64_t unit_ns) {
  World world;
  FeedBatch batch(world.feeder);
  if (json) {
    read_json_lines(body, kNow, batch);
  } else {
    read_line_protocol(body, unit_ns, kNow, batch);
  }
  if (batch.too_large()) return;
  const FeedResult result = take(world, std::move(batch));
  expect(result.accepted >= world.made);
}

// As it comes over HTTP, packed and with a path of its own.
void as_request(std::string_view body, uint8_t how) {
  World world;
  StandingClock clock;
  DoorOptions options;
  options.feed = world.options;
  options.unpacked_bytes_max = 64u << 10;
  RequestMemory requests(options.requests_bytes_max);
  Doors doors(options, world.feeder, requests, clock);
  HttpRequest request;
  request.method = how % 16 == 15 ? "GET" : "POST";
  request.path = Doors::kPaths[how % Doors::kPaths.size()];
  if (how & 64) request.headers["content-encoding"] = request.path == "/api/v1/write" ? "snappy" : "gzip";
  if (how & 32) request.parameters.emplace("precision", std::string(body.substr(0, 2)));
  request.body = body;
  int answers = 0, status = 0;
  const auto ask = [&] {
    doors.handle(request, [&](const HttpResponse& response) {
      ++answers;
      status = response.status;
      expect(response.status >= 200 && response.status < 500);
      expect(response.body.size() < 64u << 10);
    });
  };
  ask();
  expect(answers == 1);
  const int before = status;
  const uint64_t made = world.made;
  ask();
  expect(answers == 2 && world.made == made);
  if (requests.size() > 0) expect(status == before);
}

void as_packed(std::string_view body) {
  constexpr uint64_t kBytesMax = 64u << 10;
  for (const auto& unpacked : {unpack_snappy(body, kBytesMax), unpack_gzip(body, kBytesMax)}) {
    if (unpacked) expect(unpacked->size() <= kBytesMax);
  }
  std::string packed;
  snappy::Compress(body.data(), body.size(), &packed);
  const auto back = unpack_snappy(packed, body.size());
  expect(back.has_value() && *back == body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 64 * 1024) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 6) {
    case 0:
      as_text(body, true, 1);
      break;
    case 1:
      as_text(body, false, data[0] < 128 ? 1 : 3'600'000'000'000);
      break;
    case 2:
      as_remote_write(body);
      break;
    case 3:
      as_packed(body);
      break;
    default:
      if (!body.empty()) as_request(body.substr(1), data[1]);
  }
  return 0;
}
