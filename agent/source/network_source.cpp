#include "agent/source/network_source.h"

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

// In the order of the file: what was received, then what was sent.
constexpr const char* kNetworkFields[] = {
    "node_network_receive_bytes_total",      "node_network_receive_packets_total",
    "node_network_receive_errs_total",       "node_network_receive_drop_total",
    "node_network_receive_fifo_total",       "node_network_receive_frame_total",
    "node_network_receive_compressed_total", "node_network_receive_multicast_total",
    "node_network_transmit_bytes_total",     "node_network_transmit_packets_total",
    "node_network_transmit_errs_total",      "node_network_transmit_drop_total",
    "node_network_transmit_fifo_total",      "node_network_transmit_colls_total",
    "node_network_transmit_carrier_total",   "node_network_transmit_compressed_total",
};
constexpr uint32_t kHeadingLines = 2;

}  // namespace

NetworkSource::NetworkSource(HostFiles& files, const std::string& root, int64_t interval_ms, DeviceFilter filter)
    : files_(files), path_(net_path(root, "dev")), interval_ms_(interval_ms), filter_(std::move(filter)) {
  static_assert(std::size(kNetworkFields) == kFields);
}

bool NetworkSource::device_line(Sink& sink, std::string_view line) {
  // Names may hold a colon (old aliases), and the first number may follow it without a blank.
  const size_t colon = line.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string_view head = line.substr(0, colon);
  const std::string_view name = take_field(head);
  line.remove_prefix(colon + 1);
  if (name.empty()) return false;
  auto* device = devices_.find(name);
  if (!device) device = devices_.add(name, filter_.wants(name));
  if (!device) return false;
  if (device->seen) return true;
  device->seen = true;
  if (!device->wanted) return true;
  std::array<int64_t, kFields> values{};
  for (int64_t& value : values) {
    const auto parsed = take_count(line);
    if (!parsed) return false;
    value = *parsed;
  }
  for (size_t i = 0; i < kFields; ++i) {
    put(sink, device->payload[i], static_cast<uint64_t>(values[i]), [&] {
      return SeriesSpec{kNetworkFields[i],        {{"device", std::string(name)}}, Kind::kCounter, ValueType::kI64, 0,
                        i % 8 == 0 ? "bytes" : ""};
    });
  }
  return true;
}

Status NetworkSource::collect(Sink& sink, int64_t) {
  const auto read = files_.read(path_);
  if (!read) return tl::unexpected<Error>(read.error());
  std::string_view text = *read, line;
  Complaints complaints;
  devices_.begin();
  for (uint32_t number = 1; take_line(text, line); ++number) {
    if (number <= kHeadingLines) continue;
    if (!device_line(sink, line)) complaints.add(path_, number, "expected \"<interface>:\" and 16 counts");
  }
  devices_.end();
  return complaints.status();
}

}  // namespace lambda::agent
