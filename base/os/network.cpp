#include "base/os/network.h"

namespace lambda {

std::unique_ptr<MessageBus> OsNetwork::bus(BusOptions options, MessageBus::Handlers handlers) {
  return make_paho_bus(loop_, log_, std::move(options), std::move(handlers));
}

Result<std::unique_ptr<HttpServer>> OsNetwork::listen_http(HttpOptions options, HttpServer::Handler handler) {
  return make_beast_server(loop_, log_, std::move(options), std::move(handler));
}

}  // namespace lambda
