// HttpFetcher by Boost.Beast: one thread for all that is under way. Names are looked up on threads of their own,
// because the system's resolver cannot be told to stop: one that hangs costs its own fetch and nobody else's.
#include <netdb.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/gzip.h"
#include "base/http_url.h"
#include "base/os/network.h"

namespace lambda {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using boost::system::error_code;
using Endpoints = std::vector<tcp::endpoint>;

constexpr uint32_t kHeaderBytesMax = 64u << 10;
constexpr uint32_t kLookUpsMax = 8;  // names being looked up at once; past it: kFull

// Where the url says to go. The path stays as it was written, with its query.
struct Place {
  HttpUrl url;
  std::string target;
};

Result<Place> parse_place(const std::string& url) {
  const size_t query = url.find('?');
  auto parsed = parse_http_url(std::string_view(url).substr(0, query));
  if (!parsed) return tl::unexpected(parsed.error());
  const size_t path = url.find('/', url.find("://") + 3);
  std::string target = path == std::string::npos || path > query ? "/" : url.substr(path, query - path);
  if (query != std::string::npos) target += url.substr(query);
  for (const char c : target) {
    if (c <= ' ' || c == 0x7F || c == '#') return fail(ErrorCode::kInvalid, url + ": a character that no url has");
  }
  return Place{std::move(*parsed), std::move(target)};
}

// Null: cannot be used, `why` says what.
std::unique_ptr<net::ssl::context> make_tls(const HttpFetch& fetch, std::string* why) {
  auto tls = std::make_unique<net::ssl::context>(net::ssl::context::tls_client);
  error_code error;
  tls->set_options(net::ssl::context::no_tlsv1 | net::ssl::context::no_tlsv1_1, error);
  tls->set_verify_mode(net::ssl::verify_peer, error);
  std::string file = fetch.ca_file;
  if (file.empty()) {
    tls->set_default_verify_paths(error);
  } else {
    tls->load_verify_file(file, error);
  }
  if (!error && !fetch.certificate_file.empty()) {
    file = fetch.certificate_file;
    tls->use_certificate_chain_file(file, error);
    if (!error) {
      file = fetch.key_file;
      tls->use_private_key_file(file, net::ssl::context::pem, error);
    }
  }
  if (!error) return tls;
  *why = file + ": " + error.message();
  return nullptr;
}

// Takes as long as the system likes.
Endpoints look_up_now(const std::string& host, uint16_t port, std::string* why) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    *why = ::gai_strerror(error);
    return {};
  }
  Endpoints endpoints;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    tcp::endpoint endpoint;
    if (at->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), at->ai_addr, at->ai_addrlen);
    endpoint.resize(at->ai_addrlen);
    endpoint.port(port);
    endpoints.push_back(endpoint);
  }
  ::freeaddrinfo(found);
  return endpoints;
}

// The way of a looked-up name back to the fetcher's thread, which may be gone by then.
struct Gate {
  std::mutex mutex;
  net::io_context* io;  // guarded by mutex; null: nobody waits any more
  std::atomic<uint32_t> looking_up{0};
};

// One fetch, on the fetcher's thread. Its steps hold it; it ends when it has an outcome or its time is over.
class Fetching : public std::enable_shared_from_this<Fetching> {
 public:
  Fetching(net::io_context& io, std::shared_ptr<Gate> gate, HttpFetch fetch, HttpFetcher::Done finished)
      : io_(io), gate_(std::move(gate)), fetch_(std::move(fetch)), finished_(std::move(finished)), timer_(io) {}

