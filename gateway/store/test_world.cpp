#include "gateway/store/test_world.h"

#include <bit>
#include <numeric>

#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

std::vector<uint8_t> encode(const TestBlock& block, uint64_t boot) {
  std::vector<uint8_t> space(block_bytes_max(block.points.size()));
  BlockOptions options;
  options.boot = boot;
  options.first_ordinal = block.first;
  options.ref = block.ref;
  options.clock = block.clock;
  options.type = block.type;
  options.scale = block.scale;
  BlockWriter writer(space, options);
  for (const Point& point : block.points) {
    if (writer.append(point) != AppendResult::kOk) ADD_FAILURE() << "the block does not take a point";
  }
  const auto bytes = writer.seal();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TestBlock test_block(uint32_t ref, uint64_t first, uint32_t count, int64_t t0, uint64_t salt) {
  TestBlock block;
  block.ref = ref;
  block.first = first;
  for (uint64_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(first + i) + static_cast<double>(salt) / 1024;
    block.points.push_back({t0 + static_cast<int64_t>(first + i) * 100, std::bit_cast<uint64_t>(value)});
  }
  return block;
}

StoreRequest TestDevice::parcel(const std::vector<TestBlock>& blocks, const std::vector<uint32_t>& declare,
                                const std::vector<GapView>& gaps, const std::vector<ClockView>& clocks) {
  StoreRequest request = parcel_of(++seq, blocks, declare, gaps, clocks);
  previous = request.digest;
  return request;
}

StoreRequest TestDevice::parcel_of(uint64_t number, const std::vector<TestBlock>& blocks,
                                   const std::vector<uint32_t>& declare, const std::vector<GapView>& gaps,
                                   const std::vector<ClockView>& clocks) {
  lambda::v1::Parcel parcel;
  parcel.set_version(1);
  parcel.set_site("hall");
  parcel.set_device(name);
  parcel.set_boot(boot);
  parcel.set_seq(number);
  StoreRequest request;
  request.device = name;
  request.boot = boot;
  request.seq = number;
  request.received_ms = 1'700'000'000'000;
  request.previous = number > 1 ? previous : Digest{};
  if (number > 1) parcel.set_previous(previous.data(), previous.size());
  for (const uint32_t ref : declare) {
    auto* declaration = parcel.add_declarations();
    declaration->set_ref(ref);
    declaration->set_name("m" + std::to_string(ref));
    declaration->set_kind(lambda::v1::GAUGE);
    declaration->set_type(lambda::v1::F64);
    Declared declared;
    declared.ref = ref;
    declared.name = declaration->name();
    request.declarations.push_back(declared);
  }
  std::vector<Digest> roots;
  for (const TestBlock& block : blocks) {
    const auto bytes = encode(block, boot);
    parcel.add_blocks(bytes.data(), bytes.size());
    ContentRoot root(host_hash());
    for (const Point& point : block.points) root.add(point);
    root.finish(roots.emplace_back().data());
  }
  for (const GapView& gap : gaps) {
    auto* to = parcel.add_gaps();
    to->set_ref(gap.ref);
    to->set_first_ordinal(gap.first_ordinal);
    to->set_count(gap.count);
    to->set_reason(static_cast<lambda::v1::GapReason>(gap.reason));
  }
  for (const ClockView& clock : clocks) {
    auto* to = parcel.add_clocks();
    to->set_segment(clock.segment);
    to->set_relative(clock.relative);
    to->set_offset_ms(clock.offset_ms);
    to->set_known(clock.known);
  }
  request.gaps = gaps;
  request.clocks = clocks;
  request.message = parcel.SerializeAsString();
  request.digest = sha256({reinterpret_cast<const uint8_t*>(request.message.data()), request.message.size()});
  // The blocks where they stand in the message; searched from the front, so that equal ones are told apart.
  size_t at = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::string& bytes = parcel.blocks(static_cast<int>(i));
    at = request.message.find(bytes, at);
    BlockSlip slip;
    slip.bytes = std::string_view(request.message).substr(at, bytes.size());
    BlockReader reader;
    const BlockStatus status =
        reader.open({reinterpret_cast<const uint8_t*>(slip.bytes.data()), slip.bytes.size()}, boot);
    if (!status.ok()) ADD_FAILURE() << block_error_name(status.error);
    slip.info = reader.info();
    slip.root = roots[i];
    request.blocks.push_back(slip);
    at += bytes.size();
  }
  return request;
}

HelloRecord TestDevice::hello(uint64_t previous_boot, int64_t started_ms) const {
  lambda::v1::Hello message;
  message.set_version(1);
  message.set_site("hall");
  message.set_device(name);
  message.set_boot(boot);
  message.set_previous_boot(previous_boot);
  message.set_started_ms(started_ms);
  HelloRecord record;
  record.device = name;
  record.boot = boot;
  record.previous_boot = previous_boot;
  record.started_ms = started_ms;
  record.received_ms = 1'700'000'000'000;
  record.message = message.SerializeAsString();
  return record;
}

std::vector<query::Sample> read_series(Store& store, uint32_t ref, const std::string& device, int64_t from,
                                       int64_t to) {
  std::vector<query::Matcher> matchers{{"__name__", query::MatchOp::kEqual, "m" + std::to_string(ref)}};
  if (!device.empty()) matchers.push_back({"instance", query::MatchOp::kEqual, device});
  auto selection = store.select(matchers, from, to, 100);
  if (!selection) {
    ADD_FAILURE() << selection.error().text;
    return {};
  }
  EXPECT_LE(selection->series.size(), 1u);
  if (selection->series.empty()) return {};
  auto samples = selection->series[0].cursor->read(10'000'000);
  if (!samples) {
    ADD_FAILURE() << samples.error().text;
    return {};
  }
  return *samples;
}

}  // namespace lambda::gateway
