// An HttpServer by Boost.Beast: one thread with an io_context of its own; requests are handed to the loop, answers come
// back from any thread.
//
// Ownership: the Core (io_context, options, counters) is shared by the server and by answers that are still to come.
// Connections belong to their own pending operations, and so to the io_context, or to the answer they wait for.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/os/http_crowd.h"
#include "base/os/http_text.h"
#include "base/os/network.h"

namespace lambda {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using boost::system::error_code;

constexpr uint32_t kHeaderBytesMax = 16u << 10;
constexpr auto kLingerMax = std::chrono::seconds(2);
constexpr size_t kLingerBytesMax = 8u << 20;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr size_t kBufferKeptMax = 4u << 10;  // between two requests

HttpResponse text_answer(int status, std::string text) {
  return {status, "text/plain; charset=utf-8", std::move(text) + "\n"};
}

struct Core {
  Core(EventLoop& l, HttpOptions o, HttpServer::Handler h, bool c)
      : options(std::move(o)),
        changes(c),
        loop(l),
        handler(std::move(h)),
        crowd(options.connections_max, options.held_bytes_max) {}

  const HttpOptions options;
  const bool changes;  // PUT and DELETE are handed over too
  EventLoop& loop;
  HttpServer::Handler handler;                                       // called and cleared on the loop thread
  const std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // loop thread only
  std::optional<net::ssl::context> tls;
  HttpCrowd crowd;
  std::atomic<uint64_t> requests{0}, connections_refused{0}, requests_refused{0}, requests_without_room{0};
  net::io_context io{1};  // last: its end destroys the sessions, which use the rest
};

// What an answer needs to find its way back.
class Session : public std::enable_shared_from_this<Session>, public HttpCrowd::Member {
 public:
  virtual void answer(HttpResponse response) = 0;  // on the server's thread
};

// Answers exactly once: with what it is given, or with a 500 when nobody answers.
class Answer {
 public:
  Answer(std::shared_ptr<Core> core, std::shared_ptr<Session> session)
      : core_(std::move(core)), session_(std::move(session)) {}
  ~Answer() { give(text_answer(500, "no answer was made")); }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  void give(HttpResponse response) {
    if (given_.exchange(true)) return;
    // The session goes with it: it may only end on the server's thread, or with the io_context.
    net::post(core_->io, [session = std::move(session_), response = std::move(response)]() mutable {
      session->answer(std::move(response));
    });
  }

 private:
  std::atomic<bool> given_{false};
  const std::shared_ptr<Core> core_;
  std::shared_ptr<Session> session_;
};

// One connection. Everything runs on the server's thread.
template <class Stream>
class Connection final : public Session {
 public:
  Connection(const std::shared_ptr<Core>& core, Stream stream)
      : core_(*core), weak_core_(core), stream_(std::move(stream)) {
    core_.crowd.enter(*this);
  }
  ~Connection() override { core_.crowd.end(*this); }

  void leave() override { close(); }

  void start() {
    if constexpr (kTls) {
      wait_for_client();
      stream_.async_handshake(net::ssl::stream_base::server, [self = self()](error_code error) {
        if (error) {
          self->core_.requests_refused++;
          return;
        }
        self->read_header();
      });
    } else {
      read_header();
    }
  }

  void answer(HttpResponse response) override {
    if (response.status < 400) core_.crowd.served(*this);
    http::response<http::string_body> out{static_cast<http::status>(response.status), version_};
    out.set(http::field::content_type, response.content_type);
    for (const auto& [name, value] : response.headers) out.set(name, value);
    out.set("X-Content-Type-Options", "nosniff");
    if (response.status == 401) out.set(http::field::www_authenticate, "Bearer");
    if (response.status == 405 && out.count(http::field::allow) == 0) {
      out.set(http::field::allow, core_.changes ? "GET, HEAD, POST, PUT, DELETE" : "GET, HEAD, POST");
    }
    out.keep_alive(keep_alive_);
    out.body() = std::move(response.body);
    out.prepare_payload();
    response_ = std::move(out);
    wait_for_client();
    core_.crowd.holds(*this, response_.body().size());  // it is made already: others that wait make room for it
    const auto done = [self = self()](error_code error, size_t) {
      if (error) return;
      self->response_ = {};
      self->core_.crowd.holds(*self, 0);
      self->keep_alive_ ? self->read_header() : self->linger();
    };
    if (head_only_) {
      serializer_.emplace(response_);
      serializer_->split(true);
      http::async_write_header(stream_, *serializer_, done);
    } else {
      http::async_write(stream_, response_, done);
    }
  }

