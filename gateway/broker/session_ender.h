// Ends the broker session of a device that may not be there any more.
//
// MQTT has no message for this, and a mosquitto that has reloaded its revocation list lets a revoked client's session
// go on. What every broker does, since MQTT says so, is to close the old connection when a client of the same id
// connects. So the gateway connects for a moment in the device's name, with a certificate it makes for that. Why not
// otherwise: docs/decisions/0002-sessions-and-revocation.md.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/env/env.h"
#include "base/result.h"

namespace lambda::gateway {

// Certificate and key files in the name of `device`.
struct EvictionFiles {
  std::string ca_file, certificate_file, key_file;
};

struct SessionEnderOptions {
  size_t waiting_devices_max = 1024;  // past it the oldest wish is dropped and counted: ingest refuses them anyhow
  int64_t again_after_ms = 5'000;     // the same device is not thrown out more often
  int64_t give_up_ms = 5'000;         // a take-over that takes longer has failed
  uint32_t tries_max = 5;             // failed take-overs of one device in a row
};

struct SessionEnderCounters {
  uint64_t ended = 0, failed = 0, dropped = 0;
};

class SessionEnder {
 public:
  using Url = std::function<std::string()>;
  using Files = std::function<Result<EvictionFiles>(const std::string& device)>;
  // `url` and `files` are asked at each take-over.
  SessionEnder(Env& env, SessionEnderOptions options, Url url, Files files);
  ~SessionEnder();

  // Soon, once; wishes for a device that is waiting already, or was served less than again_after_ms ago, are one.
  void end(const std::string& device);
  // The same after a pause, whatever was done before: for the second round after a revocation.
  void end_after(const std::string& device, int64_t delay_ms);

  const SessionEnderCounters& counters() const { return counters_; }
  size_t waiting() const { return queue_.size() + (current_.empty() ? 0 : 1); }

 private:
  void enqueue(const std::string& device);
  void next();
  void finish(bool ended);
  void forget_old();

  Env& env_;
  SessionEnderOptions options_;
  Url url_;
  Files files_;
  std::deque<std::string> queue_;
  std::map<std::string, int64_t> served_mono_ms_;  // at most waiting_devices_max
  std::map<std::string, uint32_t> tries_;          // of devices in queue_ or current
  std::string current_;
  std::unique_ptr<MessageBus> bus_;
  EventLoop::TimerId timer_ = 0;
  uint64_t round_ = 0;
  bool posted_ = false;
  SessionEnderCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
