// systemd as the service manager, asked over D-Bus. All talk with the bus is on a thread of its own, which waits for
// nothing but its socket and the next question: a bus that is slow, hangs or talks nonsense costs this thread's time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/env/clock.h"
#include "base/env/service_manager.h"

namespace lambda {

struct ServiceManagerOptions {
  // Path of the socket of a bus that systemd is on, or of systemd's own one, which ends in "/systemd/private".
  std::string socket = "/run/dbus/system_bus_socket";
  int64_t answer_ms_max = 5'000;
  // Which units to tell of, by name; called on the thread. Empty: all.
  std::function<bool(std::string_view)> wants{};
};

// `loop` must outlive it. The thread begins with the first question for which there is a socket; the connection stays.
std::unique_ptr<ServiceManager> make_service_manager(EventLoop& loop, ServiceManagerOptions options);

}  // namespace lambda