 private:
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;

  std::shared_ptr<Connection> self() { return std::static_pointer_cast<Connection>(this->shared_from_this()); }
  // One limit for the whole operation that follows: a client that sends a byte a second gains nothing by it.
  void wait_for_client() {
    core_.crowd.waits(*this);
    beast::get_lowest_layer(stream_).expires_after(std::chrono::milliseconds(core_.options.idle_timeout_ms));
  }

  void read_header() {
    parser_.emplace();
    parser_->header_limit(kHeaderBytesMax);
    parser_->body_limit(core_.options.body_bytes_max);
    version_ = 11;
    keep_alive_ = head_only_ = false;
    if (buffer_.size() == 0 && buffer_.capacity() > kBufferKeptMax) buffer_.shrink_to_fit();
    wait_for_client();
    http::async_read_header(stream_, buffer_, *parser_, [self = self()](error_code error, size_t) {
      if (error) return self->read_failed(error);
      self->admit();
    });
  }

  // Before a byte of the body is taken: who may not ask may not fill memory either.
  void admit() {
    const auto& message = parser_->get();
    version_ = message.version();
    head_only_ = message.method() == http::verb::head;
    const bool change = message.method() == http::verb::put || message.method() == http::verb::delete_;
    const bool known = head_only_ || message.method() == http::verb::get || message.method() == http::verb::post ||
                       (change && core_.changes);
    const auto text = message[http::field::authorization];
    keep_alive_ = message.keep_alive() && parser_->is_done();
    if (!core_.options.token.empty() && !has_bearer_token({text.data(), text.size()}, core_.options.token)) {
      return refuse(401, "a bearer token is needed");
    }
    keep_alive_ = false;
    const auto host = message[http::field::host], origin = message[http::field::origin];
    const bool open = core_.options.token.empty() && core_.options.client_ca_file.empty();
    if (open && asks_from_afar({host.data(), host.size()}, {origin.data(), origin.size()})) {
      return refuse(403,
                    "without a token only addresses and names without a dot are answered to, and no pages of others");
    }
    if (!known) {
      return refuse(405, core_.changes ? "only GET, HEAD, POST, PUT and DELETE are answered"
                                       : "only GET, HEAD and POST are answered");
    }
    parser_->eager(true);
    if (beast::iequals(message[http::field::expect], "100-continue")) return go_on();
    read_body();
  }

  void go_on() {
    continue_ = {http::status::continue_, parser_->get().version()};
    http::async_write(stream_, continue_, [self = self()](error_code error, size_t) {
      if (!error) self->read_body();
    });
  }

  void read_body() {
    if (parser_->is_done()) return handle();
    http::async_read_some(stream_, buffer_, *parser_, [self = self()](error_code error, size_t) {
      if (error) return self->read_failed(error);
      if (!self->core_.crowd.holds(*self, self->parser_->get().body().size())) {
        self->core_.requests_without_room++;
        return self->refuse(503, "no room for another request; ask again in a moment");
      }
      self->read_body();
    });
  }

  void read_failed(error_code error) {
    int status = 0;
    if (error == http::error::body_limit) {
      status = 413;
    } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      status = 431;
    } else if (error != http::error::end_of_stream && error != http::error::partial_message &&
               error.category() == make_error_code(http::error::bad_version).category()) {
      status = 400;
    }
    if (status == 0) return;  // the other side went away, or was too slow: nothing to tell
    refuse(status, status == 413 ? "the body is longer than " + std::to_string(core_.options.body_bytes_max) + " bytes"
                                 : error.message());
  }

