#include "agent/source/sockets_source.h"

#include <charconv>

#include "agent/source/kernel_file.h"
#include "agent/source/text.h"

namespace lambda::agent {
namespace {

// From 1, as the kernel numbers them.
constexpr const char* kStateNames[] = {
    "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2",       "time_wait",       "close",
    "close_wait",  "last_ack", "listen",   "closing",   "rx_queued_bytes", "tx_queued_bytes",
};
constexpr size_t kKernelStates = 11;

// The whole of `field` as a hexadecimal number.
std::optional<uint64_t> to_hex(std::string_view field) {
  uint64_t value = 0;
  const char* end = field.data() + field.size();
  const auto [at, error] = std::from_chars(field.data(), end, value, 16);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace

SocketsSource::SocketsSource(HostFiles& files, const std::string& root, int64_t interval_ms)
    : files_(files),
      interval_ms_(interval_ms),
      page_bytes_(files.page_bytes()),
      counts_paths_{net_path(root, "sockstat"), net_path(root, "sockstat6")},
      connection_paths_{net_path(root, "tcp"), net_path(root, "tcp6")} {
  static_assert(std::size(kStateNames) == kStates);
}

// TCP: inuse 27 orphan 0 tw 0 alloc 31 mem 3
bool SocketsSource::counts(Sink& sink, std::string_view line) {
  std::string_view protocol = take_field(line);
  if (protocol.size() < 2 || !protocol.ends_with(':')) return false;
  protocol.remove_suffix(1);
  for (std::string_view key = take_field(line); !key.empty(); key = take_field(line)) {
    const auto value = take_count(line);
    if (!value) return false;
    count(sink, protocol, key, *value);
  }
  return true;
}

void SocketsSource::count(Sink& sink, std::string_view protocol, std::string_view key, int64_t value) {
  key_.assign(protocol).append("_").append(key);
  auto* entry = entries_.find(key_);
  if (entry == nullptr) entry = entries_.add(key_, true);
  if (entry == nullptr || entry->seen) return;
  entry->seen = true;
  const auto spec = [&](const char* suffix, const char* unit) {
    return SeriesSpec{"node_sockstat_" + key_ + suffix, {}, Kind::kGauge, ValueType::kI64, 0, unit};
  };
  put(sink, entry->payload.slot, static_cast<uint64_t>(value), [&] { return spec("", ""); });
  if (key != "mem" || value > INT64_MAX / int64_t{1 << 20}) return;  // in pages
  put(sink, entry->payload.bytes_slot, static_cast<uint64_t>(value) * page_bytes_,
      [&] { return spec("_bytes", "bytes"); });
}

//   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 ...
bool SocketsSource::connection(std::string_view line) {
  for (int skipped = 0; skipped < 3; ++skipped) take_field(line);
  const auto state = to_hex(take_field(line));
  const std::string_view queues = take_field(line);
  const size_t colon = queues.find(':');
  if (!state || colon == std::string_view::npos) return false;
  const auto sending = to_hex(queues.substr(0, colon)), receiving = to_hex(queues.substr(colon + 1));
  if (!sending || !receiving) return false;
  // Later kernels have a state of requests that are no connections yet: as it is, nobody asks for it.
  if (*state >= 1 && *state <= kKernelStates) states_[*state - 1]++;
  states_[kKernelStates] += *receiving;
  states_[kKernelStates + 1] += *sending;
  return true;
}

// A state that was never seen has no series; one that was goes on with zero.
void SocketsSource::tell_states(Sink& sink) {
  for (size_t i = 0; i < kStates; ++i) {
    if (states_[i] == 0 && !state_slots_[i].known && i < kKernelStates) continue;
    put(sink, state_slots_[i], states_[i], [&] {
      return SeriesSpec{
          "node_tcp_connection_states", {{"state", kStateNames[i]}}, Kind::kGauge, ValueType::kI64, 0, ""};
    });
  }
}

Status SocketsSource::collect(Sink& sink, int64_t) {
  Complaints complaints;
  std::string_view line;
  entries_.begin();
  for (const std::string& path : counts_paths_) {
    const auto read = files_.read(path);
    if (!read && read.error().code == ErrorCode::kNotFound) continue;  // no IPv6
    if (!read) return tl::unexpected<Error>(read.error());
    std::string_view text = *read;
    for (uint32_t number = 1; take_line(text, line); ++number) {
      if (!counts(sink, line)) complaints.add(path, number, "expected \"<protocol>: <name> <count> ...\"");
    }
  }
  entries_.end();
  states_ = {};
  bool any = false;
  for (const std::string& path : connection_paths_) {
    const auto read = files_.read(path);
    if (!read && read.error().code == ErrorCode::kNotFound) continue;
    if (!read) return tl::unexpected<Error>(read.error());
    any = true;
    std::string_view text = *read;
    take_line(text, line);  // the heading
    for (uint32_t number = 2; take_line(text, line); ++number) {
      if (!connection(line)) complaints.add(path, number, "expected a connection's addresses, state and queues");
    }
  }
  if (any) tell_states(sink);
  return complaints.status();
}

}  // namespace lambda::agent
