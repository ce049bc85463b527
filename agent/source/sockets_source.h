// /proc/net/sockstat, sockstat6: node_sockstat_*; /proc/net/tcp, tcp6: node_tcp_connection_states{state}. For the
// latter the kernel walks its whole table of connections, however few there are: 3 ms for each of the two files where
// the table has 262,144 places. Hence the longer interval. Past kHostFileBytesMax (some 28,000 connections) the states
// are not told, and that is the collection's error.
#pragma once

#include <array>
#include <string>

#include "agent/source/device_table.h"
#include "agent/source/source.h"
#include "base/env/host_files.h"

namespace lambda::agent {

class SocketsSource final : public Source {
 public:
  SocketsSource(HostFiles& files, const std::string& root, int64_t interval_ms);
  std::string_view name() const override { return "sockets"; }
  int64_t interval_ms() const override { return interval_ms_; }
  Status collect(Sink& sink, int64_t time_ms) override;

 private:
  static constexpr size_t kStates = 13;  // the kernel's eleven, bytes waiting to be read and to be sent
  struct Entry {
    std::string name;
    SeriesSlot slot, bytes_slot;
  };
  bool counts(Sink& sink, std::string_view line);
  void count(Sink& sink, std::string_view protocol, std::string_view key, int64_t value);
  bool connection(std::string_view line);
  void tell_states(Sink& sink);

  HostFiles& files_;
  const int64_t interval_ms_;
  const uint64_t page_bytes_;
  const std::array<std::string, 2> counts_paths_, connection_paths_;
  DeviceTable<Entry> entries_;
  std::string key_;
  std::array<uint64_t, kStates> states_{};
  std::array<SeriesSlot, kStates> state_slots_;
};

}  // namespace lambda::agent