  void refuse(int status, const std::string& text) {
    core_.requests_refused++;
    auto response = text_answer(status, text);
    if (status == 503) response.headers.emplace_back("Retry-After", "1");
    answer(std::move(response));
  }

  void handle() {
    auto message = parser_->release();
    core_.requests++;
    HttpRequest request;
    for (const auto& field : message) {
      std::string name(field.name_string());
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      auto& value = request.headers[name];
      value = value.empty() ? std::string(field.value()) : value + ", " + std::string(field.value());
    }
    request.method = head_only_ ? "GET" : std::string(message.method_string());
    const auto target = message.target();
    if (const std::string wrong = read_http_target({target.data(), target.size()}, request); !wrong.empty()) {
      return refuse(400, wrong);
    }
    const auto type = request.headers.find("content-type");
    if (type != request.headers.end()) read_http_form(type->second, message.body(), request);
    keep_alive_ = message.keep_alive();
    request.body = std::move(message.body());
    hand_over(std::move(request));
  }

  // The answer to come keeps the connection alive.
  void hand_over(HttpRequest request) {
    auto core = weak_core_.lock();
    if (!core) return;
    core_.crowd.works(*this);
    beast::get_lowest_layer(stream_).expires_never();
    auto respond = std::make_shared<Answer>(core, self());
    core_.loop.post([core, alive = core->alive, request = std::move(request), respond = std::move(respond)] {
      if (*alive) core->handler(request, [respond](HttpResponse response) { respond->give(std::move(response)); });
    });
  }

  // Ends the connection in a way that the other side can read the answer: what it still sends is read for a moment, for
  // a closed socket would answer that with a reset, which may overtake the answer.
  void linger() {
    core_.crowd.waits(*this);
    beast::get_lowest_layer(stream_).expires_after(kLingerMax);
    if constexpr (kTls) {
      stream_.async_shutdown([self = self()](error_code) { self->close(); });
    } else {
      error_code ignored;
      stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
      scratch_.resize(8192);
      drain(0);
    }
  }

  void drain(size_t total) {
    if constexpr (!kTls) {
      stream_.async_read_some(net::buffer(scratch_), [self = self(), total](error_code error, size_t bytes) {
        if (error || total + bytes > kLingerBytesMax) return self->close();
        self->drain(total + bytes);
      });
    }
  }

  void close() {
    error_code ignored;
    beast::get_lowest_layer(stream_).socket().close(ignored);
  }

  Core& core_;
  const std::weak_ptr<Core> weak_core_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::empty_body> continue_;
  http::response<http::string_body> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::vector<char> scratch_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool head_only_ = false;
};

class BeastServer final : public HttpServer {
 public:
  BeastServer(std::shared_ptr<Core> core, tcp::acceptor acceptor, Log& log)
      : core_(std::move(core)), acceptor_(std::move(acceptor)), pause_(core_->io), log_(log) {
    port_ = acceptor_.local_endpoint().port();
    accept();
    thread_ = std::thread([this] { core_->io.run(); });
  }

  ~BeastServer() override {
    *core_->alive = false;
    core_->io.stop();
    thread_.join();
    core_->handler = nullptr;  // answers that are still out keep the Core, but nothing of the handler's world
  }

  uint16_t port() const override { return port_; }
  HttpCounters counters() const override {
    HttpCounters out;
    out.requests = core_->requests;
    out.requests_refused = core_->requests_refused;
    out.requests_without_room = core_->requests_without_room;
    out.connections = core_->crowd.connections();
    out.connections_refused = core_->connections_refused;
    out.connections_dropped = core_->crowd.dropped();
    out.held_bytes = core_->crowd.held_bytes();
    return out;
  }

