#include "base/os/http_client.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <utility>

namespace lambda {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using boost::system::error_code;

constexpr uint32_t kHeaderBytesMax = 64u << 10;

std::string encode_form(const std::multimap<std::string, std::string>& parameters) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  static constexpr std::string_view kPlain = "-._~";
  const auto encode = [](const std::string& text, std::string& out) {
    for (const char c : text) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (letter || kPlain.find(c) != std::string_view::npos) {
        out += c;
      } else {
        out += '%';
        out += kHex[static_cast<uint8_t>(c) >> 4];
        out += kHex[static_cast<uint8_t>(c) & 15];
      }
    }
  };
  std::string out;
  for (const auto& [name, value] : parameters) {
    out += out.empty() ? "" : "&";
    encode(name, out);
    out += '=';
    encode(value, out);
  }
  return out;
}

http::request<http::string_body> make_request(const HttpCall& call, const HttpUrl& url) {
  const http::verb method =
      call.method.empty() ? (call.post ? http::verb::post : http::verb::get) : http::string_to_verb(call.method);
  http::request<http::string_body> request(method, url.path, 11);
  const std::string form = encode_form(call.parameters);
  if (!call.content_type.empty()) {
    request.set(http::field::content_type, call.content_type);
    request.body() = call.body;
    if (!form.empty()) {
      request.target(url.path + "?" + form);
    }
  } else if (call.post) {
    request.set(http::field::content_type, "application/x-www-form-urlencoded");
    request.body() = form;
  } else if (!form.empty()) {
    request.target(url.path + "?" + form);
  }
  const bool ipv6 = url.host.find(':') != std::string::npos;
  request.set(http::field::host, (ipv6 ? "[" + url.host + "]" : url.host) + ":" + url.port);
  request.set(http::field::user_agent, "lambda");
  request.set(http::field::accept, "application/json");
  if (!call.token.empty()) {
    request.set(http::field::authorization, "Bearer " + call.token);
  }
  for (const auto& [name, value] : call.headers) {
    request.set(name, value);
  }
  request.keep_alive(false);
  request.prepare_payload();
  return request;
}

// The steps of one call; each starts the next. The io_context runs on the caller's stack.
template <class Stream>
class Conversation {
 public:
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;

  Conversation(net::io_context& io, Stream& stream, const HttpCall& call, const HttpUrl& url)
      : resolver_(io), stream_(stream), call_(call), url_(url), request_(make_request(call, url)) {
    parser_.body_limit(call.body_bytes_max);
    parser_.header_limit(kHeaderBytesMax);
  }

  void start() {
    // The name may take as long as the system likes: the caller's run_for() bounds it.
    resolver_.async_resolve(url_.host, url_.port, [this](error_code error, const tcp::resolver::results_type& found) {
      if (error) {
        return failed(ErrorCode::kUnavailable, "cannot find the host", error);
      }
      auto& lowest = beast::get_lowest_layer(stream_);
      lowest.expires_after(std::chrono::milliseconds(call_.timeout_ms));
      lowest.async_connect(found, [this](error_code connect_error, const tcp::endpoint&) {
        if (connect_error) {
          return failed(ErrorCode::kUnavailable, "cannot connect", connect_error);
        }
        shake_hands();
      });
    });
  }

  std::optional<Result<HttpResponse>> outcome;
  std::function<void()> ended;  // `outcome` is there, and nothing is under way any more; may be empty

  void cancel() {
    resolver_.cancel();
    beast::get_lowest_layer(stream_).cancel();
  }

 private:
  void end(Result<HttpResponse> result) {
    outcome = std::move(result);
    if (ended) {
      ended();
    }
  }

  void shake_hands() {
    if constexpr (kTls) {
      stream_.async_handshake(net::ssl::stream_base::client, [this](error_code error) {
        if (error) {
          return failed(ErrorCode::kDenied, "TLS did not agree", error);
        }
        ask();
      });
    } else {
      ask();
    }
  }

  void ask() {
    http::async_write(stream_, request_, [this](error_code error, size_t) {
      if (error) {
        return failed(ErrorCode::kUnavailable, "cannot send the question", error);
      }
      http::async_read(stream_, buffer_, parser_, [this](error_code read_error, size_t) {
        if (read_error == http::error::body_limit) {
          end(fail(ErrorCode::kFull,
                   call_.url + ": the answer is longer than " + std::to_string(call_.body_bytes_max) + " bytes"));
        } else if (read_error) {
          failed(ErrorCode::kUnavailable, "no whole answer came", read_error);
        } else {
          auto& message = parser_.get();
          end(HttpResponse{static_cast<int>(message.result_int()), std::string(message[http::field::content_type]),
                           std::move(message.body())});
        }
      });
    });
  }