  void start() {
    timer_.expires_after(std::chrono::milliseconds(fetch_.timeout_ms));
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->end(fail(ErrorCode::kUnavailable, self->late_text()));
    });
    auto place = parse_place(fetch_.url);
    if (!place) return end(tl::unexpected(place.error()));
    place_ = std::move(*place);
    if (place_.url.tls) {
      std::string why;
      tls_ = make_tls(fetch_, &why);
      if (tls_ == nullptr) return end(fail(ErrorCode::kInvalid, why));
      secure_.emplace(io_, *tls_);
    } else {
      plain_.emplace(io_);
    }
    look_up();
  }

 private:
  std::string late_text() const { return "no whole answer within " + std::to_string(fetch_.timeout_ms) + " ms"; }
  beast::tcp_stream& lowest() { return secure_ ? beast::get_lowest_layer(*secure_) : *plain_; }

  void look_up() {
    const auto port = static_cast<uint16_t>(std::stoi(place_.url.port));
    error_code no_address;
    const auto address = net::ip::make_address(place_.url.host, no_address);
    if (!no_address) return connect({{address, port}});
    if (place_.url.host == "localhost") {
      return connect({{net::ip::address_v4::loopback(), port}, {net::ip::address_v6::loopback(), port}});
    }
    if (gate_->looking_up.fetch_add(1) >= kLookUpsMax) {
      gate_->looking_up.fetch_sub(1);
      return end(fail(ErrorCode::kFull, "cannot look up the host: too many names are being looked up"));
    }
    // The thread must not hold the fetch itself: it may outlive all that a fetch stands on. The timer holds it.
    std::thread([gate = gate_, fetching = weak_from_this(), host = place_.url.host, port] {
      std::string why;
      Endpoints found = look_up_now(host, port, &why);
      gate->looking_up.fetch_sub(1);
      const std::lock_guard lock(gate->mutex);
      if (gate->io == nullptr) return;
      net::post(*gate->io, [fetching, found = std::move(found), why] {
        if (const auto self = fetching.lock()) self->looked_up(found, why);
      });
    }).detach();
  }

  void looked_up(const Endpoints& found, const std::string& why) {
    if (ended_) return;
    if (found.empty()) return end(fail(ErrorCode::kUnavailable, "cannot find the host: " + why));
    connect(found);
  }

  void connect(const Endpoints& endpoints) {
    endpoints_ = endpoints;
    lowest().async_connect(endpoints_, [self = shared_from_this()](error_code error, const tcp::endpoint&) {
      if (error) return self->failed(ErrorCode::kUnavailable, "cannot connect", error);
      self->shake_hands();
    });
  }

  void shake_hands() {
    if (!secure_) return ask();
    secure_->set_verify_callback(net::ssl::host_name_verification(place_.url.host));
    error_code no_address;
    net::ip::make_address(place_.url.host, no_address);
    if (no_address) SSL_set_tlsext_host_name(secure_->native_handle(), place_.url.host.c_str());
    secure_->async_handshake(net::ssl::stream_base::client, [self = shared_from_this()](error_code error) {
      if (error) return self->failed(ErrorCode::kDenied, "TLS did not agree", error);
      self->ask();
    });
  }

  void ask() {
    request_.method(http::verb::get);
    request_.version(11);
    request_.target(place_.target);
    request_.set(http::field::host, host_and_port(place_.url));
    request_.set(http::field::user_agent, "lambda-agent");
    request_.set(http::field::accept_encoding, "gzip");
    for (const auto& [name, value] : fetch_.headers) request_.set(name, value);
    if (!fetch_.token.empty()) request_.set(http::field::authorization, "Bearer " + fetch_.token);
    request_.keep_alive(false);
    parser_.body_limit(fetch_.body_bytes_max);
    parser_.header_limit(kHeaderBytesMax);
    if (secure_) {
      exchange(*secure_);
    } else {
      exchange(*plain_);
    }
  }

  template <class Stream>
  void exchange(Stream& stream) {
    http::async_write(stream, request_, [self = shared_from_this(), &stream](error_code error, size_t) {
      if (error) return self->failed(ErrorCode::kUnavailable, "cannot send the question", error);
      http::async_read(stream, self->buffer_, self->parser_, [self](error_code read_error, size_t) {
        if (read_error == http::error::body_limit) return self->end(self->too_long());
        if (read_error) return self->failed(ErrorCode::kUnavailable, "no whole answer came", read_error);
        self->answered();
      });
    });
  }

  tl::unexpected<Error> too_long() const {
    return fail(ErrorCode::kFull, "the answer is longer than " + std::to_string(fetch_.body_bytes_max) + " bytes");
  }

  void answered() {
    auto& message = parser_.get();
    HttpPage page{static_cast<int>(message.result_int()), std::string(message[http::field::content_type]), {}};
    const auto encoding = message[http::field::content_encoding];
    if (encoding.empty() || beast::iequals(encoding, "identity")) {
      page.body = std::move(message.body());
    } else if (beast::iequals(encoding, "gzip") || beast::iequals(encoding, "x-gzip")) {
      auto plain = unpack_gzip(message.body(), fetch_.body_bytes_max);
      if (!plain) return end(plain.error().code == ErrorCode::kFull ? too_long() : tl::unexpected(plain.error()));
      page.body = std::move(*plain);
    } else {
      return end(fail(ErrorCode::kInvalid, "the answer is packed with " + std::string(encoding.substr(0, 40)) +
                                               ", which was not asked for"));
    }
    end(std::move(page));
  }

  void failed(ErrorCode code, const std::string& what, error_code error) {
    const bool tls = error.category() == net::error::get_ssl_category();
    end(fail(tls ? ErrorCode::kDenied : code, (tls ? "TLS did not agree" : what) + ": " + error.message()));
  }

  void end(Result<HttpPage> outcome) {
    if (ended_) return;
    ended_ = true;
    timer_.cancel();
    if (secure_ || plain_) lowest().close();
    finished_(std::move(outcome));
    finished_ = nullptr;
  }

  net::io_context& io_;
  const std::shared_ptr<Gate> gate_;
  const HttpFetch fetch_;
  HttpFetcher::Done finished_;
  net::steady_timer timer_;
  Place place_;
  Endpoints endpoints_;
  std::unique_ptr<net::ssl::context> tls_;
  std::optional<beast::tcp_stream> plain_;
  std::optional<beast::ssl_stream<beast::tcp_stream>> secure_;
  http::request<http::empty_body> request_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
  bool ended_ = false;
};

class BeastFetcher final : public HttpFetcher {
 public:
  explicit BeastFetcher(EventLoop& loop) : loop_(loop) { gate_->io = &io_; }

  ~BeastFetcher() override {
    *alive_ = false;
    {
      const std::lock_guard lock(gate_->mutex);
      gate_->io = nullptr;
    }
    if (!thread_.joinable()) return;
    io_.stop();
    thread_.join();
  }

  void get(HttpFetch fetch, Done done) override {
    if (!thread_.joinable()) thread_ = std::thread([this] { io_.run(); });
    auto finished = [&loop = loop_, alive = alive_, done = std::move(done)](Result<HttpPage> outcome) {
      loop.post([alive, done, outcome = std::move(outcome)]() mutable {
        if (*alive) done(std::move(outcome));
      });
    };
    auto fetching = std::make_shared<Fetching>(io_, gate_, std::move(fetch), std::move(finished));
    net::post(io_, [fetching = std::move(fetching)] { fetching->start(); });
  }

 private:
  EventLoop& loop_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // read and written on the loop thread
  net::io_context io_{1};
  net::executor_work_guard<net::io_context::executor_type> work_{io_.get_executor()};
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  std::thread thread_;  // from the first fetch on
};

}  // namespace

std::unique_ptr<HttpFetcher> make_beast_fetcher(EventLoop& loop) {
  return std::make_unique<BeastFetcher>(loop);
}

}  // namespace lambda