 private:
  void accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error) {  // out of descriptors, most likely: others must end first
        if (!std::exchange(accept_fails_, true)) log_.warn("http_accept_failed", {{"error", error.message()}});
        core_->crowd.drop_one();
        pause_.expires_after(kAcceptPause);
        pause_.async_wait([this](error_code stopped) {
          if (!stopped) accept();
        });
        return;
      }
      accept_fails_ = false;
      take(std::move(socket));
      accept();
    });
  }

  void take(tcp::socket socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    if (!core_->crowd.make_room()) {
      core_->connections_refused++;
      if (core_->tls) return;
      // Fits into the socket's empty buffer, so this neither blocks nor comes out in part.
      constexpr std::string_view kFull =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      socket.non_blocking(true, ignored);
      socket.write_some(net::buffer(kFull.data(), kFull.size()), ignored);
      socket.shutdown(tcp::socket::shutdown_send, ignored);
      return;
    }
    if (core_->tls) {
      using Tls = beast::ssl_stream<beast::tcp_stream>;
      std::make_shared<Connection<Tls>>(core_, Tls(beast::tcp_stream(std::move(socket)), *core_->tls))->start();
    } else {
      std::make_shared<Connection<beast::tcp_stream>>(core_, beast::tcp_stream(std::move(socket)))->start();
    }
  }

  const std::shared_ptr<Core> core_;
  tcp::acceptor acceptor_;
  net::steady_timer pause_;
  Log& log_;
  bool accept_fails_ = false;
  uint16_t port_ = 0;
  std::thread thread_;
};

Status set_up_tls(Core& core) {
  const HttpOptions& options = core.options;
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return fail(ErrorCode::kInvalid, "http: certificate and key are needed both or neither");
  }
  if (options.certificate_file.empty()) {
    if (options.client_ca_file.empty()) return {};
    return fail(ErrorCode::kInvalid, "http: client certificates need a certificate and key of the server");
  }
  auto& tls = core.tls.emplace(net::ssl::context::tls_server);
  tls.set_options(net::ssl::context::no_tlsv1 | net::ssl::context::no_tlsv1_1);
  error_code error;
  tls.use_certificate_chain_file(options.certificate_file, error);
  if (error) return fail(ErrorCode::kInvalid, options.certificate_file + ": " + error.message());
  tls.use_private_key_file(options.key_file, net::ssl::context::pem, error);
  if (error) return fail(ErrorCode::kInvalid, options.key_file + ": " + error.message());
  if (!options.client_ca_file.empty()) {
    tls.load_verify_file(options.client_ca_file, error);
    if (error) return fail(ErrorCode::kInvalid, options.client_ca_file + ": " + error.message());
    tls.set_verify_mode(net::ssl::verify_peer | net::ssl::verify_fail_if_no_peer_cert, error);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<HttpServer>> make_beast_server(EventLoop& loop, Log& log, HttpOptions options,
                                                      HttpServer::Handler handler, bool changes) {
  error_code error;
  const auto address = net::ip::make_address(options.address, error);
  if (error) return fail(ErrorCode::kInvalid, "http: \"" + options.address + "\" is no IP address");
  if (!address.is_loopback() && options.token.empty() && options.client_ca_file.empty()) {
    return fail(ErrorCode::kDenied,
                "http: " + options.address + " is not a loopback address; set a token or ask for client certificates");
  }
  auto core = std::make_shared<Core>(loop, std::move(options), std::move(handler), changes);
  if (auto status = set_up_tls(*core); !status) return tl::unexpected(status.error());

  const tcp::endpoint endpoint(address, core->options.port);
  tcp::acceptor acceptor(core->io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
  if (error) {
    return fail(ErrorCode::kUnavailable, "http: " + core->options.address + " port " +
                                             std::to_string(core->options.port) + ": " + error.message());
  }
  return std::make_unique<BeastServer>(std::move(core), std::move(acceptor), log);
}

}  // namespace lambda