  // With TLS 1.3 a server refuses our certificate, or asks for one, only after its side of the handshake is done.
  void failed(ErrorCode code, const std::string& what, error_code error) {
    if (error.category() == net::error::get_ssl_category()) {
      end(fail(ErrorCode::kDenied, call_.url + ": TLS did not agree: " + error.message()));
      return;
    }
    end(fail(code, call_.url + ": " + what + ": " + error.message()));
  }

  tcp::resolver resolver_;
  Stream& stream_;
  const HttpCall& call_;
  const HttpUrl& url_;
  http::request<http::string_body> request_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
};

template <class Stream>
Result<HttpResponse> converse(net::io_context& io, Stream& stream, const HttpCall& call, const HttpUrl& url) {
  Conversation<Stream> conversation(io, stream, call, url);
  conversation.start();
  io.run_for(std::chrono::milliseconds(call.timeout_ms));
  if (!conversation.outcome) {
    return fail(ErrorCode::kUnavailable, call.url + ": no answer within " + std::to_string(call.timeout_ms) + " ms");
  }
  return std::move(*conversation.outcome);
}

// Names the file that cannot be used.
Status set_up_tls(const HttpCall& call, net::ssl::context& tls) {
  error_code error;
  tls.set_options(net::ssl::context::no_tlsv1 | net::ssl::context::no_tlsv1_1, error);
  tls.set_verify_mode(net::ssl::verify_peer, error);
  std::string file = call.ca_file;
  if (file.empty()) {
    tls.set_default_verify_paths(error);
  } else {
    tls.load_verify_file(file, error);
  }
  if (!error && !call.certificate_file.empty()) {
    file = call.certificate_file;
    tls.use_certificate_chain_file(file, error);
    if (!error) {
      file = call.key_file;
      tls.use_private_key_file(file, net::ssl::context::pem, error);
    }
  }
  if (error) {
    return fail(ErrorCode::kInvalid, file + ": " + error.message());
  }
  return {};
}

}  // namespace

Result<HttpUrl> parse_http_url(std::string_view url) {
  const auto bad = [whole = url](const std::string& why) {
    return fail(ErrorCode::kInvalid,
                "\"" + std::string(whole) + "\" " + why + "; write http://host:port or https://host:port");
  };
  HttpUrl out;
  std::string_view rest = url;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    out.tls = true;
    rest.remove_prefix(8);
  } else {
    return bad("begins with neither http:// nor https://");
  }
  for (const char c : rest) {
    if (c <= ' ' || c == 0x7F || c == '?' || c == '#' || c == '@' || c == '"') {
      return bad("has a character that is not allowed here");
    }
  }
  const size_t slash = rest.find('/');
  out.path = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  while (out.path.size() > 1 && out.path.back() == '/') {
    out.path.pop_back();
  }
  std::string_view authority = rest.substr(0, slash);
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) {
      return bad("has no ] behind its address");
    }
    out.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
  } else {
    out.host = authority.substr(0, authority.find(':'));
    authority.remove_prefix(out.host.size());
  }
  if (out.host.empty()) {
    return bad("has no host");
  }
  if (authority.empty()) {
    out.port = out.tls ? "443" : "80";
    return out;
  }
  out.port = authority.substr(1);
  const bool digits = std::ranges::all_of(out.port, [](char c) { return c >= '0' && c <= '9'; });
  if (authority[0] != ':' || out.port.empty() || out.port.size() > 5 || !digits || std::stoi(out.port) > 65535) {
    return bad("has no port of 1 to 65535");
  }
  return out;
}

namespace {

using TlsStream = beast::ssl_stream<beast::tcp_stream>;

void name_the_host(TlsStream& stream, const HttpUrl& url) {
  stream.set_verify_callback(net::ssl::host_name_verification(url.host));
  error_code no_address;
  net::ip::make_address(url.host, no_address);
  if (no_address) {  // RFC 6066: the name that is asked for is never an address
    SSL_set_tlsext_host_name(stream.native_handle(), url.host.c_str());
  }
}

}  // namespace

Result<HttpResponse> call_http(const HttpCall& call) {
  const auto url = parse_http_url(call.url);
  if (!url) {
    return tl::unexpected(url.error());
  }
  net::io_context io(1);
  if (!url->tls) {
    beast::tcp_stream stream(io);
    return converse(io, stream, call, *url);
  }
  net::ssl::context tls(net::ssl::context::tls_client);
  if (auto ready = set_up_tls(call, tls); !ready) {
    return tl::unexpected(ready.error());
  }
  TlsStream stream(io, tls);
  name_the_host(stream, *url);
  return converse(io, stream, call, *url);
}

// ---- many at once

