// The real network: MQTT by Eclipse Paho, HTTP by Boost.Beast. Their threads are their own; every handler runs on the
// loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/env/clock.h"
#include "base/env/network.h"
#include "base/log.h"

namespace lambda {

// Loop and log must outlive the network and everything made by it.
class OsNetwork final : public Network {
 public:
  OsNetwork(EventLoop& loop, Log& log) : loop_(loop), log_(log) {}
  std::unique_ptr<MessageBus> bus(BusOptions options, MessageBus::Handlers handlers) override;
  Result<std::unique_ptr<HttpServer>> listen_http(HttpOptions options, HttpServer::Handler handler) override;
  std::unique_ptr<HttpFetcher> http_fetcher() override;

 private:
  EventLoop& loop_;
  Log& log_;
};

// Whether a server may listen there: binds and lets go again. `address` is an IP address. kUnavailable: taken by
// another, for `wait_ms` milliseconds on end, during which the calling thread sleeps; kDenied: not allowed; kInvalid:
// no address of this machine. Any thread.
Status can_listen(const std::string& address, uint16_t port, int64_t wait_ms = 0);

// The three behind it, each in a .cpp of its own.
std::unique_ptr<MessageBus> make_paho_bus(EventLoop& loop, Log& log, BusOptions options, MessageBus::Handlers handlers);
Result<std::unique_ptr<HttpServer>> make_beast_server(EventLoop& loop, Log& log, HttpOptions options,
                                                      HttpServer::Handler handler);
std::unique_ptr<HttpFetcher> make_beast_fetcher(EventLoop& loop);

}  // namespace lambda