struct OsHttpClient::Core {
  // One question under way. Lives until its last operation has ended, which may be after it was answered: nobody can
  // hurry the system's resolver.
  struct Asked {
    Asked(Core& core, HttpCall c, HttpUrl u, HttpClient::Answered a)
        : call(std::move(c)), url(std::move(u)), answered(std::move(a)), deadline(core.io) {}
    HttpCall call;
    HttpUrl url;
    HttpClient::Answered answered;
    net::steady_timer deadline;
    std::optional<net::ssl::context> tls;
    std::optional<beast::tcp_stream> plain;
    std::optional<TlsStream> secure;
    std::optional<Conversation<beast::tcp_stream>> plain_talk;
    std::optional<Conversation<TlsStream>> secure_talk;
    void cancel() { plain_talk ? plain_talk->cancel() : secure_talk->cancel(); }
  };

  explicit Core(EventLoop& l) : loop(l), work(net::make_work_guard(io)) {}

  void answer(Asked& asked, Result<HttpResponse> result) {
    if (!asked.answered) {
      return;
    }
    loop.post(
        [this_alive = alive, answered = std::exchange(asked.answered, nullptr), result = std::move(result), this] {
          if (!*this_alive) {
            return;
          }
          --on_their_way;
          answered(result);
        });
  }

  template <class Talk>
  void start(const std::shared_ptr<Asked>& asked, Talk& talk) {
    talk.ended = [this, &talk, raw = asked.get()] {
      raw->deadline.cancel();
      answer(*raw, std::move(*talk.outcome));
      // Not from inside its own handler.
      net::post(io, [this, raw] { std::erase_if(under_way, [raw](const auto& one) { return one.get() == raw; }); });
    };
    asked->deadline.expires_after(std::chrono::milliseconds(asked->call.timeout_ms));
    asked->deadline.async_wait([this, held = std::weak_ptr(asked)](error_code stopped) {
      const auto one = held.lock();
      if (stopped || !one) {
        return;
      }
      answer(*one, fail(ErrorCode::kUnavailable,
                        one->call.url + ": no answer within " + std::to_string(one->call.timeout_ms) + " ms"));
      one->cancel();
    });
    under_way.insert(asked);
    talk.start();
  }

  void begin(const std::shared_ptr<Asked>& asked) {
    if (!asked->url.tls) {
      asked->plain.emplace(io);
      asked->plain_talk.emplace(io, *asked->plain, asked->call, asked->url);
      return start(asked, *asked->plain_talk);
    }
    asked->tls.emplace(net::ssl::context::tls_client);
    if (auto ready = set_up_tls(asked->call, *asked->tls); !ready) {
      return answer(*asked, tl::unexpected(ready.error()));
    }
    asked->secure.emplace(io, *asked->tls);
    name_the_host(*asked->secure, asked->url);
    asked->secure_talk.emplace(io, *asked->secure, asked->call, asked->url);
    start(asked, *asked->secure_talk);
  }

  EventLoop& loop;
  const std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // loop thread only
  uint32_t on_their_way = 0;                                         // loop thread only
  net::io_context io{1};
  net::executor_work_guard<net::io_context::executor_type> work;
  std::set<std::shared_ptr<Asked>> under_way;  // the thread's
  std::thread thread;
};

OsHttpClient::OsHttpClient(EventLoop& loop) : core_(std::make_unique<Core>(loop)) {}

OsHttpClient::~OsHttpClient() {
  *core_->alive = false;
  core_->io.stop();
  if (core_->thread.joinable()) {
    core_->thread.join();
  }
}

Status OsHttpClient::ask(HttpQuestion question, Answered answered) {
  auto url = parse_http_url(question.url);
  if (!url) {
    return tl::unexpected(url.error());
  }
  if (core_->on_their_way >= kQuestionsMax) {
    return fail(ErrorCode::kFull, "too many questions are under way");
  }
  HttpCall call;
  call.url = std::move(question.url);
  call.method = std::move(question.method);
  call.body = std::move(question.body);
  call.content_type = std::move(question.content_type);
  call.headers = std::move(question.headers);
  call.token = std::move(question.token);
  call.ca_file = std::move(question.ca_file);
  call.certificate_file = std::move(question.certificate_file);
  call.key_file = std::move(question.key_file);
  call.timeout_ms = question.timeout_ms;
  call.body_bytes_max = question.answer_bytes_max;
  ++core_->on_their_way;
  auto asked = std::make_shared<Core::Asked>(*core_, std::move(call), std::move(*url), std::move(answered));
  net::post(core_->io, [core = core_.get(), asked] { core->begin(asked); });
  if (!core_->thread.joinable()) {
    core_->thread = std::thread([core = core_.get()] { core->io.run(); });
  }
  return {};
}

}  // namespace lambda
